"""What `throughput` times: the samples of one solver, drawn in several ways by turns."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.images import sample
from experiments.images.case import Case, make_batches, make_fill
from experiments.sampling.sampler import build_mesh
from experiments.sampling.store import Blocks
from experiments.support.mesh import place, rounded
from experiments.timing import speed


def with_batch(case: Case, batch: int) -> Case:
    config = case.config.copy_and_resolve_references()
    config.sample.batch = config.speed.batch = batch
    return case._replace(config=config)


def size_of(case: Case, mesh) -> int:
    """Of a batch on these devices."""
    return rounded(case.config.sample.batch, case.config.sample.batch, mesh)


def take_turns(contestants: Mapping, rounds: int, progress) -> dict:
    """Seconds [rounds] of each of {name: function of the round, which returns its seconds}. Drift favours nobody.

    Every name comes first, second, ... equally often (in 2 len(contestants) rounds), after and before every neighbour.
    """
    names, seconds = list(contestants), {name: np.zeros(rounds) for name in contestants}
    for number in range(rounds):
        first = number // 2 % len(names)
        for name in (names[first:] + names[:first])[:: -1 if number % 2 else 1]:
            seconds[name][number] = contestants[name](number)
            progress()
    return seconds


def timed(work: Callable, number=None) -> float:
    """Seconds of work(), in any round."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def drawing(case: Case, mesh, count: int) -> Callable:
    """draw(round): seconds until samples 0 to count - 1 are drawn and read. Is compiled."""
    generate = partial(make_batches(case._replace(frechet=None), mesh), indices=np.arange(count))
    next(generate(rows=0))  # no row runs: compiles

    def draw():
        for _ in generate(rows=case.rows):
            pass

    return partial(timed, draw)


def on_devices(case: Case, mesh, batches: int) -> tuple[Callable, Callable]:
    """bare(round), engine(round): seconds of `batches` batches on the devices alone. Both are compiled.

    bare: calls of the network, each on the output of the one before. engine: `draw`, with its noise and jump.
    """
    table, jump = place(mesh, (case.table, case.jump))
    sampled, calls, _ = speed.contestants(case.config, case.network, mesh)
    times = np.asarray(case.table.t)[: case.rows]
    jax.block_until_ready((sampled(table, jump), calls(times[:1])))
    works = partial(calls, times), partial(sampled, table, jump)
    return tuple(partial(timed, partial(one_ahead, work, batches)) for work in works)


def one_ahead(work: Callable, batches: int) -> None:
    """Gives the devices their next batch before it waits for the last, as mesh.stream does: they are never idle.

    Further ahead, the memory of all batches is allocated at once, which made bare calls 5 to 10 % slower on a CPU.
    """
    last = None
    for _ in range(batches):
        last, before = work(), last
        jax.block_until_ready(before)
    jax.block_until_ready(last)


def written(case: Case, mesh, blocks: Blocks, count: int) -> Callable:
    """take(round): seconds of `sample` for the next `count` samples, with all on the disk at the end. Is compiled."""
    fill = make_fill(case, mesh)
    fill(np.arange(count), None, silent)  # nothing is written

    def take(number):
        return fill(np.arange(number * count, (number + 1) * count), blocks, silent)

    return take


def silent(count):
    pass


def contestants_of(case: Case, folder: Path, rounds: int, count: int) -> tuple[dict, Callable]:
    """{name: function(round)}, each a stage more than the one before, and score(), of what the last one wrote."""
    mesh = build_mesh(case.config)
    contestants = dict(zip(("bare", "engine"), on_devices(case, mesh, count // size_of(case, mesh))))
    for name in ("runner", "scored") if case.frechet else ("runner",):
        blocks = Blocks(folder / name, case.settings, case.network.shape, case.config.sample.keep)
        one = case if name == "scored" else case._replace(frechet=None)
        contestants[name] = written(one, mesh, blocks, count)

    def score():
        if case.frechet:
            sample.score_all(blocks, [rounds * count], case.frechet, folder)

    return contestants, score
