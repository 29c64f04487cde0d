"""Is a network a sound function of noise? If not, every statement about solvers that is made on it is false.

Three looks, each at a fault that was seen to spoil few-step sampling:
  order     Heun's method must converge with order 2. A denoiser that wiggles in sigma stalls it.
  gaussian  at high noise the denoiser and its Jacobian's diagonal must be those of a Gaussian with the data's moments.
            A network that was never trained there has others.
  s         the statistic s of the model (EMS) must be of order 1: exponentials of it enter DPM-Solver-v3.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import gaussian
from experiments.build.checkpoints import find
from experiments.build.network import build_model
from experiments.build.schedules import build_schedule, initial_scale
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.ems.estimate import read_ems
from experiments.metrics.frechet import load_reference
from experiments.support import keys, plots
from experiments.support.errors import ConfigError
from solvers import SOLVERS, sample
from solvers.grid import GRIDS

INTERVALS = (16, 32, 64, 128, 512)  # the last one is the reference
SIGMAS = np.geomspace(0.02, 80, 13)
PROBES = 16


def run(config, workdir) -> dict:
    workdir = Path(workdir)
    network, schedule = build_model(config, guidance=False), build_schedule(config)
    count, seed = config.health.count, config.sample.seed
    noise = initial_scale(config) * keys.initial_noise(seed, np.arange(count), network.shape)
    found = {"order": heun_order(network, schedule, noise)}
    images = pixels.to_float(datasets.load(config.data.name, config.data.path)[0][:count])
    found["gaussian"] = gaussian_rows(network, read_gaussian(config, network.shape), images, seed)
    ems = read_ems(config, network)
    found["s"] = [] if ems is None else s_rows(ems)
    files.write_json(workdir / "health.json", found)
    plots.plot_health(workdir / "health.png", found)
    print(summary(found))
    return found


def heun_order(network, schedule, noise) -> dict:
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


def read_gaussian(config, shape) -> gaussian.Mixture:
    """The Gaussian with the pixel moments of the training set in `config.reference`."""
    if not config.reference:
        raise ConfigError(
            "health compares with the data's moments: set reference to a file of the classifier experiment"
        )
    reference = load_reference(find(config.reference))
    mean, covariance = reference["train_pixel_mean"], reference["train_pixel_cov"]
    return gaussian.from_covariances(np.ones(1), mean.reshape(1, *shape), covariance[None].astype(np.float64))


def gaussian_rows(network, moments, images, seed) -> list[dict]:
    """The network (without label) beside the Gaussian, by sigma, on noised images.

    score, denoiser: share of the network's that the Gaussian explains, 1 - |network - Gaussian|^2 / |network|^2,
    denoisers counted from the data's mean; rmse: root mean square difference of the denoisers, in pixel units;
    l: the same of l = diag(sigma d eps/dx) = 1 - diag(dx0/dx), its mean over images found with PROBES probes each.
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
                "score": explained(mine - x, theirs - x),
                "denoiser": explained(mine - mean, theirs - mean),
                "rmse": rms(mine - theirs),
                "l": rms(diagonal.mean(axis=0) - diagonal_gauss.mean(axis=0)),
            }
        )
    return rows


def explained(value, approximation) -> float:
    """1 - |value - approximation|^2 / |value|^2; -inf where value is zero, the score of a network that returns x."""
    with np.errstate(divide="ignore"):
        return float(1 - ((value - approximation) ** 2).sum() / (value**2).sum())


def rms(value) -> float:
    return float(np.sqrt(np.mean(value**2)))


def s_rows(ems) -> list[dict]:
    """By lam: root mean square, median and largest |s| over coordinates."""
    s = np.abs(ems.s.reshape(len(ems.lam), -1))
    columns = ems.lam, np.sqrt((s**2).mean(axis=1)), np.median(s, axis=1), s.max(axis=1)
    return [
        dict(zip(("lam", "rms", "median", "max"), map(float, row), strict=True)) for row in zip(*columns, strict=True)
    ]


def summary(found) -> str:
    lines = [
        "Heun's method, slope between neighbouring step counts (2 is sound): "
        + ", ".join(f"{slope:.2f}" for slope in found["order"]["slopes"])
    ]
    names = ("sigma", "score", "denoiser", "rmse", "l")
    lines.append(
        "The Gaussian of the data: share of score and denoiser it explains; rms difference of denoisers and of l"
    )
    lines.append("".join(f"{name:>10}" for name in names))
    lines += ["".join(f"{row[name]:10.4f}" for name in names) for row in found["gaussian"]]
    above = [row["sigma"] for row in found["gaussian"] if row["score"] < 0.99]
    lines.append(f"the Gaussian explains 99 % of the score above sigma = {max(above, default=0):.3g}")
    if found["s"]:
        lines.append(
            f"s: root mean square at most {max(r['rms'] for r in found['s']):.2f} over noise levels, "
            f"single coordinates up to {max(r['max'] for r in found['s']):.1f}"
        )
    return "\n".join(lines)
