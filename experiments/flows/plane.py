"""Flows from noise to data in the plane, where all is a formula: a Gaussian, a mixture, points. Nothing is learned.

    python main.py --config=configs/flows_2d.py

The three distributions have the same mean and covariance, and all trajectories start from the same noise. Leaves
  flow_SCHEDULE.png  for each schedule: trajectories, and the density of x with its score at some noise levels
  parting.png        trajectories of the mixture beside those of the others, and how far these are, by noise level
and the numbers of the latter, which depend on no schedule, in results.csv and results.json.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import gaussian
from experiments.build.network import build_mixture
from experiments.build.schedules import build_schedule
from experiments.data import files
from experiments.flows import fields as plots_of_flows
from experiments.flows.integrate import follow
from experiments.flows.numbers import COLUMNS, differences, parting, rows
from experiments.structure.explained import closed_form
from experiments.support import keys
from experiments.support import scores as report
from experiments.support.errors import ConfigError
from gaussian import flow

TITLES = {"gaussian": "Gaussian", "mixture": "mixture", "delta": "points"}


class Field(NamedTuple):
    """density [m, m] and score [m, m, 2] of x at one noise level, on a grid of the two coordinates axis [m]."""

    sigma: float
    axis: np.ndarray
    density: np.ndarray
    score: np.ndarray


def run(config, workdir) -> dict:
    workdir, c = Path(workdir), config.flows
    report.write_config(workdir / "config.json", config)
    if tuple(config.mixture.shape) != (2,):
        raise ConfigError(f"flows are drawn in the plane, got mixture.shape = {tuple(config.mixture.shape)}: set (2,)")
    if not c.schedules:
        raise ConfigError("flows.schedules is empty: name some of edm, vp, vp_cosine, vp_discrete, flow")
    laws, z = distributions(config), keys.initial_noise(config.sample.seed, np.arange(c.count), (2,))
    for name in c.schedules:
        schedule = build_schedule(_with_schedule(config, name))
        times = times_of(schedule, c.range, c.levels)
        paths = trajectories(laws, schedule, times, z)
        fields = {law: [field(laws[law], schedule, sigma) for sigma in c.sigmas] for law in laws}
        plots_of_flows.plot_flow(workdir / f"flow_{name}.png", name, schedule, times, laws, paths, fields, TITLES)
    levels = schedule.sigma(times) / schedule.alpha(times)
    scaled = {law: np.stack(path) for law, path in paths.items()}
    for law in scaled:
        scaled[law][0] /= schedule.alpha(times)[:, None, None]
    found = compare(scaled, levels, config.trajectories.threshold)
    plots_of_flows.plot_parting(workdir / "parting.png", scaled, laws, found, TITLES)
    report.write_csv(workdir / "results.csv", found["rows"], COLUMNS)
    files.write_json(workdir / "results.json", found)
    for row in found["summary"]:
        print(
            f"{TITLES[row['name']]} and mixture part at sigma / alpha = {row['x_parts_at']:.3g} (mean over {c.count})"
        )
    return found


def _with_schedule(config, name):
    changed = config.copy_and_resolve_references()
    changed.schedule.name = name
    return changed


def distributions(config) -> dict:
    """The mixture of `config.mixture`, the Gaussian with its mean and covariance, and points drawn from it.

    The points are moved by the affine map that gives them that mean and covariance exactly.
    """
    mixture = build_mixture(config)
    normal = gaussian.as_gaussian(mixture)
    key = jax.random.key(config.mixture.seed)
    points = np.asarray(gaussian.sample_data(mixture, key, config.flows.points), np.float64)
    own = gaussian.fit_gaussian(points, biased=True)
    # U sqrt(v) U^T of both: the symmetric roots, which turn nothing.
    whiten, colour = (
        (g.basis[0] * g.variances[0] ** power) @ g.basis[0].T for g, power in ((own, -0.5), (normal, 0.5))
    )
    return {
        "gaussian": normal,
        "mixture": mixture,
        "delta": gaussian.delta((points - own.means[0]) @ whiten @ colour + normal.means[0]),
    }


def times_of(schedule, span, count) -> np.ndarray:
    """Decreasing times [count] at which sigma / alpha runs from the first to the second of `span`, logarithmically."""
    high, low = span
    if not high > low > 0 or count < 3:
        raise ConfigError(f"flows.range must be falling noise levels above 0, got {tuple(span)}, of {count} levels")
    return schedule.t_of_lam(-np.log(np.geomspace(high, low, count)))


def trajectories(laws, schedule, times, z) -> dict:
    """{name: (x, E[x0 | x])}, each [n, count, 2], from sigma z at times[0]: the Gaussian's by the formula."""
    start = np.float32(schedule.sigma(times[0]) * z)
    exact = closed_form(gaussian.posterior_mean)
    paths = {name: follow(exact, law, schedule, times, start, batch=len(z)) for name, law in laws.items()}
    along = jax.jit(jax.vmap(flow.trajectory(laws["gaussian"], schedule, times), out_axes=1))
    return paths | {"gaussian": tuple(np.asarray(states) for states in along(start))}


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


def compare(paths, levels, threshold) -> dict:
    """Squared differences to the mixture's trajectories, by noise level, and where they exceed the threshold."""
    found, summary = [], []
    for name in ("gaussian", "delta"):
        x, denoised = (differences(*pair) for pair in zip(paths["mixture"], paths[name], strict=True))
        summary.append({"name": name, "final_mse": float(denoised[-1].mean())})
        for kind, values in (("x", x), ("denoised", denoised)):
            summary[-1][f"{kind}_parts_at"] = parting(levels, values.mean(axis=1), threshold)
        found += rows(name, levels, x, denoised)
    return {"threshold": threshold, "rows": found, "summary": summary}
