"""Images in .npz files. A file opens as a Part: shape, count and labels at once, pixels when they are asked for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import blocks
from experiments.data.archives import Npz, Stream
from experiments.data.folders import PIXELS, as_labels

NAMES = ("images", "samples", "arr_0")  # this project, ScoreSDE, guided diffusion
LABEL_NAMES = ("labels", "arr_1")
BYTES = 2**32  # the most for an array of labels
SAMPLE_RULE = "uint8 of `sample` (the integer part of 127.5 x + 128 of x in [-1, 1], clipped to [0, 255])"


class Dataset(NamedTuple):
    """Images uint8 [n, H, W, C] to train and to test with, their labels [n], and the number of classes.

    rule: how the pixels became uint8, for passports.
    """

    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: int
    rule: str = "uint8 as stored"


class Part(NamedTuple):
    """`count` images of `shape` (H, W, C). open() returns a reader, rows -> uint8 [len(rows), H, W, C]."""

    count: int
    shape: tuple
    open: Callable
    rule: str
    indices: np.ndarray | None = None
    labels: np.ndarray | None = None


def check(shape, dtype, where) -> tuple:
    """Returns the shape (n, H, W, C) of an array of images; ValueError if it cannot hold images."""
    if dtype != np.uint8:
        how = "scale integers to [0, 255] and save uint8"
        if dtype.kind == "f":
            how = "convert what is in [-1, 1] with experiments.data.pixels.to_uint8 and save that"
        raise ValueError(f"{where} holds {dtype}, images are uint8: {how}")
    if len(shape) != 4:
        raise ValueError(f"{where} has the shape {shape}, images are [n, H, W, C]: add an axis to grey ones")
    if shape[3] not in (1, 3):
        how = "transpose [n, C, H, W] by (0, 2, 3, 1)" if shape[1] in (1, 3) else "keep the grey or the RGB channels"
        raise ValueError(f"{where} has {shape[3]} channels in the shape {shape}, images have 1 or 3: {how}")
    if not all(shape) or shape[1] * shape[2] > PIXELS:
        raise ValueError(f"{where} has the shape {shape}: give at least one image, of 1 to {PIXELS:,} pixels")
    return tuple(shape)


def open_npz(path) -> Part:
    """Opens a block of `sample`, or any .npz with images. The shape is checked; the pixels are not read yet."""
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
    """Opens a file of data/blocks.py. Its checksum is compared when its images are read."""
    keep, indices, labels = (file.load(name, BYTES) for name in ("keep", "indices", "labels"))
    if not len(indices):
        raise ValueError(f"{path} holds no samples: delete it, and sample again")
    header = file.header("images")
    shape, dtype = header.shape, header.dtype
    if str(keep) == "png":
        first = blocks.read_png(blocks.png_path(Path(path).parent.parent, indices[0]))
        shape, dtype = (len(indices), *first.shape), first.dtype
    elif shape[0] != len(indices):
        raise ValueError(f"{path} was drawn without keeping its images: sample again with sample.keep=npz")
    count, *shape = check(shape, dtype, f"{path}: images")
    return Part(
        count, tuple(shape), lambda: blocks.read_block(path)[0].images.__getitem__, SAMPLE_RULE, indices, labels
    )
