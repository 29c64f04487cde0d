"""Sampling trajectories of a network beside those of closed-form scores of its training set, from the same noise.

    python main.py --config=configs/fashion_mnist.py --config.experiment=trajectories --config.model.labels=none

The network's, the class mixture's and the delta's (the training images themselves) are integrated with a fine table,
one Gaussian's is a formula (gaussian/flow.py). With labels the closed forms are those of each sample's class. Leaves
  trajectories.png  mean squared difference to the network, of x / alpha and of the denoised image, by noise level
  samples.png       what each solution ends in                denoised.png  denoised images on the way
  modes.png         by principal component: when it emerges, and how much of the end the Gaussian foretells
  plane.png         how much of x_t lies in the plane of its ends, and the turn that it makes there
and the numbers in results.csv and results.json. Where the solutions part: where the mean of the squared difference
over pixels first exceeds `trajectories.threshold`, coming from the noise (0.01 in arXiv 2412.09726).
"""

from functools import partial
from pathlib import Path

import numpy as np

from configs.sections import Sampling, Trajectories
from experiments import build, structure
from experiments.data import files, pixels
from experiments.data.progress import Progress
from experiments.flows import trajectory_plots
from experiments.flows.integrate import Ode, follow, follow_closed_forms
from experiments.flows.numbers import COLUMNS, compare
from experiments.support.errors import config_errors
from experiments.support.scores import write_csv
from experiments.support.tables import text_table
from solvers.grid import GRIDS

TITLES = {
    "gaussian": "Gaussian",
    "mixture": "class mixture",
    "delta": "delta (training images)",
    "class_gaussian": "Gaussian of the class",
    "class_delta": "delta of the class",
}
PRINTED = ("final_mse", "final_std", "final_explained", "closer_than_gaussian", "x_parts_at", "denoised_parts_at")
NOTE = """\
final MSE: to the network's final samples, per pixel, mean (standard deviation) over samples; CIFAR10: the same, of EDM
explained: 1 - final MSE / variance of the network's samples; closer: share of samples that end nearer to the network's
than the Gaussian's do; parts at: sigma / alpha where the mean squared difference of states x, of denoised images x0,
first exceeds the threshold; by sample: quartiles of the same for single samples"""


def run(config, workdir) -> dict:
    workdir, own = Path(workdir), build.settings(config.trajectories, Trajectories)
    problem, batch = build.problem(config, basis="pixels"), build.settings(config.sample, Sampling).batch
    network, schedule, indices = problem.network, problem.schedule, np.arange(own.count)
    with config_errors():
        times = GRIDS["lam_uniform"](schedule, own.levels - 1, *problem.span)
        data = problem.source.training()
    labels, conditional = problem.labels(indices), problem.rule != "none"
    ode = Ode(schedule, times, problem.start(problem.seed, indices))
    with Progress(total=(2 if conditional else 3) * own.count, desc="trajectories", unit="sample") as bar:
        integrate = partial(follow, batch=batch, progress=bar.update)
        mine = integrate(structure.network_function(network, schedule), network.params, ode, labels)
        images = pixels.to_float(data.train)
        others = follow_closed_forms(images, data.labels, ode, labels if conditional else None, integrate)
        found = compare(mine, others, schedule, times, own.threshold, own.shown)

    published = {} if conditional else published_differences()  # those are of an unconditional network
    for row in found["summary"]:
        row["published_cifar10"] = published.get(row["name"])
    write_csv(workdir / "results.csv", found["rows"], COLUMNS)
    files.write_json(workdir / "results.json", {key: value for key, value in found.items() if key != "images"})
    trajectory_plots.plot_all(workdir, found, TITLES)
    print(table(found))
    return {key: found[key] for key in ("rows", "summary")}


def published_differences() -> dict:
    """{name: (mean, deviation)} of the final samples, on CIFAR10; assets/published/trajectories.csv says whose."""
    return {row["name"]: (float(row["mean"]), float(row["deviation"])) for row in build.read_published("trajectories")}


def table(found) -> str:
    """The summary as text, with what its columns mean."""
    head = ("", "final MSE", "(std)", "explained", "closer", "x parts at", "x0 parts at", "x by sample", "CIFAR10")
    lines = [head]
    for row in found["summary"]:
        numbers = ["never" if row[key] is None else f"{row[key]:.4g}" for key in PRINTED]
        quartiles = " ".join(f"{q:.3g}" for q in row["x_parts_quartiles"])
        published = "{:.4f} ({:.4f})".format(*row["published_cifar10"]) if row["published_cifar10"] else "-"
        lines.append((TITLES[row["name"]], *numbers, quartiles, published))
    return "\n".join([text_table(lines), NOTE])
