"""Predictions of a network (eps, x0, v, score, flow) as affine pairs.

Every prediction is `out = i x0 + j eps`, and x = alpha x0 + sigma eps. Solving these two equations for another
prediction gives it as `u x + v out`: conversion between any two is one pair (u, v), made on the host in float64.
Model wrappers see x and t only in traced code: they use `translate`.
"""

import jax.numpy as jnp
import numpy as np

# coefficients (i, j) of x0 and eps, as functions of alpha and sigma
PREDICTIONS = {
    "eps": lambda alpha, sigma: (0.0, 1.0),
    "x0": lambda alpha, sigma: (1.0, 0.0),
    "v": lambda alpha, sigma: (-sigma, alpha),
    "score": lambda alpha, sigma: (0.0, -1.0 / sigma),
    "flow": lambda alpha, sigma: (-1.0, 1.0),
}


def convert(alpha, sigma, source: str, target: str):
    """The pair (u, v) with `target = u x + v source`; arrays of the shape of alpha, float64.

    Raises ValueError for an unknown prediction, and where the source does not determine the target: at alpha = 0, eps
    says nothing about x0; at sigma = 0, x0 says nothing about eps.
    """
    for name in (source, target):
        if name not in PREDICTIONS:
            raise ValueError(f"unknown prediction {name!r}: choose one of {', '.join(PREDICTIONS)}")
    alpha, sigma = np.broadcast_arrays(np.asarray(alpha, np.float64), np.asarray(sigma, np.float64))
    if source == target:
        return np.zeros_like(alpha), np.ones_like(alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = _pair(alpha, sigma, source, target)
    if not (np.all(np.isfinite(u)) and np.all(np.isfinite(v))):
        bad = np.argmin(np.isfinite(u) & np.isfinite(v))
        raise ValueError(
            f"a network that predicts {source!r} does not determine {target!r} at alpha={np.ravel(alpha)[bad]:.3g}, "
            f"sigma={np.ravel(sigma)[bad]:.3g}: evaluate it at another t (a slightly smaller t_start, a larger t_end)"
        )
    return u, v


def translate(x, out, alpha, sigma, source: str, target: str):
    """`target` [*D] from x [*D] and the network's `out` [*D] in traced code, in x's precision at least.

    alpha and sigma are scalars. The score is handled as eps / -sigma, which keeps x0 finite at sigma = 0. Where
    `convert` refuses, traced code cannot: the result is NaN (not inf, which a clip would turn into a number).
    """
    if source == target:
        return out
    alpha, sigma = (jnp.asarray(value, x.dtype) for value in (alpha, sigma))
    if source == "score":
        out, source = -sigma * out, "eps"
    if target == "score":
        return translate(x, out, alpha, sigma, source, "eps") / -_nonzero(sigma)
    u, v = _pair(alpha, sigma, source, target)
    return u * x + v * out


def _pair(alpha, sigma, source, target):
    """(u, v) of `convert`, as numpy or jax arrays; not finite where the source does not determine the target."""
    i, j = PREDICTIONS[source](alpha, sigma)
    i_to, j_to = PREDICTIONS[target](alpha, sigma)
    determinant = _nonzero(alpha * j - sigma * i)
    return (i_to * j - j_to * i) / determinant, (alpha * j_to - sigma * i_to) / determinant


def _nonzero(value):
    """The value, or NaN where it is zero."""
    return value / (value != 0)
