"""Is a network a sound function of noise? If not, every statement about solvers that is made on it is false.

Three looks, each at a fault that was seen to spoil few-step sampling:
  order     Heun's method must converge with order 2. A denoiser that wiggles in sigma stalls it.
  gaussian  at high noise the denoiser and its Jacobian's diagonal must be those of a Gaussian with the data's moments.
            A network that was never trained there has others.
  s         the statistic s of the model (EMS) must be of order 1: exponentials of it enter DPM-Solver-v3.
"""

from pathlib import Path

import numpy as np

import gaussian
from configs.sections import Ems, Health
from experiments import build, ems
from experiments.data import files, pixels
from experiments.metrics.frechet import load_reference
from experiments.networks import looks, plots
from experiments.support.errors import ConfigError
from experiments.support.tables import text_table


def run(config, workdir) -> dict:
    workdir, count = Path(workdir), build.settings(config.health, Health).count
    problem = build.problem(config, guidance=False)
    network, noise = problem.network, problem.start(problem.seed, np.arange(count))
    moments = read_gaussian(config.reference, network.shape)
    found = {"order": looks.heun_order(network, problem.schedule, noise)}
    images = pixels.to_float(problem.source.training().train[:count])
    found["gaussian"] = looks.gaussian_rows(network, moments, images, problem.seed)
    statistics = ems.read_ems(problem, build.settings(config.ems, Ems))
    found["s"] = [] if statistics is None else looks.s_rows(statistics)
    files.write_json(workdir / "health.json", found)
    plots.plot_health(workdir / "health.png", found)
    print(summary(found))
    return found


def read_gaussian(path: str, shape) -> gaussian.Mixture:
    """The Gaussian with the pixel moments of the training set in `reference`."""
    if not path:
        raise ConfigError(
            "health compares with the data's moments: set reference to a file of the classifier experiment"
        )
    reference = load_reference(build.find(path))
    mean, covariance = reference["train_pixel_mean"], reference["train_pixel_cov"]
    return gaussian.from_covariances(np.ones(1), mean.reshape(1, *shape), covariance[None].astype(np.float64))


def summary(found: dict) -> str:
    """All of health.json but the rows of s, as text."""
    lines = [
        "Heun's method, slope between neighbouring step counts (2 is sound): "
        + ", ".join(f"{slope:.2f}" for slope in found["order"]["slopes"])
    ]
    names = ("sigma", "score", "denoiser", "rmse", "l")
    lines.append(
        "The Gaussian of the data: share of score and denoiser it explains; rms difference of denoisers and of l"
    )
    lines.append(text_table([names, *([f"{row[name]:.4f}" for name in names] for row in found["gaussian"])]))
    above = [row["sigma"] for row in found["gaussian"] if row["score"] < 0.99]
    lines.append(f"the Gaussian explains 99 % of the score above sigma = {max(above, default=0):.3g}")
    if found["s"]:
        lines.append(
            f"s: root mean square at most {max(r['rms'] for r in found['s']):.2f} over noise levels, "
            f"single coordinates up to {max(r['max'] for r in found['s']):.1f}"
        )
    return "\n".join(lines)
