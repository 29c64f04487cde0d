"""Gathers moments of a model in units, a file each: a shard of the points at a block of noise levels.

Files are whole or absent (solvers/npz.py), so after any stop the next run goes on. Files that cannot be read, or that
hold something else, are made again. The path of a unit says what it holds, and the file says so too: `folder` stands
for one way of gathering (model, schedule, noise levels, rule, seed), and each shard has a folder in it (its points, a
fingerprint of their data). So a run with more points or other devices adds to the units that exist.

Shards are spread over processes (`jax.distributed`), which need no common file system, and the batches of a shard over
the local devices. Memory holds one block of a shard, and the sums.
"""

from itertools import count
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.data.progress import Progress
from experiments.support.processes import together
from experiments.support.signals import stop_if_told
from solvers import npz
from solvers.ems.moments import NAMES, Moments, Plan, gatherer
from solvers.engine import State
from solvers.fingerprint import fingerprint


def gather_all(plan: Plan, data, labels, folder: Path, shard: int, block: int) -> Moments:
    """The moments of data [K, *D], labels [K] at all of plan.lam [G + 1], from units that exist and units made now.

    shard: points of a unit. block: noise levels of a unit. All of several processes get the sum over all points.
    ValueError if the model is not finite, OSError for a full disk; both are raised on all processes.
    """
    blocks, shards, first = _parts(len(plan.lam), block), _parts(len(data), shard), jax.process_index() == 0
    if first and len(shards) < jax.process_count():
        print(f"{jax.process_count()} processes share {len(shards)} shards, some idle: lower ems.shard = {shard}")
    mine = shards[jax.process_index() :: jax.process_count()]
    work = sum(part.stop - part.start for part in mine) * len(plan.lam)
    total = Moments(np.zeros(len(plan.lam)), np.zeros((len(plan.lam), len(NAMES), *data.shape[1:])))
    shown = {"desc": "ems", "unit": "point", "unit_scale": True, "hidden": not first}
    with together(), Progress(total=work, **shown) as bar:
        gather, steps = gatherer(plan), count()
        for part in mine:
            name = f"{part.start}-{part.stop}-{fingerprint({'data': data[part], 'labels': labels[part]})}"
            points = data[part], np.arange(part.start, part.stop), (labels[part],)
            for nodes, moments in _gather_shard(gather, points, folder / name, blocks, plan.rule == "trajectory", bar):
                for known, more in zip(total, moments, strict=True):
                    known[nodes] += more
                stop_if_told(next(steps))
    _sum_processes(total, blocks)
    return total


def _parts(length, size):
    return [slice(first, min(first + size, length)) for first in range(0, length, size)]


def _gather_shard(gather, points, folder, blocks, moving, bar):
    """Yields (block, its moments) of one shard.

    For points that move, a separate file keeps the states after a block until the next block has its unit.
    """
    shape = points[0].shape
    states = [folder / f"{block.stop}-states.npz" for block in blocks]

    def states_after(n):
        if n < 0 or not moving:
            return None
        return _read(states[n], State, shape) or gather(*points, block=blocks[n], carry=states_after(n - 1))[1]

    for n, block in enumerate(blocks):
        path, levels = folder / f"{block.start}-{block.stop}.npz", block.stop - block.start
        moments = _read(path, Moments, (levels,), (levels, len(NAMES), *shape[1:]))
        if moments:
            bar.total -= levels * len(points[0])  # the bar estimates time from work that remains
        else:
            moments, carry = gather(*points, block=block, carry=states_after(n - 1), progress=bar.update)
            if moving and n + 1 < len(blocks):
                _write(states[n], carry)  # before the unit: a block with a unit is never computed again
            _write(path, moments)
        if n:
            states[n - 1].unlink(missing_ok=True)
        yield block, moments


def _write(path, arrays):
    npz.write(path, arrays._asdict() | {"of": _of(path)})


def _read(path, kind, *shapes):
    """Reads a `kind` whose first arrays have these shapes. None if the file is missing, damaged or another unit."""
    try:
        file = npz.read(path, (*kind._fields, "of"))
        found = kind(*(file[name] for name in kind._fields))
        if str(file["of"]) != _of(path) or any(x.shape != shape for x, shape in zip(found, shapes)):
            raise ValueError(f"{path} is of something else")
        if not all(np.isfinite(x).all() for x in found):
            raise ValueError(f"{path} holds values that are not finite")
        return found
    except FileNotFoundError:
        return None
    except ValueError as error:
        print(f"{error}: it is made again now")
        return None


def _of(path) -> str:
    """The description of a unit, from its path; its file holds the same text."""
    return " ".join([*path.parts[-3:], *NAMES])


def _sum_processes(total: Moments, blocks):
    """Sums `total` over all processes, in place. float64 travels as bytes, since jax might round it."""
    for block in blocks if jax.process_count() > 1 else ():
        for own in total:
            parts = multihost_utils.process_allgather(np.ascontiguousarray(own[block]).view(np.uint8))
            own[block] = parts.view(np.float64).sum(axis=0)
