"""PyTorch's storages and tensors as numpy arrays: a storage is a flat array, a tensor a view of one."""

import math

import ml_dtypes
import numpy as np

from models.convert.tree import DAMAGED, listed, shown

TYPES = {  # name of the storage and of the dtype -> numpy's; PyTorch: torch/storage.py, _dtype_to_storage_type_map
    "Double": ("float64", np.float64),
    "Float": ("float32", np.float32),
    "Half": ("float16", np.float16),
    "BFloat16": ("bfloat16", ml_dtypes.bfloat16),
    "Long": ("int64", np.int64),
    "Int": ("int32", np.int32),
    "Short": ("int16", np.int16),
    "Char": ("int8", np.int8),
    "Byte": ("uint8", np.uint8),
    "Bool": ("bool", np.bool_),
}
DTYPES = {f"torch.{name}" for name, _ in TYPES.values()}
STORAGES = {"torch.storage.UntypedStorage": np.dtype(np.uint8), "torch.UntypedStorage": np.dtype(np.uint8)} | {
    f"{module}.{name}Storage": np.dtype(dtype)
    for module in ("torch", "torch.cuda")
    for name, (_, dtype) in TYPES.items()
}
UNREADABLE = {
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse tensors",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors without data",
    "torch._utils._rebuild_tensor_v3": "tensors of an unusual type",
    **{f"torch.{name}Storage": "quantised tensors" for name in ("QUInt8", "QInt8", "QInt32", "QUInt4x2", "QUInt2x4")},
    **{f"torch.{name}Storage": "complex tensors" for name in ("ComplexFloat", "ComplexDouble")},
}


def storage(data, dtype: np.dtype, count: int, start: int) -> np.ndarray:
    """`count` numbers from byte `start` of the bytes-like `data`, within them: a read-only view, no copy."""
    if not 0 <= count * dtype.itemsize <= len(data) - start:
        room = max(len(data) - start, 0)
        raise ValueError(f"a storage of {count:,} {dtype} is declared, where {room:,} bytes are left: {DAMAGED}")
    flat = np.frombuffer(data, np.uint8, count * dtype.itemsize, start)
    if dtype == np.bool_ and (flat > 1).any():
        raise ValueError(f"a storage of bool holds {flat.max()}, where 0 and 1 belong: {DAMAGED}")
    return flat.view(dtype)


def tensor(machine, flat, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> np.ndarray:
    """The read-only view of a storage with this offset, size and stride, all in numbers; it never leaves the storage.

    A view of more numbers than the storage has (an expanded tensor) is refused, so nothing that is made of a file is
    larger than the file.
    """
    if not isinstance(flat, np.ndarray) or flat.ndim != 1:
        raise ValueError(f"a tensor is made of {shown(flat)}, where a storage belongs: {DAMAGED}")
    if metadata and any(metadata.values()):
        raise ValueError("a tensor is a lazy conjugate or negative: save it after resolve_conj() or resolve_neg()")
    numbers = [offset, *size, *stride]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers) or len(size) != len(stride):
        raise ValueError(f"a tensor has offset, size and stride {listed(numbers)}, counts belong there: {DAMAGED}")
    count = math.prod(size)
    if count == 0:
        return np.zeros(size, flat.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride))
    if last >= len(flat) or count > len(flat):
        raise ValueError(
            f"a tensor of size {listed(size)}, stride {listed(stride)} and offset {offset} does not fit its storage of "
            f"{len(flat):,} numbers: {DAMAGED} (or save expanded tensors after contiguous())"
        )
    step = flat.dtype.itemsize
    return np.ndarray(size, flat.dtype, flat.view(np.uint8), offset * step, [step * n for n in stride])
