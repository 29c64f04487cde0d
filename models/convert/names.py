"""The names that a pickle may use, and our replacement for each. All other names are refused, called or not.

A name becomes a `Record`. Calling one (REDUCE) runs the function of this project in CALLS; making an object of a class
(NEWOBJ) gives a Record with the arguments, and its state (BUILD) becomes that of the Record.
"""

import functools
import math
import re
from collections.abc import Callable

import numpy as np

from models.convert.tensors import DTYPES, STORAGES, UNREADABLE, tensor
from models.convert.tree import DAMAGED, Record, check_key, listed, shown

ALLOWED = "tensors, numpy arrays of numbers, dicts, torch.nn.modules and the persistent classes of EDM and StyleGAN"
REMEDY = "if you trust who made it, save the weights alone (the state_dict) with the library that wrote it"
NUMBERS = set("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())
MODULE = re.compile(r"torch\.nn\.modules(\.[a-z]+)?\.[A-Za-z]\w*")
VERSION = 6  # of EDM's and StyleGAN's persistent objects


class Pending:
    """A value whose state comes later (BUILD): `build(machine, state)` makes it; `keys`: where the memo holds it."""

    def __init__(self, build):
        self.build, self.keys = build, []


def find(module, name) -> Record:
    """The Record of a name. ValueError if it is none of ALLOWED."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError
    full = f"{module}.{name}"
    if full in UNREADABLE:
        raise ValueError(f"it holds {UNREADABLE[full]} ({full}), which are not readable: save them as plain tensors")
    if full not in CALLS and full not in CLASSES and full not in INERT and not MODULE.fullmatch(full):
        raise ValueError(
            f"it names {shown(full)}, which no checkpoint needs ({ALLOWED} are read); none of it was run: {REMEDY}"
        )
    return Record(module, name)


def call(machine, function, args):
    """The value of a call of this name with these arguments."""
    full = f"{function.module}.{function.name}" if isinstance(function, Record) and function.state is None else None
    if full not in CALLS or not isinstance(args, tuple):
        raise ValueError(f"it calls {shown(full or function)}, which no checkpoint needs; none of it was run: {REMEDY}")
    return CALLS[full](machine, *args)


def new(record, args):
    """A new object of a class: a dict for dnnlib's, a Record for PyTorch's modules."""
    full = f"{record.module}.{record.name}"
    if full in CLASSES and args == ():
        return CLASSES[full]()
    if record.state is not None or not MODULE.fullmatch(full) or not isinstance(args, tuple):
        raise ValueError(
            f"it makes an object of {shown(full)}, which no checkpoint needs; none of it was run: {REMEDY}"
        )
    return record._replace(args=args, state={})


def set_state(machine, value, state) -> None:
    """Adds attributes to a Record of `new`. Those of a dict (`_metadata` of a state_dict) are dropped."""
    if isinstance(value, dict):
        return
    if not isinstance(value, Record) or not isinstance(value.state, dict) or not isinstance(state, dict):
        raise ValueError(
            f"it sets the state of {shown(value)}, which no checkpoint needs; none of it was run: {REMEDY}"
        )
    machine.budget.spend(len(state))
    value.state.update(state)


def _dict(machine, pairs=()):
    machine.budget.spend(len(pairs))
    if any(len(pair) != 2 for pair in pairs):
        raise TypeError
    return {check_key(key): value for key, value in pairs}


def _members(make, machine, items=()):
    machine.budget.spend(len(items))
    return make(map(check_key, items))


def _bytes(machine, text="", encoding="latin1"):
    """Bytes in protocols before 3: `_codecs.encode(text, "latin1")`, and bytes() where there are none."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError(
            f"it encodes {shown(text)} as {shown(encoding)}, where latin1 is how bytes are kept: {DAMAGED}"
        )
    machine.budget.spend(len(text), "bytes copied")
    return text.encode("latin1")


def _dtype(machine, code, align=False, copy=True):
    if not isinstance(code, str) or code not in NUMBERS:
        raise ValueError(f"an array is of dtype {shown(code)}, and only numbers are readable: {REMEDY}")

    def build(machine, state):
        if state[1] not in ("<", "|", "="):
            raise ValueError(f"an array has byte order {shown(state[1])}, little-endian is readable: {REMEDY}")
        return np.dtype(code)

    return Pending(build)


def _array(machine, data, dtype, shape, order):
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
        raise ValueError(f"an array holds {shown(data)}, where numbers as bytes belong: {DAMAGED}")
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(
            f"an array of {dtype} has {len(data)} bytes, which is not its shape {listed(shape)}: {DAMAGED}"
        )
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _reconstruct(machine, kind, shape, code):
    def build(machine, state):
        match state:
            case (_, tuple(shape), dtype, fortran, data):
                pass
            case _:
                raise TypeError
        return _array(machine, data, dtype, shape, "F" if fortran else "C")

    if kind != Record("numpy", "ndarray"):
        raise ValueError(f"it makes an array of {shown(kind)}, where numpy.ndarray belongs: {REMEDY}")
    return Pending(build)


def _scalar(machine, dtype, data):
    return _array(machine, data, dtype, (), "C").item()


def _size(machine, sizes=()):
    machine.budget.spend(len(sizes))
    return tuple(sizes)


def _parameter(machine, data, requires_grad=True, hooks=None, state=None):
    return data


def _nested(machine, data):
    if machine.nested is None or not isinstance(data, bytes):
        raise ValueError(f"a tensor's bytes hold {shown(data)} to be read in turn, where numbers belong: {DAMAGED}")
    return machine.nested(data)


def _persistent(machine, meta):
    """An object of EDM or StyleGAN: {type, version, module_src, class_name, state}. Its source is dropped unread."""
    if meta["type"] != "class" or meta["version"] != VERSION:
        found = f"{shown(meta['type'])} of version {shown(meta['version'])}"
        raise ValueError(f"it holds a persistent {found}, and a 'class' of version {VERSION} is readable: {REMEDY}")
    if not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
        raise TypeError
    return Record("persistent", meta["class_name"], (), meta["state"])


CALLS: dict[str, Callable] = {
    "collections.OrderedDict": _dict,
    "_codecs.encode": _bytes,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.storage._load_from_bytes": _nested,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "numpy.dtype": _dtype,
}
for _core in ("numpy.core", "numpy._core"):
    CALLS[f"{_core}.multiarray._reconstruct"] = _reconstruct
    CALLS[f"{_core}.multiarray.scalar"] = _scalar
    CALLS[f"{_core}.numeric._frombuffer"] = _array
for _builtins in ("builtins", "__builtin__"):
    CALLS[f"{_builtins}.bytes"] = _bytes
    CALLS[f"{_builtins}.set"] = functools.partial(_members, set)
    CALLS[f"{_builtins}.frozenset"] = functools.partial(_members, frozenset)
CLASSES = {"dnnlib.util.EasyDict": dict}
INERT = DTYPES | set(STORAGES) | {"numpy.ndarray"}
