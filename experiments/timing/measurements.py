"""The measurements of `throughput`: rows by batch, by contestant, by number of devices, and for compilation."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments.images import Case
from experiments.support.mesh import make_mesh, rounded
from experiments.support.turns import take_turns, timed
from experiments.timing.compilation import STAGES, compilations
from experiments.timing.contestants import contestants_of, drawing, size_of, with_batch
from experiments.timing.summary import QUARTILES, shares_of

MEASURED = ("seconds", "images_per_second", "ratio")


def sweep(case: Case, mesh, own, progress: Callable) -> list[dict]:
    """A row per batch size (all devices together). own: the section `throughput`, here and below."""
    counts = {
        size: whole(own.segment, size) for size in (rounded(batch, batch, mesh) for batch in several(own.batches))
    }
    draws = {size: drawing(with_batch(case, size), mesh, count) for size, count in counts.items()}
    seconds = take_turns(draws, own.repeats, progress)
    return [row_of("batch", size, taken, counts[size]) for size, taken in seconds.items()]


def compare(case: Case, mesh, own, workdir, progress: Callable) -> tuple[list[dict], list[dict]]:
    """A row per contestant, with its time relative to the bare network, and the shares in the time of the last.

    Files are written in workdir and removed.
    """
    count, segments = whole(own.segment, size_of(case, mesh)), segments_of(own)
    with tempfile.TemporaryDirectory(prefix=".throughput-", dir=workdir) as folder:
        contestants, score = contestants_of(case, mesh, Path(folder), segments, count)
        seconds = take_turns(contestants, segments, progress)
        scoring = timed(score)
    if "scored" in seconds:
        seconds["scored"] += scoring / segments
    rows = []
    for name, taken in seconds.items():
        rows.append(row_of("contestant", name, taken, count, taken / seconds["bare"]))
        rows[-1]["ratio_of_totals"] = float(taken.sum() / seconds["bare"].sum())
    return rows, shares_of(seconds)


def scaling(case: Case, devices: list[int], own, progress: Callable) -> list[dict]:
    """A row per number of devices; the ratio is the speed relative to the first number."""
    meshes = {n: make_mesh(jax.devices()[:n]) for n in devices}
    counts = {n: whole(own.segment, size_of(case, mesh)) for n, mesh in meshes.items()}
    draws = {n: drawing(case, mesh, counts[n]) for n, mesh in meshes.items()}
    seconds = take_turns(draws, own.repeats, progress)
    rates = {n: counts[n] / taken for n, taken in seconds.items()}
    return [row_of("devices", n, seconds[n], counts[n], rates[n] / rates[devices[0]]) for n in devices]


def compiling(case: Case, mesh, own, progress: Callable) -> list[dict]:
    """A row for each stage and their sum, with an empty and with a filled cache; the ratio is to the empty one."""
    seconds = compilations(case, mesh, own.repeats, progress)
    seconds = {state: np.column_stack([taken, taken.sum(axis=1)]) for state, taken in seconds.items()}
    return [
        row_of("compilation", f"{stage}, {state}", taken[:, n], ratios=taken[:, n] / seconds["empty"][:, n])
        for state, taken in seconds.items()
        for n, stage in enumerate((*STAGES, "all"))
    ]


def several(value) -> list[int]:
    return sorted({value} if isinstance(value, int) else set(value))


def segments_of(own) -> int:
    return -(-own.count // own.segment)


def whole(count: int, batch: int) -> int:
    """`count`, rounded up to whole batches."""
    return -(-count // batch) * batch


def row_of(what, name, seconds, images=None, ratios=None) -> dict:
    """A row with median and quartiles of repeated measurements [repeats]."""
    row = {"what": what, "name": name, "images": images, "repeats": len(seconds)}
    for key, values in zip(MEASURED, (seconds, images and images / seconds, ratios)):
        if values is not None:
            row |= {f"{key}_{q}": float(np.percentile(values, p)) for q, p in zip(QUARTILES, (50, 25, 75))}
    return row
