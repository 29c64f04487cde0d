"""Densities and scores in the plane."""

from typing import NamedTuple

import jax
import numpy as np

import gaussian


class Field(NamedTuple):
    """density [m, m] and score [m, m, 2] of x at one noise level, on a grid of the two coordinates axis [m]."""

    sigma: float
    axis: np.ndarray
    density: np.ndarray
    score: np.ndarray


_score = jax.jit(jax.vmap(gaussian.posterior_score, in_axes=(None, 0, None, None)))


def field(mixture, schedule, ratio, count=81) -> Field:
    """Density and score of x where sigma / alpha is `ratio`, over all of the distribution."""
    t = schedule.t_of_lam(-np.log(ratio))
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    axis = np.linspace(-1, 1, count) * (1.7 * alpha + 2.2 * sigma)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    score = _score(mixture, np.float32(points), alpha, sigma)
    square = (count, count)
    return Field(float(ratio), axis, density(mixture, points, alpha, sigma).reshape(square), score.reshape(*square, 2))


def density(mixture, points, alpha, sigma) -> np.ndarray:
    """p(x) [m] of x = alpha x0 + sigma noise at points [m, 2], float64; sigma > 0."""
    total = np.zeros(len(points))
    for weight, mean, basis, variances, floor in zip(*mixture[:5], strict=True):
        covariance = (alpha**2 * floor + sigma**2) * np.eye(2) + alpha**2 * (basis * (variances - floor)) @ basis.T
        d = points - alpha * mean
        distance = (d @ np.linalg.inv(covariance) * d).sum(axis=1)
        total += weight * np.exp(-0.5 * distance) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return total
