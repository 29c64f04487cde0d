"""What `throughput` times: the samples of one solver, drawn in several ways by turns."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments import runner, sample, speed
from experiments.blocks import Block, Blocks, sums_of
from experiments.build import build_frechet, build_nfes, build_solver, config_errors
from experiments.build_model import Network, build_labels, build_model
from experiments.build_table import build_table, resolve
from experiments.build_teleport import build_jumps
from experiments.ems import find_ems
from experiments.mesh import first_devices, make_mesh, place, rounded
from experiments.metrics import Frechet
from experiments.sampler import make_generator
from solvers import Table


class Case(NamedTuple):
    """All that determines the samples: `table` in float32, of which `rows` run; `settings` are those of `sample`."""

    config: Any
    network: Network
    frechet: Frechet | None
    solver: str
    table: Table
    rows: int
    jump: tuple | None
    settings: dict

    def with_batch(self, batch: int) -> "Case":
        config = self.config.copy_and_resolve_references()
        config.sample.batch = config.speed.batch = batch
        return self._replace(config=config)

    def mesh(self):
        with config_errors():
            return make_mesh(first_devices(self.config.sample.devices))

    def size(self, mesh) -> int:
        """Of a batch on these devices."""
        return rounded(self.config.sample.batch, self.config.sample.batch, mesh)


def build_case(config, workdir) -> Case:
    """What `sample` would draw."""
    (label, options), nfe = build_solver(config), build_nfes(config)[-1]
    network = build_model(config)
    ems = find_ems(config, network, workdir, [(label, options)])
    options = resolve(config, options, nfe, ems)
    jump = build_jumps(config, network, {0: options["teleport"]})[0]
    table, rows = runner.align({0: build_table(config, options, nfe, network.prediction, ems)})[0]
    settings = sample.settings_of(config, network, options, nfe, ems)
    Blocks(workdir / "runner", settings, network.shape, config.sample.keep)  # its errors come before any measurement
    return Case(config, network, build_frechet(config), options["name"], table, rows, jump, settings)


def take_turns(contestants: Mapping, rounds: int, progress) -> dict:
    """Seconds [rounds] of each of {name: function of the round}. What drifts favours nobody.

    Every name comes first, second, ... equally often (in 2 len(contestants) rounds), after and before every neighbour.
    """
    names, seconds = list(contestants), {name: np.zeros(rounds) for name in contestants}
    for number in range(rounds):
        first = number // 2 % len(names)
        for name in (names[first:] + names[:first])[:: -1 if number % 2 else 1]:
            begin = time.perf_counter()
            contestants[name](number)
            seconds[name][number] = time.perf_counter() - begin
            progress()
    return seconds


def drawing(case: Case, mesh, count: int) -> Callable:
    """draw(round): waits until samples 0 to count - 1 are drawn and read. Is compiled."""
    generate = make_generator(case.config, case.network, mesh)
    fixed = {"indices": np.arange(count), "jump": case.jump, "finish": sample.make_finish(case.network.shape, None)}
    next(generate(case.table, 0, **fixed))  # no row runs: compiles

    def draw(number):
        for _ in generate(case.table, case.rows, **fixed):
            pass

    return draw


def on_devices(case: Case, mesh, batches: int) -> tuple[Callable, Callable]:
    """bare(round), engine(round): `batches` batches on the devices alone. Both are compiled.

    bare: calls of the network, each on the output of the one before. engine: `draw`, with its noise and jump.
    """
    table, jump = place(mesh, (case.table, case.jump))
    sampled, calls, _ = speed.contestants(case.config, case.network, mesh)
    times = np.asarray(case.table.t)[: case.rows]
    jax.block_until_ready((sampled(table, jump), calls(times[:1])))
    return partial(one_ahead, partial(calls, times), batches), partial(
        one_ahead, partial(sampled, table, jump), batches
    )


def one_ahead(work: Callable, batches: int, number) -> None:
    """Gives the devices their next batch before it waits for the last, as mesh.stream does: they are never idle.

    Further ahead, the memory of all batches is allocated at once, which made bare calls 5 to 10 % slower on a CPU.
    """
    last = None
    for _ in range(batches):
        last, before = work(), last
        jax.block_until_ready(before)
    jax.block_until_ready(last)


def written(case: Case, mesh, frechet, blocks: Blocks, count: int) -> Callable:
    """take(round): what `sample` does with the next `count` samples, in blocks on the disk at the end. Is compiled.

    With `frechet` also their features.
    """
    config, shape = case.config, case.network.shape
    finish, hash_of = sample.make_finish(shape, frechet), np.array(sample.network_hash(frechet))
    generate, silent = make_generator(config, case.network, mesh), tqdm(disable=True)
    next(generate(case.table, 0, np.arange(count), jump=case.jump, finish=finish))

    def take(number):
        wanted = np.arange(number * count, (number + 1) * count)
        sizes = np.unique(wanted // config.sample.block, return_counts=True)[1]
        batches = generate(case.table, case.rows, wanted, jump=case.jump, finish=finish)
        with sample.behind(blocks.write) as submit:
            for indices, images, features in sample.regroup(sample.counted(batches, silent), sizes):
                labels = build_labels(config, case.network, indices)
                submit(Block(indices, labels, images, features, hash_of, sums_of(images)))

    return take


def contestants_of(case: Case, folder: Path, rounds: int, count: int) -> tuple[dict, Callable]:
    """{name: function(round)}, each a stage more than the one before, and score(), of what the last one wrote."""
    mesh = case.mesh()
    contestants = dict(zip(("bare", "engine"), on_devices(case, mesh, count // case.size(mesh))))
    runs = {"runner": None} | ({"scored": case.frechet} if case.frechet else {})
    for name, frechet in runs.items():
        blocks = Blocks(folder / name, case.settings, case.network.shape, case.config.sample.keep)
        contestants[name] = written(case, mesh, frechet, blocks, count)

    def score():
        if case.frechet:
            sample.score(blocks, [rounds * count], case.frechet, {}, folder)

    return contestants, score
