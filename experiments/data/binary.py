"""Reads images stored as plain bytes: idx files (MNIST and the like), and the binary version of CIFAR-10 and -100."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from experiments.data.arrays import Part, check
from experiments.data.folders import as_labels

REMEDY = "delete it and take the data set's own file, or leave data.path empty to download it"
IDX_RULE = "uint8 as stored (idx)"
BYTES = 2**32  # the most for an idx file
CIFAR = {3073: (0, 10), 3074: (1, 100)}  # bytes of a record: (index of the label byte, number of classes)
OTHER = "copy the binary version of CIFAR again, or give the images as PNG files or .npz"


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """The uint8 array of an idx file: two zero bytes, type 8, the number of dimensions, each as big-endian int32."""
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= 4:
        raise ValueError(
            f"{name} is no idx file of bytes: it starts with {content[:4]!r}, expected 00 00 08 and the "
            f"number of dimensions: {REMEDY}"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{name} is truncated: {len(content)} bytes, its header alone has {start}: {REMEDY}")
    shape = tuple(int(n) for n in np.frombuffer(content, ">i4", content[3], offset=4))
    size = start + int(np.prod(shape, dtype=np.int64))
    if len(content) != size:
        kind = "truncated" if len(content) < size else "too long"
        raise ValueError(f"{name} is {kind}: {len(content)} bytes, expected {size} for an array of {shape}: {REMEDY}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_idx(path) -> np.ndarray:
    """The uint8 array of an idx file, compressed (.gz) or not. ValueError names the file and what was expected.

    Hardly more bytes are decompressed than the header declares.
    """
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if packed else open)(path, "rb") as file:
            head = file.read(20)
            whole = head[: len(head) // 4 * 4]
            sizes = np.frombuffer(whole[4 : 4 + 4 * min(head[3], 4)], ">u4").tolist() if len(head) > 3 else [0]
            content = head + file.read(min(math.prod(sizes), BYTES) + 1)  # one more shows a file that is too long
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a truncated or corrupted gzip file ({error}): {REMEDY}") from error
    return parse_idx(content, str(path))


def find_idx(folder, name: str) -> Path | None:
    """The path of the file `name` in the folder, plain or .gz; None if there is none."""
    return next((p for p in (Path(folder) / name, Path(folder) / f"{name}.gz") if p.is_file()), None)


def open_idx(path) -> Part:
    """Opens an idx file of images, compressed or not, and the labels beside it if they have the usual name."""
    images, path = read_idx(path), Path(path)
    if images.ndim == 3:
        images = images[..., None]
    count, *shape = check(images.shape, images.dtype, path)
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    beside = find_idx(path.parent, name) if "images" in path.name else None
    labels = None if beside is None else as_labels(read_idx(beside), count, beside)
    return Part(count, tuple(shape), lambda: images.__getitem__, IDX_RULE, labels=labels)


def open_cifar(path) -> Part:
    """Opens a file of records: the label (CIFAR-100: coarse, then fine), then the red, green and blue planes."""
    size = Path(path).stat().st_size
    length = next((length for length in CIFAR if size and not size % length), None)
    if length is None:
        raise ValueError(f"{path} has {size:,} bytes, CIFAR's records have {' or '.join(map(str, CIFAR))}: {OTHER}")
    records = np.memmap(path, np.uint8, "r").reshape(-1, length)
    (place, classes), shape = CIFAR[length], (32, 32, 3)
    labels = records[:, place].astype(np.int64)
    if labels.max() >= classes:
        raise ValueError(f"{path} has a label {labels.max()}, CIFAR-{classes} has {classes} classes: {OTHER}")

    def images(rows):
        return records[rows, place + 1 :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    return Part(len(records), shape, lambda: images, "uint8 as stored (CIFAR's binary version)", labels=labels)
