"""Explained variance of a network by closed-form denoisers, on noised images: gaussian/analysis.py over devices.

Points are x = alpha x0 + sigma z with x0 an image; z, of image i, comes from fold_in(key(seed), i) and is the same at
all noise levels. `outputs` evaluates a network or a closed form there, `compare` says what one explains of the other.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np

from experiments.build import Network
from experiments.data import pixels
from experiments.data.arrays import Dataset
from experiments.support.mesh import make_mesh, place, stream
from gaussian import analysis
from models import as_prediction

KINDS = ("score", "denoiser", "centered")
SPLITS = ("train", "test")


class Points(NamedTuple):
    """Noised images: [S] noise levels sigma / alpha and what a schedule makes of them; images float32 [n, *D]."""

    images: np.ndarray
    sigmas: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    t: np.ndarray
    seed: int


def make_points(images, sigmas, schedule, seed=0) -> Points:
    """sigmas: noise levels in units of the image, sigma / alpha, whatever the schedule's own are."""
    sigmas = np.asarray(sigmas, np.float64)
    t = schedule.t_of_lam(-np.log(sigmas))
    return Points(np.asarray(images, np.float32), sigmas, schedule.alpha(t), schedule.sigma(t), t, seed)


def make_splits(problem, data: Dataset, sigmas, count: int) -> dict[str, Points]:
    """{split: Points} of the first `count` training images, and of as many test images, for a Problem's schedule."""
    images = {"train": data.train, "test": data.test}
    return {
        split: make_points(pixels.to_float(x[:count]), sigmas, problem.schedule, problem.seed)
        for split, x in images.items()
    }


@cache
def _predict(make: Callable, prediction: str, schedule) -> Callable:
    # One object per network, whatever its parameters: jit compiles once for all snapshots of a training.
    return lambda params, x, level, label: as_prediction(make(params, label), schedule, prediction, "x0")(x, level[2])


def network_function(network: Network, schedule) -> Callable:
    """The network's x0, as `outputs` calls it."""
    return _predict(network.make, network.prediction, schedule)


@cache
def closed_form(function: Callable) -> Callable:
    """function(mixture, x, alpha, sigma), as `outputs` calls it."""
    return lambda mixture, x, level, label: function(mixture, x, *level[:2])


def outputs(function, arguments, points: Points, *, labels=0, batch=64, progress=lambda count: None) -> np.ndarray:
    """Denoised images float32 [S, n, *D]: function(arguments, x, (alpha, sigma, t), label), vmapped over samples.

    `arguments` (parameters, a mixture) go to every device as float32, points are split over them.
    """
    count, mesh = len(points.images), make_mesh()
    arguments = place(mesh, jax.tree.map(_single, arguments))
    labels = np.broadcast_to(np.asarray(labels, np.int32), count)
    split = points.images, np.arange(count, dtype=np.int32), labels
    found = np.empty((len(points.sigmas), *points.images.shape), np.float32)
    for row, level in zip(found, zip(points.alpha, points.sigma, points.t, strict=True)):
        work = partial(_denoise, function, arguments, np.float32(level), points.seed)
        for part, denoised in stream(work, split, batch=batch, mesh=mesh):
            row[part] = denoised
            progress(len(denoised))
    return found


def aligned(array) -> np.ndarray:
    """A copy at a multiple of 64 bytes, which all devices that are CPUs use as it lies instead of copying it each.

    For large arguments of `outputs`, in float32.
    """
    array = np.asarray(array)
    memory = np.empty(array.nbytes + 64, np.uint8)
    first = -memory.ctypes.data % 64
    found = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    found[:] = array
    return found


@partial(jax.jit, static_argnums=0)
def _denoise(function, arguments, level, seed, images, indices, labels):
    return jax.vmap(lambda x0, i, label: function(arguments, _noised(x0, i, level, seed), level, label))(
        images, indices, labels
    )


@jax.jit
def _noise(images, level, seed):
    return jax.vmap(lambda x0, i: _noised(x0, i, level, seed))(images, np.arange(len(images), dtype=np.int32))


def _noised(x0, index, level, seed):
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(seed), index), x0.shape, x0.dtype)
    return level[0] * x0 + level[1] * noise


def _single(leaf):
    return np.asarray(leaf, np.float32) if np.asarray(leaf).dtype == np.float64 else leaf


def squares(points: Points, mine, mean=None) -> np.ndarray:
    """Squares |.|^2 from the network's outputs D = `mine` [S, n, *D], float64 [S, len(KINDS), n]; shares refer to them.

    The KINDS are alpha D - x (the score times sigma^2), D, and D - mean.
    """
    mean = points.images.mean(axis=0, dtype=np.float64) if mean is None else mean
    found = []
    for level, own in zip(zip(points.alpha, points.sigma, points.t, strict=True), mine, strict=True):
        own = own.astype(np.float64)
        x = np.asarray(_noise(points.images, np.float32(level), points.seed), np.float64)
        found.append([_square(level[0] * own - x), _square(own), _square(own - mean)])
    return np.array(found)


def shares(points: Points, mine, theirs, whole) -> np.ndarray:
    """The explained share of each image, [len(KINDS), S, n]; whole: `squares` of `mine`.

    The difference of the two is the same for all KINDS, up to alpha.
    """
    difference = np.array([_square(own.astype(np.float64) - other) for own, other in zip(mine, theirs, strict=True)])
    scales = np.stack([points.alpha**2, np.ones_like(points.alpha), np.ones_like(points.alpha)])
    with np.errstate(divide="ignore"):
        return 1 - scales[:, :, None] * difference / whole.swapaxes(0, 1)


def compare(points: Points, mine, theirs, name: str, whole=None) -> list[dict]:
    """A row per sigma of the network's outputs and an approximation's, both [S, n, *D] of `outputs`.

    Rows have sigma, name, and for each of KINDS the mean over images of what is explained, and its error as `_se`.
    whole: `squares` of `mine`, by default counted from the mean of the images.
    """
    rows, found = [], shares(points, mine, theirs, squares(points, mine) if whole is None else whole)
    for sigma, values in zip(points.sigmas, found.swapaxes(0, 1), strict=True):
        row = {"sigma": float(sigma), "name": name}
        for kind, of_images in zip(KINDS, values, strict=True):
            row[kind], row[f"{kind}_se"] = analysis.mean_and_error(of_images)
        rows.append(row)
    return rows


def _square(values) -> np.ndarray:
    """|v|^2 of each sample of [n, *D]."""
    flat = values.reshape(len(values), -1)
    return np.einsum("nd,nd->n", flat, flat)
