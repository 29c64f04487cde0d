"""A small non-linear model with a closed form: the score of a Gaussian mixture, for numpy and for JAX.

p(x0) = sum_k w_k N(mu_k, Q_k diag(e_k) Q_k^T);  x = alpha x0 + sigma noise;  eps = -sigma grad log p(x).
"""

import jax.numpy as jnp
import numpy as np
from scipy.stats import ortho_group

from solvers.grid import GRIDS

SHAPE = (3, 2)
_DIM = 6
_rng = np.random.default_rng(0)
WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = _rng.normal(size=(3, _DIM))
BASES = np.stack([ortho_group.rvs(_DIM, random_state=k) for k in range(3)])
VARIANCES = np.exp(_rng.normal(size=(3, _DIM)) - 1)


def _eps(xp, x, alpha, sigma):
    """Noise prediction at x [..., 3, 2]: float64 in, float64 out; xp is numpy or jax.numpy."""
    flat = x.reshape(*x.shape[:-2], 1, _DIM)
    y = xp.einsum("kji,...kj->...ki", BASES, flat - alpha * MEANS)
    variance = alpha**2 * VARIANCES + sigma**2
    logit = xp.log(WEIGHTS) - 0.5 * (xp.log(variance) + y**2 / variance).sum(-1)
    responsibility = xp.exp(logit - logit.max(-1, keepdims=True))
    responsibility = responsibility / responsibility.sum(-1, keepdims=True)
    return sigma * xp.einsum("...k,kij,...kj->...i", responsibility, BASES, y / variance).reshape(x.shape)


def eps_model(schedule):
    """eps_model(x, t) in numpy for `reference`."""
    return lambda x, t: _eps(np, x, schedule.alpha(t), schedule.sigma(t))


def outputs(x, alpha, sigma):
    """What networks of all prediction types return for one sample [3, 2], in JAX."""
    eps = _eps(jnp, x, alpha, sigma)
    x0 = (x - sigma * eps) / alpha
    return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "score": -eps / sigma, "flow": eps - x0}


def model(schedule, prediction="eps"):
    """model(x, t) in JAX of one sample [3, 2], with the output of a network of the given prediction type."""
    return lambda x, t: outputs(x, schedule.alpha(t), schedule.sigma(t))[prediction]


def start(schedule, seed=0):
    """An initial state [*SHAPE] at t_start = 0.98 t_max, where every schedule has alpha > 0."""
    t = 0.98 * schedule.t_max
    return t, schedule.sigma(t) * np.random.default_rng(seed).normal(size=SHAPE)


def grid_of(schedule, n, name="lam_uniform"):
    return GRIDS[name](schedule, n, start(schedule)[0], schedule.t_min)
