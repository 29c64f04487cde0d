"""The contestants that `speed` and `throughput` time: samples of one solver, drawn in several ways."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.build import Problem
from experiments.images import Case, make_batches, make_fill, score_all
from experiments.sampling import Blocks, Sampler
from experiments.support.mesh import place, rounded
from experiments.support.turns import timed


def sampled_and_bare(problem: Problem, batch: int, mesh) -> tuple[Callable, Callable]:
    """Makes sampled(jump, table) and bare(times), both for one batch, rounded up to the devices.

    sampled draws samples with noise and jump. bare calls the network alone, each time on the output of the call before.
    """
    sampler, network, indices = Sampler(problem, batch, mesh), problem.network, np.arange(rounded(batch, batch, mesh))
    x = place(mesh, problem.start(problem.seed, indices), batch=True)
    split = place(mesh, (indices.astype(np.int32), problem.labels(indices)), batch=True)
    call = jax.jit(jax.vmap(lambda params, x, t, label: network.make(params, label)(x, t), in_axes=(None, 0, None, 0)))

    def sampled(jump, table):
        return sampler.draw(sampler.params, jump, table, table.nfe, problem.seed, *split)

    def bare(times):
        y = x
        for t in times:
            y = call(sampler.params, y, t, split[1])
        return y

    return sampled, bare


def with_batch(case: Case, batch: int) -> Case:
    return replace(case, own=replace(case.own, batch=batch))


def size_of(case: Case, mesh) -> int:
    """The size of a batch on these devices."""
    return rounded(case.own.batch, case.own.batch, mesh)


def drawing(case: Case, mesh, count: int) -> Callable:
    """Makes draw(round): seconds until samples 0 to count - 1 are drawn and read. It is compiled here."""
    batches = partial(make_batches(replace(case, scorer=None), mesh), np.arange(count))
    next(batches(rows=0))  # compiles; no row runs

    def draw():
        for _ in batches():
            pass

    return partial(timed, draw)


def on_devices(case: Case, mesh, batches: int) -> tuple[Callable, Callable]:
    """Makes bare(round) and engine(round): seconds of `batches` batches on the devices alone. Both are compiled here.

    bare: calls of the network, each on the output of the call before. engine: `draw` with noise and jump.
    """
    fixed = place(mesh, (case.method.jump, case.method.runs))
    sampled, calls = sampled_and_bare(case.problem, case.own.batch, mesh)
    times = np.asarray(case.method.runs.t)
    jax.block_until_ready((sampled(*fixed), calls(times[:1])))
    works = partial(calls, times), partial(sampled, *fixed)
    return tuple(partial(timed, partial(one_ahead, work, batches)) for work in works)


def one_ahead(work: Callable, batches: int) -> None:
    """Gives the devices the next batch before it waits for the last, as mesh.stream does, so they are never idle.

    Further ahead, the memory of all batches would be allocated at once: bare calls were 5 to 10 % slower on a CPU.
    """
    last = None
    for _ in range(batches):
        last, before = work(), last
        jax.block_until_ready(before)
    jax.block_until_ready(last)


def written(case: Case, mesh, blocks: Blocks, count: int) -> Callable:
    """Makes take(round): seconds of `sample` for the next `count` samples, until all are on the disk. Compiles."""
    fill = make_fill(case, mesh)
    fill(np.arange(count), None, silent)  # compiles; nothing is written

    def take(number):
        return fill(np.arange(number * count, (number + 1) * count), blocks, silent)

    return take


def silent(count):
    pass


def contestants_of(case: Case, mesh, folder: Path, rounds: int, count: int) -> tuple[dict, Callable]:
    """{name: function(round)}, each with one stage more than the one before, and score() for the files of the last."""
    contestants = dict(zip(("bare", "engine"), on_devices(case, mesh, count // size_of(case, mesh))))
    for name in ("runner", "scored") if case.scorer else ("runner",):
        blocks = Blocks(folder / name, case.settings, case.problem.network.shape, case.own.keep)
        one = case if name == "scored" else replace(case, scorer=None)
        contestants[name] = written(one, mesh, blocks, count)

    def score():
        if case.scorer:
            score_all(blocks, [rounds * count], case.scorer, folder)

    return contestants, score
