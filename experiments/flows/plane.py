"""Draws flows from noise to data in the plane, by formulas: a Gaussian, a mixture, points. Nothing is learned.

    python main.py --config=configs/flows_2d.py

The three distributions have the same mean and covariance, and all trajectories start from the same noise. Leaves
  flow_SCHEDULE.png  for each schedule: trajectories, and the density of x with its score at some noise levels
  parting.png        trajectories of the mixture beside those of the others, and how far these are, by noise level
and the numbers of the latter, which depend on no schedule, in results.csv and results.json.
"""

from pathlib import Path

import numpy as np

from configs.sections import Flows, Trajectories
from experiments import build
from experiments.data import files
from experiments.flows import plane_plots
from experiments.flows.fields import field
from experiments.flows.laws import distributions, follow_all, times_of
from experiments.flows.numbers import COLUMNS, differences, parting, rows
from experiments.support import keys
from experiments.support.errors import ConfigError
from experiments.support.scores import write_csv

TITLES = {"gaussian": "Gaussian", "mixture": "mixture", "delta": "points"}


def run(config, workdir) -> dict:
    workdir, own = Path(workdir), build.settings(config.flows, Flows)
    mixture, threshold = build.mixture(config), build.settings(config.trajectories, Trajectories).threshold
    if tuple(mixture.shape) != (2,):
        raise ConfigError(f"flows are drawn in the plane, got mixture.shape = {tuple(mixture.shape)}: set (2,)")
    laws = distributions(mixture, config.mixture.seed, own.points)
    z = keys.initial_noise(config.sample.seed, np.arange(own.count), (2,))
    for name in own.schedules:
        schedule = build.schedule(config, name)
        times = times_of(schedule, own.range, own.levels)
        paths = follow_all(laws, schedule, times, z)
        fields = {law: [field(laws[law], schedule, sigma) for sigma in own.sigmas] for law in laws}
        plane_plots.plot_flow(workdir / f"flow_{name}.png", name, schedule, times, laws, paths, fields, TITLES)

    levels, alpha = schedule.sigma(times) / schedule.alpha(times), schedule.alpha(times)[:, None, None]
    scaled = {law: ((x / alpha).astype(x.dtype), denoised) for law, (x, denoised) in paths.items()}
    found = compare(scaled, levels, threshold)
    plane_plots.plot_parting(workdir / "parting.png", scaled, laws, found, TITLES)
    write_csv(workdir / "results.csv", found["rows"], COLUMNS)
    files.write_json(workdir / "results.json", found)
    for row in found["summary"]:
        level = "no level" if row["x_parts_at"] is None else f"sigma / alpha = {row['x_parts_at']:.3g}"
        print(f"{TITLES[row['name']]} and mixture part at {level} (mean over {own.count})")
    return found


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
