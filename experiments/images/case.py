"""What determines the samples of a config, and how they are drawn into blocks: what `throughput` times of `sample`."""

import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.build.checkpoints import find
from experiments.build.jumps import build_jumps
from experiments.build.network import Network, build_labels, build_model
from experiments.build.schedules import build_nfes, build_solver
from experiments.build.scoring import build_frechet
from experiments.build.tables import build_table, resolve
from experiments.data.blocks import Block, sums_of
from experiments.data.images import SAMPLE_RULE
from experiments.data.pixels import to_uint8
from experiments.ems.estimate import identity
from experiments.ems.find import find_ems
from experiments.metrics.frechet import Frechet
from experiments.metrics.passport import ORIGIN, passport
from experiments.sampling.alignment import align
from experiments.sampling.sampler import build_mesh, make_generator
from experiments.support.mesh import place
from experiments.support.signals import patiently
from experiments.support.signals import stop_if_told
from experiments.support.processes import together
from solvers import Table
from solvers.fingerprint import fingerprint


class Case(NamedTuple):
    """All that determines the samples: of `table`, in float32, run `rows`, after `jump`; `settings`: in plain values.

    start: the sigma / alpha that the jump leads to, or None without one.
    """

    config: Any
    network: Network
    frechet: Frechet | None
    solver: str
    table: Table
    rows: int
    start: float | None
    jump: tuple | None
    settings: dict


def build_case(config, workdir) -> Case:
    """Of `solver`, and of a benchmark's several numbers of evaluations the largest."""
    (label, options), nfe = build_solver(config), build_nfes(config)[-1]
    network = build_model(config)
    ems = find_ems(config, network, workdir, [(label, options)])
    options = resolve(config, options, nfe, ems)
    table, rows = align({0: build_table(config, options, nfe, network.prediction, ems)})[0]
    start = options["teleport"]
    jump = build_jumps(config, network, {0: start})[0]
    solver = f"{label}: {options['name']}" if label in ("auto", "teleport") else label
    settings = settings_of(config, network, options, table, nfe, ems)
    return Case(config, network, build_frechet(config), solver, table, rows, start, jump, settings)


def settings_of(config, network, options, table, nfe, ems) -> dict:
    """What makes a sample the one it is, as plain values; files by their content, wherever they lie."""
    gaussian = config.teleport.gaussian if options["teleport"] is not None else ""
    about = {"seed": config.sample.seed, "dtype": config.model.dtype, "labels": str(config.model.labels), "nfe": nfe}
    about |= {
        "solver": options,
        "table": hash_of_table(table),
        "grid": config.grid.to_dict(),
        "ems": hash_of_ems(options, ems),
    }
    about["gaussian"] = gaussian and hashlib.sha256(find(gaussian).read_bytes()).hexdigest()[:16]
    return identity(config, network) | about


def hash_of_ems(options, ems) -> str | None:
    """Of the statistics, where a solver of these options uses them."""
    used = ("lam", *"lsb") if options["name"] == "dpm_v3" else ()
    return fingerprint({name: getattr(ems, name) for name in used}) if used else None


def hash_of_table(table: Table) -> str:
    """Of the coefficients in float32, which is how they are used; without rows or columns that were added."""
    return fingerprint(table.astype(np.float32)._asdict())


def passport_of(frechet: Frechet, settings: dict, count: int) -> dict:
    """Of a score of the samples below `count` that are of these `settings`, here or in a run's files."""
    rules = {"uint8": SAMPLE_RULE, "labels": settings["labels"], "seed": settings["seed"]}
    origin = {key: settings[key] for key in ORIGIN}
    return passport(frechet.space.about(), frechet.reference, np.arange(count), **rules, **origin)


def make_fill(case: Case, mesh=None) -> Callable:
    """fill(indices, blocks, on_batch): draws samples into Blocks; the seconds that took, compilation left out.

    While a block is written, the devices go on. Of several processes, all draw, and the first has `blocks`, the others
    None. on_batch(count) is called after each batch with the number of its samples.
    """
    generate = make_batches(case, mesh)
    hash_of = np.array(case.frechet.space.network if case.frechet else "")

    def fill(indices, blocks, on_batch) -> float:
        next(generate(rows=0, indices=indices))  # no row runs: compiles
        begin, sizes = time.perf_counter(), sizes_of(indices, case.config.sample.block)
        with patiently(), behind(blocks and blocks.write) as submit:
            batches = counted(generate(rows=case.rows, indices=indices), on_batch)
            for number, (part, images, features) in enumerate(regroup(batches, sizes)):
                with together():
                    if blocks:
                        labels = build_labels(case.config, case.network, part)
                        submit(Block(part, labels, images, features, hash_of, sums_of(images)))
                stop_if_told(number)
        return time.perf_counter() - begin

    return fill


def make_batches(case: Case, mesh=None) -> Callable:
    """generate(rows=..., indices=...): the (indices, (images, features)) of batch after batch."""
    mesh = mesh or build_mesh(case.config)
    finish = make_finish(case.network.shape, case.frechet and case.frechet.space, mesh)
    return partial(make_generator(case.config, case.network, mesh), case.table, jump=case.jump, finish=finish)


def make_finish(shape, space, mesh):
    """finish(samples) -> (images, features) on the devices: uint8 where samples are images, float32 else."""
    space = space and space._replace(params=place(mesh, space.params))

    @jax.jit
    def images_of(samples):
        return to_uint8(samples) if len(shape) == 3 else samples

    def finish(samples):
        images = images_of(samples)
        empty = np.empty((len(images), 0), np.float32)
        return images, empty if space is None else space.on_device(images)

    return finish
