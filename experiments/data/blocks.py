"""The samples of a run, in files that are whole or absent.

A block is samples/FIRST-LAST.npz: indices, labels, images, features of a feature network, sums over the images, the
settings of the sampling, and a SHA-256 of all of it. `sample.keep` can put the images into PNG files instead
(images/000000/000123.png, by index; the checksum covers them too), or leave them out.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.data.files import replacing
from solvers import npz
from solvers.fingerprint import checksum

NAME = re.compile(r"\d{6,}-\d{6,}\.npz")
SHOWN = 100  # the first images are always kept, this many


class Block(NamedTuple):
    """Samples `indices` [n], with `labels` [n].

    images: uint8 [n, H, W, C], or float32 [n, *D] for data that are not images; only the first SHOWN with
    sample.keep=none. features: float32 [n, F] from the network with the hash `network`; F = 0 without one.
    sums [2, *D]: over all images, of the values and of their squares; exact for uint8.
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
        """The first `count` samples. Their sums are None if the images were not kept."""
        if count == len(self.indices):
            return self
        sums = sums_of(self.images[:count]) if self.has_images() else None
        cut = {name: getattr(self, name)[:count] for name in ("indices", "labels", "images", "features")}
        return self._replace(sums=sums, **cut)


def sums_of(images) -> np.ndarray:
    """Sums [2, *D] over images [n, *D], of values and of squares: int64 and exact for uint8, else float64."""
    square, total = (np.uint16, np.int64) if images.dtype == np.uint8 else (np.float64, np.float64)
    return np.stack([images.sum(axis=0, dtype=total), np.square(images, dtype=square).sum(axis=0, dtype=total)])


def block_path(folder, block: Block) -> Path:
    """The path of a block in a folder. Its name has the first and the last index."""
    return Path(folder) / f"{block.indices[0]:06d}-{block.indices[-1]:06d}.npz"


def write_block(folder, block: Block, settings: dict, keep: str) -> Path:
    """Writes a block, whole or not at all: its PNG files come first, and only the .npz makes the block count."""
    path = block_path(folder, block)
    if keep == "none":
        block = block._replace(images=block.images[block.indices < SHOWN])
    of = json.dumps(settings, sort_keys=True)
    about = {"settings": of, "keep": keep, "checksum": _checksum(block, of)}
    if keep == "png":
        for index, image in zip(block.indices, block.images, strict=True):
            write_png(png_path(path.parent.parent, index), image)
        block = block._replace(images=block.images[:0])
    npz.write(path, block._asdict() | about)
    return path


def read_block(path) -> tuple[Block, dict, str]:
    """Reads a block, its settings and its `keep`; ValueError unless it is whole, with all its PNG files."""
    arrays = npz.read(path, (*Block._fields, "settings", "keep", "checksum"))
    block, of, keep = Block(*(arrays[name] for name in Block._fields)), str(arrays["settings"]), str(arrays["keep"])
    if keep == "png":
        images = [read_png(png_path(Path(path).parent.parent, index)) for index in block.indices]
        if len(sizes := {image.shape for image in images}) != 1:
            raise ValueError(f"{path} has PNG files of several sizes, {sizes}")
        block = block._replace(images=np.stack(images))
    if _checksum(block, of) != str(arrays["checksum"]):
        of_what = "it, or a PNG file of it," if keep == "png" else "it"
        raise ValueError(f"{path} has another checksum: {of_what} is not as it was written")
    return block, json.loads(of), keep


def read_images(path) -> np.ndarray:
    """All images in the order of indices, from the workdir of a run, a folder of samples files, or one such file.

    Files of files.write_samples can be read too.
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
    block = read_block(path)[0]
    if not block.has_images():
        raise ValueError(f"{path} was drawn without keeping its images: sample again with sample.keep=npz")
    return block.images, block.indices


def _checksum(block: Block, of: str) -> str:
    return checksum(*(np.asarray(array) for array in block), np.frombuffer(of.encode(), np.uint8))


class Finished:
    """The blocks in a run's workdir: `count` samples with the same `settings`; `networks`: hashes of feature networks.

    ValueError if samples between others are missing, or if settings differ.
    """

    def __init__(self, workdir):
        self.files = sorted(Path(workdir).glob("samples/*.npz"), key=lambda file: int(file.stem.split("-")[0]))
        found = [npz.read(file, ("indices", "settings", "network")) for file in self.files]
        self.settings, *others = {str(arrays["settings"]) for arrays in found}
        indices = np.concatenate([arrays["indices"] for arrays in found])
        if others or not np.array_equal(indices, np.arange(len(indices))):
            what = "samples of several settings" if others else f"{len(indices)} samples that are not the first so many"
            raise ValueError(f"{workdir} has {what}: give that run's command again, which mends and finishes it")
        self.settings, self.count = json.loads(self.settings), len(indices)
        self.networks = {str(arrays["network"]) for arrays in found}

    def __iter__(self) -> Iterator[Block]:
        """Yields the blocks in the order of indices, one in memory at a time."""
        for file in self.files:
            yield read_block(file)[0]


def finished(workdir) -> Finished | None:
    """The blocks of the run in this folder; None if there is no run."""
    files = sorted(Path(workdir).glob("samples/*.npz"))
    return Finished(workdir) if files and all(NAME.fullmatch(file.name) for file in files) else None


def png_path(workdir, index: int) -> Path:
    """The path of a sample's PNG file. Each thousand has a folder."""
    return Path(workdir) / "images" / f"{index // 1000 * 1000:06d}" / f"{index:06d}.png"


def write_png(path, image) -> None:
    """Writes uint8 [H, W, C] with 1 or 3 channels. An OSError (a full disk, say) names the file and leaves no part."""
    try:
        with replacing(path) as temporary:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(temporary)
    except OSError as error:
        cause = f"{error.strerror or error}: nothing was written, make room or choose another place"
        raise OSError(error.errno, cause, str(path)) from error


def read_png(path) -> np.ndarray:
    """Reads uint8 [H, W, C]; ValueError if the file is missing or is not a whole PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise ValueError(f"{path} is missing or damaged ({' '.join(str(error).split())})") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels
