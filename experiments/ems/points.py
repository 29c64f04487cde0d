"""Draws the points for the model's statistics (EMS) by `ems.rule`, see estimate.py."""

from pathlib import Path

import jax
import numpy as np

import gaussian
from experiments.build import Network, Problem, coordinates, method
from experiments.data.pixels import to_float
from experiments.data.progress import Progress
from experiments.metrics.threads import one_thread
from experiments.sampling import Sampler
from experiments.support.errors import ConfigError, check_known
from experiments.support.kept import Kept
from experiments.support.mesh import make_mesh

RULES = ("auto", "noised", "samples", "trajectory")
SAMPLE_NFE = 30  # for the rule `samples`


def rule_of(problem: Problem, c) -> str:
    """The value of `ems.rule`, with `auto` replaced by its choice."""
    check_known(RULES, c.rule, "ems.rule")
    if c.rule == "auto":
        return "trajectory" if problem.guided else "noised"
    return c.rule


def draw_points(problem: Problem, c, workdir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [K, *shape], and labels [K]: clean samples, or for trajectories states at the first noise level.

    They are in the coordinates of the network, which may be another basis than pixels.
    """
    indices, rule, basis = np.arange(c.points), rule_of(problem, c), problem.network.basis
    labels = problem.labels(indices)
    if rule == "noised":
        points, labels = problem.source.points(problem, c.points)
    elif rule == "trajectory":
        points = problem.start(c.seed, indices)
    else:
        points = draw_samples(problem, c, workdir)
    return points if basis is None else coordinates(basis, points), labels


def draw_samples(problem: Problem, c, workdir: Path) -> np.ndarray:
    """Samples of the model, by UniPC of order 3. They are kept, since they cost as much as several noise levels."""
    settings = problem.identity | {"count": c.points, "seed": c.seed, "nfe": SAMPLE_NFE}
    kept = Kept(workdir, settings)
    if found := kept.read("points"):
        return found[0]["points"]
    fine = method(problem, "points", {"name": "unipc", "grid": {"name": "lam_uniform"}, "teleport": None}, SAMPLE_NFE)
    sampler, indices = Sampler(problem, c.batch, make_mesh(jax.local_devices())), np.arange(c.points)
    with Progress(total=c.points, desc="samples for the EMS", unit="sample") as bar:
        points, _ = sampler.collect(fine, indices, seed=c.seed, on_batch=bar.update)
    kept.write("points", {"points": points})
    return points


def closed_form(problem: Problem) -> Network:
    """The exact denoiser of the data's Gaussian, in pixels; of each class's Gaussian if the model is conditional."""
    if problem.network.basis is not None or problem.guided or problem.exact is not None:
        raise ConfigError("ems.model=gaussian is for a network in pixels without guidance: set ems.model=network")
    images, labels, *_ = problem.source.training()
    labels = np.zeros(len(images), int) if problem.rule == "none" else labels
    with one_thread(images[0].size):
        fits = jax.tree.map(np.float32, gaussian.fit_classes(to_float(images), labels))
    schedule = problem.schedule

    def make(mixture, label):
        return gaussian.denoiser(gaussian.component(mixture, label), schedule)

    return problem.network._replace(params=fits, make=make, prediction="x0")
