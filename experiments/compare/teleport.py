"""Measures the cost and the gain of skipping the first part of sampling in closed form, for each solver and start.

    python main.py --config=configs/teleport.py          # heat maps: solver x evaluations x sigma
    python main.py --config=configs/teleport.py:heun     # EDM's Heun: skip k of N intervals
    python main.py --config=configs/teleport.py:best     # 5 to 8 evaluations, three seeds

The exact flow of the data's Gaussian (with labels, of the sample's class) carries the noise to each sigma of
`teleport.sigmas`. From there each solver of `benchmark.solvers` runs on its own grid. With `teleport.intervals`, EDM's
Heun also runs from the sigmas of its own grid. Errors are to a fine solution without teleport, from the same noise.
Only network evaluations count: the jump takes none. Writes results.csv, results.json, heatmaps.png, teleport.png;
published FIDs have their own columns.
"""

from pathlib import Path

import numpy as np

from configs.sections import Benchmark, Ems, Sampling, Teleport
from experiments import build, ems, sampling
from experiments.compare import heatmaps, published
from experiments.compare.contest import MEASURES, Contest, Entry, over_seeds, seed_rows
from experiments.compare.savings import summary
from experiments.data.files import write_json
from experiments.support import scores
from experiments.support.errors import ConfigError
from experiments.support.mesh import first_mesh
from solvers.grid import karras

HEUN = "Heun of EDM"
COLUMNS = ("solver", "nfe", "teleport", "skipped", *(f"{m}{end}" for m in MEASURES for end in ("", "_spread")))


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    own, wanted = build.settings(config.teleport, Teleport), build.settings(config.sample, Sampling)
    problem, reference_nfe = build.problem(config), build.settings(config.benchmark, Benchmark).reference_nfe
    solvers = build.solvers(config) if config.benchmark.solvers else []
    cases = heun_cases(problem, own) | grid_cases(solvers, build.nfes(config), own)
    named = [(key[0], options) for key, (options, _) in cases.items()]
    statistics = ems.find_ems(problem, build.settings(config.ems, Ems), workdir, named)
    sampler = sampling.Sampler(problem, wanted.batch, first_mesh(wanted.devices))
    contest = Contest(sampler, reference_nfe, np.arange(wanted.count), build.scorer(config), workdir)
    methods = {key: (key[0], options, key[1]) for key, (options, _) in cases.items()}
    methods = build.make_methods(problem, methods, statistics)
    found = contest.run({key: Entry(sampler, method) for key, method in methods.items()}, own.seeds, "teleport")

    rows = [row_of(key, cases[key][1], row, own) for key, row in over_seeds(found, own.seeds).items()]
    note = f"{wanted.count} images for each of the seeds {own.seeds}; spread: half the range over them"
    write_json(workdir / "measured.json", seed_rows(found))
    scores.write_csv(workdir / "results.csv", rows, (*COLUMNS, *published.COLUMNS.values()))
    write_json(workdir / "results.json", {"rows": rows, "note": note})
    heatmaps.plot_heatmaps(workdir / "heatmaps.png", [row for row in rows if row["skipped"] is None])
    heatmaps.plot_curves(workdir / "teleport.png", rows)
    print(summary(rows, HEUN), note, sep="\n")
    return rows


def grid_cases(solvers, nfes, own) -> dict:
    """{(label, nfe, sigma / alpha of the start, or None without teleport): (options, None)} for the solvers."""
    return {
        (label, nfe, sigma): (options | {"teleport": sigma}, None)
        for label, options in solvers
        for nfe in nfes
        for sigma in (None, *map(float, own.sigmas))
    }


def heun_cases(problem, own) -> dict:
    """The same for EDM's Heun, from the sigmas of its own grid: (options, number of skipped intervals)."""
    if not own.intervals:
        return {}
    wrong = [k for k in own.skips if not 0 <= k < own.intervals]
    if wrong:
        raise ConfigError(
            f"teleport.skips must be from 0 to teleport.intervals - 1 = {own.intervals - 1}, got {wrong[0]}"
        )
    times, schedule = karras(problem.schedule, own.intervals - 1, *problem.span), problem.schedule
    sigmas = {k: float(np.exp(-schedule.lam(times[k]))) if k else None for k in own.skips}
    options = {"name": "edm_heun", "grid": {"name": "karras", "rho": 7.0}}
    return {(HEUN, 2 * (own.intervals - k) - 1, sigmas[k]): (options | {"teleport": sigmas[k]}, k) for k in own.skips}


def row_of(key, skipped, measured, own) -> dict:
    """A row of measures, with the published numbers for the same solver, evaluations and start."""
    label, nfe, sigma = key
    row = {"solver": label, "nfe": nfe, "teleport": sigma, "skipped": skipped} | measured
    if skipped is not None:
        theirs = published.heun_fids().get(skipped) if own.intervals == published.INTERVALS else None
        return row | {published.COLUMNS["CIFAR10"]: theirs}
    known, start = published.fids(), 80.0 if sigma is None else sigma
    return row | {column: known.get((data, label, start, nfe)) for data, column in published.COLUMNS.items()}
