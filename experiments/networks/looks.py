"""Checks a network on noise: the order of Heun's method, the Gaussian part by sigma, the size of the statistic s."""

import jax
import jax.numpy as jnp
import numpy as np

import gaussian
from experiments.build import Network
from experiments.data.progress import Progress
from gaussian.analysis import explained
from solvers import SOLVERS, sample
from solvers.ems import EMS
from solvers.grid import GRIDS

INTERVALS = (16, 32, 64, 128, 512)  # the last one is the reference
SIGMAS = np.geomspace(0.02, 80, 13)
PROBES = 16


def heun_order(network: Network, schedule, noise) -> dict:
    """Median RMSE of Heun's method to a fine solution, by number of intervals, and the slope between neighbours."""
    solve = jax.jit(
        lambda params, table, x: jax.vmap(lambda x: sample(network.make(params, network.classes), table, x)[0])(x)
    )
    ends = {}
    for n in Progress(INTERVALS, desc="order of Heun"):
        table = SOLVERS["edm_heun"](schedule, GRIDS["karras"](schedule, n), prediction=network.prediction)
        ends[n] = np.asarray(solve(network.params, table.astype(np.float32), noise), np.float64)
    *intervals, reference = INTERVALS
    difference = np.stack([ends[n] - ends[reference] for n in intervals])
    rmse = np.median(np.sqrt((difference**2).mean(axis=tuple(range(2, difference.ndim)))), axis=1)
    return {"intervals": intervals, "rmse": rmse.tolist(), "slopes": np.log2(rmse[:-1] / rmse[1:]).tolist()}


def gaussian_rows(network: Network, moments: gaussian.Mixture, images, seed: int) -> list[dict]:
    """The network (without label) beside the Gaussian, by sigma, on noised images.

    score, denoiser: the share that the Gaussian explains, 1 - |network - Gaussian|^2 / |network|^2; denoisers are
    counted from the data's mean. rmse: the root mean square difference of the denoisers, in pixel units. l: the same
    for l = diag(sigma d eps/dx) = 1 - diag(dx0/dx), as mean over images with PROBES probes each.
    """

    def one(params, sigma, x0, index):
        noise, probe = (jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), index), k) for k in (0, 1))
        x = x0 + sigma * jax.random.normal(noise, x0.shape)
        probes = jax.random.rademacher(probe, (PROBES, *x0.shape), x0.dtype)
        outs, diagonals = [], []
        for model in (network.make(params, network.classes), lambda x, s: gaussian.posterior_mean(moments, x, 1.0, s)):
            out, tangent = jax.linearize(lambda x, m=model: m(x, sigma), x)
            outs.append(out)
            diagonals.append((probes * jax.lax.map(tangent, probes)).mean(axis=0))
        return x, *outs, *diagonals

    points = jax.jit(jax.vmap(one, in_axes=(None, None, 0, 0)))
    rows = []
    for sigma in Progress(SIGMAS, desc="Gaussian part"):
        got = points(network.params, jnp.float32(sigma), images, np.arange(len(images)))
        x, mine, theirs, diagonal, diagonal_gauss = (np.asarray(a, np.float64) for a in got)
        mean = np.asarray(moments.means).reshape(network.shape)
        rows.append(
            {
                "sigma": float(sigma),
                "score": share(mine - x, theirs - x),
                "denoiser": share(mine - mean, theirs - mean),
                "rmse": rms(mine - theirs),
                "l": rms(diagonal.mean(axis=0) - diagonal_gauss.mean(axis=0)),
            }
        )
    return rows


def share(value, approximation) -> float:
    """The explained share over all images and pixels together."""
    return float(explained(value[None], approximation[None])[0])


def rms(value) -> float:
    return float(np.sqrt(np.mean(value**2)))


def s_rows(ems: EMS) -> list[dict]:
    """A row per lam: root mean square, median and largest |s| over coordinates."""
    s = np.abs(ems.s.reshape(len(ems.lam), -1))
    columns = ems.lam, np.sqrt((s**2).mean(axis=1)), np.median(s, axis=1), s.max(axis=1)
    return [
        dict(zip(("lam", "rms", "median", "max"), map(float, row), strict=True)) for row in zip(*columns, strict=True)
    ]
