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

import jax
import numpy as np

import gaussian
from experiments.build.network import build_labels, build_model
from experiments.build.schedules import build_schedule, initial_scale, sampling_range
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.flows import plots as plots_of_trajectories
from experiments.flows.integrate import follow
from experiments.flows.numbers import COLUMNS, compare
from experiments.structure.explained import closed_form, network_function
from experiments.support import keys
from experiments.support import scores as report
from experiments.support.errors import ConfigError, config_errors
from gaussian import flow
from solvers.grid import GRIDS

TITLES = {
    "gaussian": "Gaussian",
    "mixture": "class mixture",
    "delta": "delta (training images)",
    "class_gaussian": "Gaussian of the class",
    "class_delta": "delta of the class",
}
# Of the final samples, mean and deviation over 512: EDM on CIFAR10, from the code of arXiv 2412.09726
PUBLISHED = {"gaussian": (0.0130, 0.0073), "mixture": (0.0118, 0.0067), "delta": (0.0473, 0.0188)}
PRINTED = ("final_mse", "final_std", "final_explained", "closer_than_gaussian", "x_parts_at", "denoised_parts_at")
NOTE = """\
final MSE: to the network's final samples, per pixel, mean (standard deviation) over samples; CIFAR10: the same, of EDM
explained: 1 - final MSE / variance of the network's samples; closer: share of samples that end nearer to the network's
than the Gaussian's do; parts at: sigma / alpha where the mean squared difference of states x, of denoised images x0,
first exceeds the threshold; by sample: quartiles of the same for single samples"""


def run(config, workdir) -> dict:
    workdir, c = Path(workdir), config.trajectories
    report.write_config(workdir / "config.json", config)
    network, schedule = build_model(config), build_schedule(config)
    if c.count < 2:
        raise ConfigError(f"trajectories.count must be at least 2, for standard errors, got {c.count}")
    indices = np.arange(c.count)
    labels, times = build_labels(config, network, indices), build_times(config, schedule)
    start = np.float32(initial_scale(config)) * keys.initial_noise(config.sample.seed, indices, network.shape)
    images, classes, *_ = datasets.load(config.data.name, config.data.path)
    conditional = str(config.model.labels) != "none"
    with Progress(total=(2 if conditional else 3) * c.count, desc="trajectories", unit="sample") as bar:
        integrate = partial(follow, schedule=schedule, times=times, batch=config.sample.batch, progress=bar.update)
        mine = integrate(network_function(network, schedule), network.params, start=start, labels=labels)
        others = solutions(pixels.to_float(images), classes, schedule, times, start, labels, conditional, integrate)
        found = compare(mine, others, schedule, times, c.threshold, c.shown)
    for row in found["summary"]:  # theirs is of an unconditional network
        row["published_cifar10"] = None if conditional else PUBLISHED[row["name"]]
    write(workdir, found)
    print(table(found))
    return {key: found[key] for key in ("rows", "summary")}


def build_times(config, schedule) -> np.ndarray:
    """`trajectories.levels` times, uniform in lam, over the range of sampling."""
    with config_errors():
        return GRIDS["lam_uniform"](schedule, config.trajectories.levels - 1, *sampling_range(config, schedule))


def solutions(images, classes, schedule, times, start, labels, conditional, integrate):
    """Yields (name, distribution, (x, x0) [n, B, *D] each) of the closed forms of the data, from `start`."""
    normal = gaussian.fit_gaussian(images)
    yield "gaussian", normal, follow_exactly(normal, schedule, times, start)
    mixture = gaussian.fit_classes(images, classes)
    exact = closed_form(gaussian.posterior_mean)
    if not conditional:
        yield "mixture", mixture, integrate(exact, mixture, start=start)
        points = gaussian.delta(images)
        yield "delta", points, integrate(exact, points, start=start)
        return
    yield "class_gaussian", mixture, follow_exactly(mixture, schedule, times, start, labels)
    of_class = np.empty((2, len(times), *start.shape), np.float32)
    for label in np.unique(labels):
        points = gaussian.delta(images[classes == label])
        of_class[:, :, labels == label] = integrate(exact, points, start=start[labels == label])
    yield "class_delta", None, of_class


def follow_exactly(mixture, schedule, times, start, components=0):
    """As `follow`, by the formula, of Gaussians: sample i in the one with number components[i] (or one for all)."""
    components = np.broadcast_to(components, len(start))
    run = jax.jit(jax.vmap(flow.trajectory(mixture, schedule, times), out_axes=1))
    return tuple(np.asarray(states) for states in run(start, components))


def write(workdir: Path, found) -> None:
    stored = {key: value for key, value in found.items() if key != "images"}
    report.write_csv(workdir / "results.csv", found["rows"], COLUMNS)
    files.write_json(workdir / "results.json", stored)
    plots_of_trajectories.plot_all(workdir, found, TITLES)


def table(found) -> str:
    """The summary as text, with what its columns mean."""
    head = ("", "final MSE", "(std)", "explained", "closer", "x parts at", "x0 parts at", "x by sample", "CIFAR10")
    lines = [head]
    for row in found["summary"]:
        numbers = ["never" if row[key] is None else f"{row[key]:.4g}" for key in PRINTED]
        quartiles = " ".join(f"{q:.3g}" for q in row["x_parts_quartiles"])
        published = row["published_cifar10"]
        published = f"{published[0]:.4f} ({published[1]:.4f})" if published else "-"
        lines.append((TITLES[row["name"]], *numbers, quartiles, published))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*text, NOTE])
