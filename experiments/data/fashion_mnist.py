"""Loads Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): four idx files.

It looks in the given folder, else in the system package's folder, then in the cache, and else downloads into the cache.
Downloads are checked by the SHA-256 of the decompressed content, since packagers compress again.
"""

import gzip
import zlib
from pathlib import Path

from experiments.data import fetch
from experiments.data.arrays import Dataset
from experiments.data.binary import IDX_RULE, find_idx, read_idx
from solvers.fingerprint import checksum_of_bytes

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def cache_folder() -> Path:
    return fetch.cache_folder() / "fashion-mnist"


def download(name: str, folder, url: str = URL, sha256: str | None = None, progress: bool = True) -> Path:
    """Downloads `url/name.gz` into the folder; on another checksum raises ValueError and keeps nothing."""
    source = f"{url.rstrip('/')}/{name}.gz"
    return fetch.fetch(
        source,
        folder,
        progress=progress,
        remedy="fetch the four files by hand and give their folder with --config.data.path=",
        check=lambda path: verify(path, sha256 or SHA256[name], source),
    )


def verify(path, sha256: str, source: str) -> None:
    try:
        found = checksum_of_bytes(gzip.decompress(Path(path).read_bytes()))
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{source} did not arrive as a whole gzip file ({error}): try again") from error
    if found != sha256:
        raise ValueError(
            f"{source} has the SHA-256 {found}, expected {sha256}; it was not kept: try again, or give a "
            "folder with the data set's own files"
        )


def find(name: str, path="", url: str = URL) -> Path:
    """The path of an idx file: in the folder `path`, if given; else in the system package, the cache, or downloaded."""
    if path:
        found = find_idx(path, name)
        if found is None:
            raise FileNotFoundError(
                f"no {name} or {name}.gz in data.path = {path}: give the folder that holds the "
                "four idx files, or leave it empty"
            )
        return found
    return find_idx(SYSTEM_FOLDER, name) or find_idx(cache_folder(), name) or download(name, cache_folder(), url)


def load(path="", url: str = URL) -> Dataset:
    """60,000 training images uint8 [n, 28, 28, 1], 10,000 test images, and their labels; path: a folder with all."""
    arrays = []
    for file, shape in SHAPES.items():
        found = find(file, path, url)
        array = read_idx(found)
        if array.shape[1:] != shape[1:] or (not path and array.shape != shape) or not len(array):
            raise ValueError(f"{found} holds an array of {array.shape}, expected {shape}: it is of another data set")
        arrays.append(array[..., None] if array.ndim == 3 else array)
    for images, labels in (arrays[:2], arrays[2:]):
        if len(images) != len(labels) or labels.max() >= len(CLASSES):
            raise ValueError(
                f"{path or found.parent}: {len(images)} images have {len(labels)} labels up to "
                f"{labels.max()}, expected as many, up to {len(CLASSES) - 1}: take all files from one set"
            )
    return Dataset(*arrays, len(CLASSES), IDX_RULE)
