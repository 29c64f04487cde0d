"""Files that hold many images as bytes: .npz, idx (MNIST and its kin), and the binary version of CIFAR-10 and -100.

Each opens as a Part: what is known before a pixel is read, and a function that makes the reader of its pixels.
"""

import gzip
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import fashion_mnist as data
from experiments.data import png
from experiments.data.archives import Npz, Stream, whole
from experiments.data.folders import PIXELS, as_labels
from experiments.sampling import store as blocks

NAMES = ("images", "samples", "arr_0")  # of this project, of ScoreSDE, of guided diffusion
LABEL_NAMES = ("labels", "arr_1")
BYTES = 2**32  # of labels, or of an idx file: at most
SAMPLE_RULE = "uint8 of `sample` (the integer part of 127.5 x + 128 of x in [-1, 1], clipped to [0, 255])"
CIFAR = {3073: (0, 10), 3074: (1, 100)}  # bytes of a record: (which of them is the label, how many classes)
OTHER = "copy the binary version of CIFAR again, or give the images as PNG files or .npz"


class Part(NamedTuple):
    """`count` images of `shape` (H, W, C). open(): a reader, rows -> uint8 [len(rows), H, W, C]."""

    count: int
    shape: tuple
    open: Callable
    rule: str
    indices: np.ndarray | None = None
    labels: np.ndarray | None = None


def check(shape, dtype, where) -> tuple:
    """(n, H, W, C) of an array of images; ValueError for others."""
    if dtype != np.uint8:
        how = "scale integers to [0, 255] and save uint8"
        if dtype.kind == "f":
            how = "convert what is in [-1, 1] with experiments.data.to_uint8 and save that"
        raise ValueError(f"{where} holds {dtype}, images are uint8: {how}")
    if len(shape) != 4:
        raise ValueError(f"{where} has the shape {shape}, images are [n, H, W, C]: add an axis to grey ones")
    if shape[3] not in (1, 3):
        how = "transpose [n, C, H, W] by (0, 2, 3, 1)" if shape[1] in (1, 3) else "keep the grey or the RGB channels"
        raise ValueError(f"{where} has {shape[3]} channels in the shape {shape}, images have 1 or 3: {how}")
    if not all(shape) or shape[1] * shape[2] > PIXELS:
        raise ValueError(f"{where} has the shape {shape}: give at least one image, of 1 to {PIXELS:,} pixels")
    return tuple(shape)


def read_npz(path) -> Part:
    """A block of `sample`, or any .npz with images: of the right shape, the pixels themselves still unread."""
    with Npz(path) as file:
        name = next((name for name in NAMES if name in file.members), None)
        if name is None:
            found = ", ".join(sorted(file.members)[:10]) or "nothing"
            raise ValueError(
                f"{path} holds {found}, and no images: they are uint8 [n, H, W, C] under {', '.join(NAMES)}; "
                "statistics of images are no images"
            )
        if "keep" in file.members:
            return _block(path, file)
        header = file.header(name)
        if header.fortran:
            raise ValueError(f"{path}: {name} is in Fortran order: save np.ascontiguousarray of it")
        count, *shape = check(header.shape, header.dtype, f"{path}: {name}")
        named = next((name for name in LABEL_NAMES if name in file.members), None)
        labels = named and as_labels(file.load(named, BYTES), count, f"{path}: {named}")
        indices = file.load("indices", BYTES) if name == "images" and "indices" in file.members else None
    if indices is not None:
        indices = as_labels(indices, count, f"{path}: indices")
    rule = "uint8 as stored (npz)" if indices is None else SAMPLE_RULE
    return Part(count, tuple(shape), partial(Stream, path, name), rule, indices, labels)


def _block(path, file: Npz) -> Part:
    """A file of blocks.py, whose checksum is compared when its images are read."""
    keep, indices, labels = (file.load(name, BYTES) for name in ("keep", "indices", "labels"))
    if not len(indices):
        raise ValueError(f"{path} holds no samples: delete it, and sample again")
    header = file.header("images")
    shape, dtype = header.shape, header.dtype
    if str(keep) == "png":
        first = png.read(png.path_of(Path(path).parent.parent, indices[0]))
        shape, dtype = (len(indices), *first.shape), first.dtype
    elif shape[0] != len(indices):
        raise ValueError(f"{path} was drawn without keeping its images: sample again with sample.keep=npz")
    count, *shape = check(shape, dtype, f"{path}: images")
    return Part(count, tuple(shape), lambda: blocks.read(path)[0].images.__getitem__, SAMPLE_RULE, indices, labels)


def read_idx(path) -> Part:
    """An idx file of images, compressed or not, with the labels beside it if they have the usual name."""
    images, path = _idx(path), Path(path)
    if images.ndim == 3:
        images = images[..., None]
    count, *shape = check(images.shape, images.dtype, path)
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    beside = data.locate(path.parent, name) if "images" in path.name else None
    labels = None if beside is None else as_labels(_idx(beside), count, beside)
    return Part(count, tuple(shape), lambda: images.__getitem__, "uint8 as stored (idx)", labels=labels)


def _idx(path) -> np.ndarray:
    """As data.read_idx, but a few compressed bytes cannot unfold to more than the header declares."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with whole(path), (gzip.open if packed else open)(path, "rb") as file:
        head = file.read(20)
        sizes = np.frombuffer(head[4 : 4 + 4 * min(head[3], 4)], ">u4").tolist() if len(head) > 3 else [0]
        content = head + file.read(min(math.prod(sizes), BYTES) + 1)  # one more, so that what is too long shows
    return data.parse_idx(content, str(path))


def read_cifar(path) -> Part:
    """One file of records: label (of CIFAR-100 the coarse, then the fine one), then red, green and blue planes."""
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
