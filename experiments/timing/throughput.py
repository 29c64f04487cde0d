"""Images per second of `sample`: by batch and devices, beside the bare network's, and what limits them.

    python main.py --config=configs/fashion_mnist.py --config.experiment=throughput --config.nfe=10

1. Batches: `throughput.segment` samples are drawn and read, for each batch. The rest is with the fastest.
2. Contestants, for `throughput.count` samples, a segment at a time by turns:
     bare    the calls of the network, jitted, nfe to a batch, each on the output of the one before; the devices have
             the next batch before the host waits for one
     engine  the same number of batches as they are sampled: also with noise, jump and the solver's arithmetic
     runner  all that `sample` does: also reads the samples as uint8, checks them, and writes them in blocks
     scored  the same with features, and with the Fréchet distance at the end (if a classifier is configured)
   A segment is written when its time ends, so that the last block is not hidden behind the next samples.
3. Devices: the first 1, 2, ... of `throughput.devices`, with the same batch. cpu_devices simulates any number.
4. Compilation of the sampling of a batch, with a persistent cache (`compilation_cache`) that is empty, and filled.

Everything is measured by turns, and again and again: a number is a median, in brackets are the quartiles. Ratios are of
neighbours in time; for contestants there is also that of the total times, of which the shares at the end are: what each
contestant takes more than the one before. A share below zero is noise, or two programs that XLA has compiled
differently. Writes results.json, results.csv and throughput.png.
"""

import os
import tempfile
from pathlib import Path

import jax
import numpy as np

from experiments.data import files
from experiments.data.progress import Progress
from experiments.images.case import build_case
from experiments.sampling.sampler import build_mesh
from experiments.sampling.store import check_keep
from experiments.support import scores as report
from experiments.support.errors import ConfigError
from experiments.support.mesh import make_mesh, rounded
from experiments.timing import compilation
from experiments.timing import turns as parts
from experiments.timing.summary import QUARTILES, plot, shares_of, text

