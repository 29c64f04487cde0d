"""The samples of a run in blocks, files that are whole or absent. What is left to do is read off them, not remembered.

A block is samples/FIRST-LAST.npz: indices, labels, images, features of a feature network, sums over the images, the
settings that the samples are of, and a SHA-256 of it all. Its images may instead be PNG files, by index
(images/000000/000123.png), which the checksum covers too, or left out (`sample.keep`).

What is damaged, or of other settings, is moved to set_aside/, with a line that says so, and drawn again.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.build.schedules import ConfigError
from experiments.data import png
from experiments.data.fashion_mnist import checksum
from solvers import npz

KEPT = ("npz", "png", "none")
NAME = re.compile(r"\d{6,}-\d{6,}\.npz")
SHOWN = 100  # so many images, the first, are kept in any case


class Block(NamedTuple):
    """Samples `indices` [n], with `labels` [n].

    images: uint8 [n, H, W, C], or float32 [n, *D] of data that are not images; where none are kept, only the SHOWN
    first. features float32 [n, F], of the network with the hash `network`; F = 0 without one. sums [2, *D]: of the
    values of all images and of their squares, of uint8 exact.
    """

    indices: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    features: np.ndarray
    network: np.ndarray
    sums: np.ndarray

    def has_images(self) -> bool:
        return len(self.images) == len(self.indices)

    def first(self, count: int) -> "Block":
        """The first `count` samples; without sums, if those of the images left out are not known."""
        if count == len(self.indices):
            return self
        sums = sums_of(self.images[:count]) if self.has_images() else None
        cut = {name: getattr(self, name)[:count] for name in ("indices", "labels", "images", "features")}
        return self._replace(sums=sums, **cut)


def sums_of(images) -> np.ndarray:
    """[2, *D] of images [n, *D]: of values and squares, int64 and exact for uint8, else float64."""
    square, total = (np.uint16, np.int64) if images.dtype == np.uint8 else (np.float64, np.float64)
    return np.stack([images.sum(axis=0, dtype=total), np.square(images, dtype=square).sum(axis=0, dtype=total)])


def check_keep(keep: str, shape) -> None:
    """ConfigError unless samples of `shape` can be kept in this form."""
    if keep not in KEPT:
        raise ConfigError(f"sample.keep must be one of {', '.join(KEPT)}, got {keep!r}")
    if keep == "png" and not (len(shape) == 3 and shape[-1] in (1, 3)):
        raise ConfigError(f"sample.keep=png is for images of 1 or 3 channels, samples are {shape}: set it to npz")


class Blocks:
    """The blocks in a workdir that are of `settings`, plain values by name; `shape` is a sample's.

    ConfigError if most of what is there is of other settings: then it is another run's folder.
    """

    def __init__(self, workdir, settings: dict, shape, keep: str = "npz"):
        self.folder, self.keep, self.found = Path(workdir) / "samples", keep, {}
        self.settings = json.loads(json.dumps(settings, sort_keys=True))  # as it is read from files
        check_keep(keep, shape)
        aside, kept = self._look(tuple(shape))
        for path, reason in aside.items():
            self._set_aside(path, reason)
        for path in self.found:
            if keep not in (kept[path], "none"):
                self.write(read(path)[0])

    def _look(self, shape) -> tuple[dict, dict]:
        """Fills `found`; {path: why it is of no use}, {path: its `keep`}. Changes nothing on the disk."""
        aside, foreign, kept = {}, {}, {}
        for path in sorted(self.folder.glob("*.npz")):
            if not NAME.fullmatch(path.name):
                raise ConfigError(f"{path} is not of `sample`: give another --workdir than that of another experiment")
            try:
                block, of, form = read(path)
            except ValueError as error:
                aside[path] = str(error)
                continue
            if of != self.settings:
                foreign[path] = differences(of, self.settings)
                continue
            kept[path] = form
            if reason := self._useless(path, block, shape):
                aside[path] = f"{path} {reason}"
            else:
                self.found[path] = block.indices
        if len(foreign) > len(kept):
            path, reason = next(iter(foreign.items()))
            raise ConfigError(
                f"{self.folder} holds samples of other settings ({path.name}, for one: {reason}): "
                "give another --workdir, or the settings of that run"
            )
        return aside | {path: f"{path} is of other settings ({reason})" for path, reason in foreign.items()}, kept

    def _useless(self, path, block, shape) -> str:
        """Why a whole block of the right settings is of no use; empty if it is."""
        twice = np.intersect1d(block.indices, self._known())
        if len(twice):
            return f"holds sample {twice[0]}, which another file has too"
        if path != self._path(block):
            return f"holds other samples than it is named after, {self._path(block).stem}"
        if self.keep != "none" and not block.has_images():
            return "was drawn without keeping its images (sample.keep=none)"
        return "" if block.images.shape[1:] == shape else f"has samples of {block.images.shape[1:]}, not {shape}"

    def _set_aside(self, path, reason):
        place = self.folder.parent / "set_aside" / path.name
        while place.exists():
            place = place.with_name(f"again-{place.name}")
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
        print(f"{reason}: {path.name} is now {place}, and its samples are drawn again")

    def _known(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.int64), *self.found.values()])

    def missing(self, count: int) -> np.ndarray:
        """The indices below `count` that are in no block, in order."""
        return np.setdiff1d(np.arange(count), self._known())

    def _path(self, block: Block) -> Path:
        return self.folder / f"{block.indices[0]:06d}-{block.indices[-1]:06d}.npz"

    def write(self, block: Block) -> None:
        """All or nothing: a block counts from the moment its .npz has its name, which PNG files have before."""
        path = self._path(block)
        if self.keep == "none":
            block = block._replace(images=block.images[block.indices < SHOWN])
        of = json.dumps(self.settings, sort_keys=True)
        about = {"settings": of, "keep": self.keep, "checksum": _checksum(block, of)}
        if self.keep == "png":
            for index, image in zip(block.indices, block.images, strict=True):
                png.write(png.path_of(self.folder.parent, index), image)
            block = block._replace(images=block.images[:0])
        npz.write(path, block._asdict() | about)
        self.found[path] = block.indices

    def __iter__(self) -> Iterator[Block]:
        """All blocks in the order of their indices; in memory is one at a time."""
        for path in sorted(self.found, key=lambda path: self.found[path][0]):
            yield read(path)[0]


def read(path) -> tuple[Block, dict, str]:
    """A block, its settings and its `keep`; ValueError unless it is whole, with all its PNG files."""
    arrays = npz.read(path, (*Block._fields, "settings", "keep", "checksum"))
    block, of, keep = Block(*(arrays[name] for name in Block._fields)), str(arrays["settings"]), str(arrays["keep"])
    if keep == "png":
        images = [png.read(png.path_of(Path(path).parent.parent, index)) for index in block.indices]
        if len(sizes := {image.shape for image in images}) != 1:
            raise ValueError(f"{path} has PNG files of several sizes, {sizes}")
        block = block._replace(images=np.stack(images))
    if _checksum(block, of) != str(arrays["checksum"]):
        of_what = "it, or a PNG file of it," if keep == "png" else "it"
        raise ValueError(f"{path} has another checksum: {of_what} is not as it was written")
    return block, json.loads(of), keep


def read_images(path) -> np.ndarray:
    """All images of a run's workdir, of a folder of samples files or of one such file, in the order of indices.

    Of a run, or of report.write_samples.
    """
    path = Path(path)
    files = sorted(path.glob("samples/*.npz")) or sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"no *.npz in {path} or {path}/samples: give a folder that `sample` wrote")
    images, indices = zip(*(_images_of(file) for file in files))
    return np.concatenate(images)[np.argsort(np.concatenate(indices))]


def _images_of(path) -> tuple[np.ndarray, np.ndarray]:
    arrays = npz.read(path, ("images", "indices"))
    with np.load(path, allow_pickle=False) as file:
        if "keep" not in file.files:
            return arrays["images"], arrays["indices"]
    block = read(path)[0]
    if not block.has_images():
        raise ValueError(f"{path} was drawn without keeping its images: sample again with sample.keep=npz")
    return block.images, block.indices


def _checksum(block: Block, of: str) -> str:
    return checksum(*(np.asarray(array) for array in block), np.frombuffer(of.encode(), np.uint8))


def differences(there: dict, here: dict) -> str:
    """What differs between two settings, with both values."""
    return "; ".join(
        f"{key} {there.get(key)} there, {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    )
