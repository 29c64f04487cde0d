"""The known data sets (`data.name`), with a loader for each that returns uint8 images and their classes."""

from collections.abc import Callable

from experiments.data import fashion_mnist
from experiments.data.arrays import Dataset

DATASETS: dict[str, Callable] = {"fashion_mnist": fashion_mnist.load}  # name -> load(path) -> Dataset


def load(name: str, path="") -> Dataset:
    """Loads the data set of this name. path: its folder; empty: the loader looks for it."""
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: known are {', '.join(DATASETS)}")
    return DATASETS[name](path)