MEASURED = ("seconds", "images_per_second", "ratio")
COLUMNS = ("what", "name", "images", "repeats", *(f"{m}_{q}" for m in MEASURED for q in QUARTILES), "ratio_of_totals")


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    check(config)
    workdir.mkdir(parents=True, exist_ok=True)
    report.write_config(workdir / "config.json", config)
    c, case = config.throughput, build_case(config, workdir)
    check_keep(config.sample.keep, case.network.shape)
    batches, devices = several(c.batches), [n for n in several(c.devices) if n <= len(jax.devices())]
    segments = -(-c.count // c.segment)
    work = (len(batches) + len(devices) + 2) * c.repeats + segments * (4 if case.frechet else 3)
    with Progress(total=work, desc="throughput", unit="measurement") as bar:
        rows = sweep(case, batches, bar.update)
        best = max(rows, key=lambda row: row["images_per_second_median"])["name"]
        case = parts.with_batch(case, best)
        contest, shares = compare(case, workdir, segments, bar.update)
        rows += contest
        rows += scaling(case, devices, bar.update)
        rows += compiling(case, bar.update)
    about = {"solver": case.solver, "nfe": case.rows, "batch": best, "devices": build_mesh(config).devices.size}
    about |= {"platform": jax.devices()[0].platform, "cores": cores()}
    files.write_json(workdir / "results.json", {"rows": rows, "shares": shares} | about)
    report.write_csv(workdir / "results.csv", rows, COLUMNS)
    plot(workdir / "throughput.png", rows, shares, about["cores"])
    print(text(rows, shares, about, sorted(set(several(c.devices)) - set(devices))))
    return rows


def several(value) -> list[int]:
    return sorted({value} if isinstance(value, int) else set(value))


def check(config) -> None:
    c = config.throughput
    for key in ("batches", "devices"):
        values = several(c[key])
        if not values or values[0] < 1:
            raise ConfigError(f"throughput.{key} must be numbers of at least 1, got {c[key]}: name one, or several")
    for key in ("count", "segment", "repeats"):
        if c[key] < 1:
            raise ConfigError(f"throughput.{key} must be at least 1, got {c[key]}: raise it")
    if config.sample.block < 1:
        raise ConfigError(f"sample.block must be at least 1, got {config.sample.block}: raise it")
    if several(c.devices)[0] > (there := len(jax.devices())):
        remedy = "cpu_devices simulates more" if jax.devices()[0].platform == "cpu" else "name fewer"
        raise ConfigError(f"throughput.devices must name some of at most {there}, got {c.devices}: {remedy}")
    if c.segment > c.count:
        raise ConfigError(f"throughput.segment must be at most throughput.count = {c.count}, got {c.segment}: lower it")


def cores() -> int | None:
    """That the devices share, where they are simulated."""
    if jax.devices()[0].platform != "cpu":
        return None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def sweep(case, batches, progress) -> list[dict]:
    """A row per batch, in samples of all devices."""
    c, mesh = case.config.throughput, build_mesh(case.config)
    counts = {size: whole(c.segment, size) for size in (rounded(batch, batch, mesh) for batch in batches)}
    draws = {size: parts.drawing(parts.with_batch(case, size), mesh, count) for size, count in counts.items()}
    seconds = parts.take_turns(draws, c.repeats, progress)
    return [row_of("batch", size, taken, counts[size]) for size, taken in seconds.items()]


def compare(case, workdir, segments, progress) -> tuple[list[dict], list[dict]]:
    """A row per contestant, with its time over that of the bare network, and the shares in the time of the last.

    The files are written in workdir, and removed.
    """
    count = whole(case.config.throughput.segment, parts.size_of(case, build_mesh(case.config)))
    with tempfile.TemporaryDirectory(prefix=".throughput-", dir=workdir) as folder:
        contestants, score = parts.contestants_of(case, Path(folder), segments, count)
        seconds = parts.take_turns(contestants, segments, progress)
        scoring = parts.timed(score)
    if "scored" in seconds:
        seconds["scored"] += scoring / segments
    rows = []
    for name, taken in seconds.items():
        rows.append(row_of("contestant", name, taken, count, taken / seconds["bare"]))
        rows[-1]["ratio_of_totals"] = float(taken.sum() / seconds["bare"].sum())
    return rows, shares_of(seconds)


def scaling(case, devices, progress) -> list[dict]:
    """A row per number of devices; the ratio is how many times as fast as the first of them."""
    c = case.config.throughput
    meshes = {n: make_mesh(jax.devices()[:n]) for n in devices}
    counts = {n: whole(c.segment, parts.size_of(case, mesh)) for n, mesh in meshes.items()}
    draws = {n: parts.drawing(case, mesh, counts[n]) for n, mesh in meshes.items()}
    seconds = parts.take_turns(draws, c.repeats, progress)
    rates = {n: counts[n] / taken for n, taken in seconds.items()}
    return [row_of("devices", n, seconds[n], counts[n], rates[n] / rates[devices[0]]) for n in devices]


def compiling(case, progress) -> list[dict]:
    """A row for each stage and for all together, with an empty and with a filled cache; the ratio is to the empty."""
    seconds = compilation.compilations(case, case.config.throughput.repeats, progress)
    seconds = {state: np.column_stack([taken, taken.sum(axis=1)]) for state, taken in seconds.items()}
    return [
        row_of("compilation", f"{stage}, {state}", taken[:, n], ratios=taken[:, n] / seconds["empty"][:, n])
        for state, taken in seconds.items()
        for n, stage in enumerate((*compilation.STAGES, "all"))
    ]


def whole(count: int, batch: int) -> int:
    """`count`, rounded up to whole batches."""
    return -(-count // batch) * batch


def row_of(what, name, seconds, images=None, ratios=None) -> dict:
    """Median and quartiles of repeated measurements [repeats]."""
    row = {"what": what, "name": name, "images": images, "repeats": len(seconds)}
    for key, values in zip(MEASURED, (seconds, images and images / seconds, ratios)):
        if values is not None:
            row |= {f"{key}_{q}": float(np.percentile(values, p)) for q, p in zip(QUARTILES, (50, 25, 75))}
    return row
