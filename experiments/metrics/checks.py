"""Checks of arrays and options before a number is computed: ValueErrors name value, bound and remedy."""

import numpy as np


def checked(name: str, values, dimensions: int | None = None, least: int = 1) -> np.ndarray:
    """`values` as an array of finite numbers with `dimensions` axes (None: at least 1) and at least `least` rows."""
    values = np.asarray(values)
    if values.ndim != (dimensions or max(values.ndim, 1)):
        raise ValueError(f"{name} of shape {values.shape}: {dimensions or 'some'} dimensions are needed, reshape them")
    if len(values) < least or not values.size:
        raise ValueError(f"{name} of shape {values.shape}: at least {least} rows are needed, take more images")
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"{bad} of {values.size} numbers in {name} are not finite: find the images that they are of")
    return values


def sets(least: int = 1, **rows) -> list[np.ndarray]:
    """Two checked sets of rows, [N, F] and [M, F], given by name, each with at least `least` rows."""
    found = [checked(name, values, 2, least) for name, values in rows.items()]
    if found[0].shape[1] != found[1].shape[1]:
        widths = " and ".join(f"{values.shape[1]} in {name}" for name, values in zip(rows, found))
        raise ValueError(f"numbers of features differ, {widths}: take both from one network")
    return found


def moments(mean, covariance) -> tuple[np.ndarray, np.ndarray]:
    """The checked mean [F] and covariance [F, F], float64."""
    mean, covariance = checked("mean", mean, 1), checked("covariance", covariance, 2)
    if covariance.shape != mean.shape * 2:
        raise ValueError(f"covariance of shape {covariance.shape} with {mean.size} means: take both from one file")
    return mean.astype(np.float64), covariance.astype(np.float64)


def option(name: str, value: int, least: int = 1) -> None:
    """ValueError for a value below `least`."""
    if value < least:
        raise ValueError(f"{name} is {value}: give at least {least}")


def slices(count: int, size: int) -> list[slice]:
    """Slices over `count` rows, `size` at a time."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
