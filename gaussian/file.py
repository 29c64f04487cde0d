"""Distributions in .npz files, with a note of where they come from."""

import json
from pathlib import Path

import numpy as np

from gaussian.distribution import Mixture
from solvers import npz

KIND = "gaussian.Mixture"
ARRAYS = Mixture._fields[:-1]


def save_distribution(path, mixture, provenance, dtype=np.float64) -> Path:
    """Writes the mixture to `path`, whole or not at all, with `provenance`, a dict for JSON; returns the path.

    float32 halves the file and keeps 7 digits of variances and of the basis' orthonormality. OSError for a full disk.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"distributions are .npz files, got {path}: name one")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}: smaller ones lose the spectrum")
    arrays = {name: np.asarray(getattr(mixture, name), dtype) for name in ARRAYS}
    meta = {"kind": KIND, "shape": list(mixture.shape), "provenance": provenance}
    npz.write(path, arrays | {"meta": json.dumps(meta)})
    return Path(path)


def load_distribution(path) -> tuple[Mixture, dict]:
    """(mixture, provenance) from a file of `save_distribution`; arrays are float64, whatever the file's type.

    FileNotFoundError without a file, ValueError naming it if it is truncated, foreign or inconsistent; code in it is
    never executed.
    """
    remedy = "write it with save_distribution or --config.experiment=fit_gaussian"
    try:
        arrays = npz.read(path, (*ARRAYS, "meta"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no distribution at {path}: {remedy}") from error
    try:
        meta = json.loads(str(arrays.pop("meta")))
        kind, shape, provenance = meta["kind"], tuple(int(n) for n in meta["shape"]), dict(meta["provenance"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the notes in {path} are none of a distribution ({error}): {remedy}") from error
    fault = f"kind {kind!r} is not {KIND!r}" if kind != KIND else _fault(shape=shape, **arrays)
    if fault:
        raise ValueError(f"{path} holds no distribution: {fault}: {remedy}")
    return Mixture(**{name: array.astype(np.float64) for name, array in arrays.items()}, shape=shape), provenance


def _fault(weights, means, basis, variances, floor, shape) -> str:
    """The fault of the arrays of a mixture; empty if there is none."""
    if weights.ndim != 1 or not weights.size or basis.ndim != 3:
        return f"weights of shape {weights.shape} and basis of {basis.shape} are none"
    k, dim, rank = len(weights), int(np.prod(shape)), basis.shape[-1]
    wanted = {"weights": (k,), "means": (k, dim), "basis": (k, dim, rank), "variances": (k, rank), "floor": (k,)}
    given = dict(zip(ARRAYS, (weights, means, basis, variances, floor)))
    for name, array in given.items():
        if array.shape != wanted[name]:
            return f"{name} has shape {array.shape}, with {k} weights and samples of {shape} it is {wanted[name]}"
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            return f"{name} holds values that are no finite floating point numbers"
    if variances.min(initial=0) < 0 or floor.min(initial=0) < 0 or weights.min() < 0 or abs(weights.sum() - 1) > 1e-4:
        return "a variance or weight is negative, or the weights do not sum to 1"
    return ""
