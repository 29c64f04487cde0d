"""Reads images from any source as uint8, a batch at a time: `open_images(path)`. The content shows what a path holds:

    a run of `sample`, its samples folder, or one file of it, in the order of the samples' indices
    a folder with image files at any depth (PNG, JPEG, BMP, WebP), sorted by path; labels from dataset.json (EDM)
    a zip archive of such files, like EDM's data sets; it is never extracted
    .npz with uint8 [n, H, W, C] under `images`, `samples` (ScoreSDE) or `arr_0` (guided diffusion), labels under
        `labels` or `arr_1`; a folder of them, sorted by name (only samples_*.npz, if there are any)
    an idx file (MNIST), plain or .gz, and the labels beside it
    CIFAR's binary version: one file, or the folder, which stands for its training images

Anything but uint8 with 1 or 3 channels is refused, and the message says how to convert it. A silent conversion would
change every number computed from the images.
"""

import zipfile
from pathlib import Path

import numpy as np

from experiments.data.archives import whole
from experiments.data.arrays import SAMPLE_RULE, Part, open_npz
from experiments.data.binary import open_cifar, open_idx
from experiments.data.folders import FORMATS, Archive, Files, Folder

__all__ = ["SAMPLE_RULE", "Images", "open_images"]
SINGLE = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"RIFF")
REMEDY = "give a run of `sample`, a folder or zip of images, .npz, idx, or CIFAR's binary version"


class Images:
    """Images uint8 [n, H, W, C], read when they are asked for.

    images[rows]: uint8 [len(rows), H, W, C]. Increasing rows, within a batch and from batch to batch, are read in one
    pass over the files; other orders may need more passes. Memory holds a few batches, or one file of a run of
    `sample`.
    shape: (H, W, C). indices: int64 [n], increasing: those of a run's samples, else 0 to n - 1. labels: int64 [n], or
    None. rule: how the pixels became uint8.
    """

    def __init__(self, path, parts: list[Part]):
        if unlike := next((part for part in parts if (part.shape, part.rule) != (parts[0].shape, parts[0].rule)), None):
            (a, of_a), (b, of_b) = ((part.shape, part.rule) for part in (parts[0], unlike))
            raise ValueError(f"{path} holds images of {a}, {of_a}, and of {b}, {of_b}: give a folder of one kind")
        self.path, self.parts, self.shape, self.rule = path, parts, parts[0].shape, parts[0].rule
        self.starts = np.cumsum([0, *(part.count for part in parts)])
        self.labels, indices = self._joined("labels"), self._joined("indices")
        if indices is None:
            indices = np.arange(self.starts[-1])
        self.order = np.argsort(indices, kind="stable")
        self.indices = indices[self.order]
        if len(twice := self.indices[1:][np.diff(self.indices) == 0]):
            raise ValueError(
                f"{path} holds sample {twice[0]} more than once, as of several solvers: give one of its files"
            )
        if self.labels is not None:
            self.labels = self.labels[self.order]
        self.reading = None, None  # the number of a part, and its reader

    def _joined(self, name) -> np.ndarray | None:
        found = [getattr(part, name) for part in self.parts]
        return None if any(array is None for array in found) else np.concatenate(found).astype(np.int64)

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, rows) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise IndexError(f"images are read by a list of integers, got {rows.dtype} of shape {rows.shape}")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} images: give 0 to {len(self) - 1}")
        places = self.order[rows]
        images = np.empty((len(rows), *self.shape), np.uint8)
        which = np.searchsorted(self.starts, places, side="right") - 1
        for number in np.unique(which):
            here = which == number
            images[here] = self._reader(number)(places[here] - self.starts[number])
        return images

    def _reader(self, number):
        if self.reading[0] != number:
            self.reading = None, None  # free the previous part first
            self.reading = number, self.parts[number].open()
        return self.reading[1]


def open_images(path) -> Images:
    """Opens the images at a path; they are read later. FileNotFoundError, or ValueError if they cannot be used."""
    path = Path(path)
    if path.is_dir():
        return Images(path, _parts_of_folder(path))
    if not path.is_file():
        raise FileNotFoundError(f"there are no images {path}: {REMEDY}")
    return Images(path, [_part_of_file(path)])


def _part_of_file(path: Path) -> Part:
    with open(path, "rb") as file:
        head = file.read(16)
    if head[:2] == b"PK":
        with whole(path), zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        arrays = any(name.endswith(".npy") for name in names)
        return open_npz(path) if arrays else _part_of_files(Archive(path))
    if head[:3] == b"\0\0\x08" or head[:2] == b"\x1f\x8b":
        return open_idx(path)
    if head.startswith(SINGLE):
        raise ValueError(f"{path} is a single image: give the folder that holds the images")
    if path.suffix == ".bin":
        return open_cifar(path)
    raise ValueError(f"{path} begins with {head!r}, which are no images that can be read: {REMEDY}")


def _parts_of_folder(path: Path) -> list[Part]:
    if files := _visible(path, "samples/*.npz"):
        return [open_npz(file) for file in files]
    for pattern in ("data_batch_*.bin", "train.bin", "test_batch.bin", "test.bin"):
        if files := _visible(path, pattern):
            return [open_cifar(file) for file in files]
    folder, files = Folder(path), _visible(path, "samples_*.npz") or _visible(path, "*.npz")
    pictures = [name for name in folder.names if Path(name).suffix.lower() in FORMATS]
    if files and pictures:
        raise ValueError(
            f"{path} holds {files[0].name!r} and {pictures[0]!r}, and which are meant is not said: give one file, or "
            "a folder of one kind"
        )
    return [open_npz(file) for file in files] or [_part_of_files(folder)]


def _visible(path: Path, pattern: str) -> list[Path]:
    return sorted(file for file in path.glob(pattern) if not file.name.startswith("."))


def _part_of_files(place) -> Part:
    files = Files(place)
    return Part(len(files.names), files.shape, lambda: files, files.rule, labels=files.labels())
