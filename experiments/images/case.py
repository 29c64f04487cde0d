"""Everything samples depend on, and their drawing into blocks and scoring. `sample` runs it, `throughput` times it."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from configs.sections import Sampling
from experiments.build import Method, Problem, Scorer
from experiments.data.blocks import Block, sums_of
from experiments.data.pixels import to_uint8
from experiments.metrics.prefixes import tallies
from experiments.sampling import Blocks, Sampler, behind, counted, regroup, sizes_of
from experiments.support.errors import config_errors
from experiments.support.features import features
from experiments.support.mesh import first_mesh, place
from experiments.support.processes import together
from experiments.support.signals import patiently, stop_if_told
from solvers import npz


@dataclass(frozen=True, eq=False)
class Case:
    """Samples of `problem` by `method`. own: the section `sample`. scorer: None for no scores.

    settings: everything a sample depends on, as plain values.
    """

    problem: Problem
    method: Method
    scorer: Scorer | None
    own: Sampling
    settings: dict


def make_case(problem: Problem, chosen: tuple[Method, dict], scorer: Scorer | None, own: Sampling) -> Case:
    """Builds a Case. chosen: the method and what defines it (build.chosen)."""
    method, made = chosen
    settings = problem.identity | {"seed": problem.seed, "dtype": problem.dtype, "labels": problem.rule} | made
    return Case(problem, method, scorer, own, settings)


def make_fill(case: Case, mesh=None) -> Callable:
    """Makes fill(indices, blocks, on_batch), which draws samples into Blocks; returns seconds without compilation.

    The devices go on while a block is written. All of several processes draw; only the first has `blocks`, the others
    give None. on_batch(count) is called after each batch with the number of its samples.
    """
    batches = make_batches(case, mesh)
    hash_of = np.array(case.scorer.frechet.space.network if case.scorer else "")

    def fill(indices, blocks, on_batch) -> float:
        next(batches(indices, rows=0))  # compiles; no row runs
        begin, sizes = time.perf_counter(), sizes_of(indices, case.own.block)
        with patiently(), behind(blocks and blocks.write) as submit:
            for number, (part, images, rows) in enumerate(regroup(counted(batches(indices), on_batch), sizes)):
                with together():
                    if blocks:
                        labels = case.problem.labels(part)
                        submit(Block(part, labels, images, rows, hash_of, sums_of(images)))
                stop_if_told(number)
        return time.perf_counter() - begin

    return fill


def make_batches(case: Case, mesh=None) -> Callable:
    """Makes batches(indices, rows=all), which yields (indices, (images, features)) batch after batch."""
    mesh = mesh or first_mesh(case.own.devices)
    finish = make_finish(case.problem.network.shape, case.scorer and case.scorer.frechet.space, mesh)
    return partial(Sampler(case.problem, case.own.batch, mesh).batches, case.method, finish=finish)


def make_finish(shape, space, mesh) -> Callable:
    """Makes finish(samples) -> (images, features) on the devices; images are uint8, other samples float32."""
    space = space and space._replace(params=place(mesh, space.params))

    @jax.jit
    def images_of(samples):
        return to_uint8(samples) if len(shape) == 3 else samples

    def finish(samples):
        images = images_of(samples)
        empty = np.empty((len(images), 0), np.float32)
        return images, empty if space is None else space.on_device(images)

    return finish


def score_all(blocks: Blocks, counts: Sequence[int], scorer: Scorer | None, workdir) -> list[dict]:
    """Scores the first n samples for each n in `counts`, and writes statistics.npz of all samples."""
    space = scorer and scorer.frechet.space
    with config_errors():
        found = tallies(blocks, counts, space and space.network, partial(features, space))
    npz.write(workdir / "statistics.npz", found[counts[-1]].arrays())
    return [{"images": count} | _score(found[count], scorer, blocks.settings) for count in counts]


def _score(tally, scorer: Scorer | None, settings: dict) -> dict:
    if scorer is None:
        return {}
    passport = scorer.passport(tally.count, settings["seed"], settings)
    return scorer.frechet.score(tally.parts) | {"passport": passport}


def first_images(blocks: Iterable[Block], count: int) -> np.ndarray:
    parts = []
    for block in blocks:
        parts.append(block.images)
        if sum(map(len, parts)) >= count:
            break
    return np.concatenate(parts)[:count]
