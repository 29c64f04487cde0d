"""The data sets that `data.name` can be: a loader for each, which gives uint8 images and their classes."""

from collections.abc import Callable

from experiments.data import fashion_mnist
from experiments.data.arrays import Dataset

DATASETS: dict[str, Callable] = {"fashion_mnist": fashion_mnist.load}  # name -> load(path) -> Dataset


def load(name: str, path="") -> Dataset:
    """The data set of this name; path: the folder that holds it, empty: wherever the loader finds it."""
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: known are {', '.join(DATASETS)}")
    return DATASETS[name](path)
