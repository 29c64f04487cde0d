"""Measures images per second of `sample` by batch and devices, beside the bare network's, and what limits them.

    python main.py --config=configs/fashion_mnist.py --config.experiment=throughput --config.nfe=10

1. Batches: `throughput.segment` samples are drawn and read, for each batch size. The fastest is used below.
2. Contestants, for `throughput.count` samples, a segment at a time by turns:
     bare    jitted calls of the network, nfe per batch, each on the output of the call before; the devices get the
             next batch before the host waits for one
     engine  the same number of sampled batches, so also noise, jump and the solver's arithmetic
     runner  everything `sample` does: also reads the samples as uint8, checks them, and writes them in blocks
     scored  the same with features, and with the Fréchet distance at the end (if a classifier is configured)
   A segment is on the disk when its time ends, so the next samples do not hide its last block.
3. Devices: the first 1, 2, ... of `throughput.devices`, with the same batch. cpu_devices simulates any number.
4. Compilation of the sampling of a batch, with an empty and with a filled persistent cache (`compilation_cache`).

All measurements alternate and repeat: a number is a median, with the quartiles in brackets. Ratios are between
neighbours in time. For contestants there is also the ratio of total times, and the shares at the end come from these: a
share is the extra time of a contestant over the one before. A share below zero is noise, or XLA has compiled two
programs differently. Writes results.json, results.csv and throughput.png.
"""

import os
from pathlib import Path

import jax

from configs.sections import Ems, Sampling, Throughput
from experiments import build, ems
from experiments.data.files import write_json
from experiments.data.progress import Progress
from experiments.images import make_case
from experiments.sampling import check_keep
from experiments.support.errors import ConfigError
from experiments.support.mesh import first_mesh
from experiments.support.scores import write_csv
from experiments.timing import measurements
from experiments.timing.contestants import with_batch
from experiments.timing.measurements import MEASURED, several
from experiments.timing.summary import QUARTILES, plot, text

COLUMNS = ("what", "name", "images", "repeats", *(f"{m}_{q}" for m in MEASURED for q in QUARTILES), "ratio_of_totals")


def run(config, workdir) -> list[dict]:
    workdir, own, wanted = (
        Path(workdir),
        build.settings(config.throughput, Throughput),
        build.settings(config.sample, Sampling),
    )
    check(own)
    problem, mesh = build.problem(config), first_mesh(wanted.devices)
    check_keep(wanted.keep, problem.network.shape)
    statistics = ems.find_ems(problem, build.settings(config.ems, Ems), workdir, [build.solver(config)])
    case = make_case(problem, build.chosen(config, problem, statistics), build.scorer(config), wanted)

    batches, devices = several(own.batches), [n for n in several(own.devices) if n <= len(jax.devices())]
    work = (len(batches) + len(devices) + 2) * own.repeats
    work += measurements.segments_of(own) * (4 if case.scorer else 3)
    workdir.mkdir(parents=True, exist_ok=True)
    with Progress(total=work, desc="throughput", unit="measurement") as bar:
        rows = measurements.sweep(case, mesh, own, bar.update)
        best = max(rows, key=lambda row: row["images_per_second_median"])["name"]
        case = with_batch(case, best)
        contest, shares = measurements.compare(case, mesh, own, workdir, bar.update)
        rows += contest
        rows += measurements.scaling(case, devices, own, bar.update)
        rows += measurements.compiling(case, mesh, own, bar.update)

    about = {"solver": case.method.label, "nfe": case.method.nfe, "batch": best, "devices": mesh.devices.size}
    about |= {"platform": jax.devices()[0].platform, "cores": cores()}
    write_json(workdir / "results.json", {"rows": rows, "shares": shares} | about)
    write_csv(workdir / "results.csv", rows, COLUMNS)
    plot(workdir / "throughput.png", rows, shares, about["cores"])
    print(text(rows, shares, about, sorted(set(several(own.devices)) - set(devices))))
    return rows


def check(own: Throughput) -> None:
    """Raises ConfigError if the devices do not allow the settings, or two keys contradict each other."""
    if several(own.devices)[0] > (there := len(jax.devices())):
        remedy = "cpu_devices simulates more" if jax.devices()[0].platform == "cpu" else "name fewer"
        raise ConfigError(f"throughput.devices must name some of at most {there}, got {own.devices}: {remedy}")
    if own.segment > own.count:
        raise ConfigError(
            f"throughput.segment must be at most throughput.count = {own.count}, got {own.segment}: lower it"
        )


def cores() -> int | None:
    """The number of cores that simulated devices share; None for real devices."""
    if jax.devices()[0].platform != "cpu":
        return None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
