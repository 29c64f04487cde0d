"""What skipping the first part of sampling in closed form costs and saves: solver by solver, by the noise skipped to.

    python main.py --config=configs/teleport.py          # heat maps: solver x evaluations x sigma
    python main.py --config=configs/teleport.py:heun     # EDM's Heun: skip k of N intervals
    python main.py --config=configs/teleport.py:best     # 5 to 8 evaluations, three seeds

Each solver of `benchmark.solvers` runs on its own grid from each sigma of `teleport.sigmas` on, after the exact flow of
the data's Gaussian (of the sample's class, where there are labels) from where sampling starts; with
`teleport.intervals` also EDM's Heun, from the sigmas of its own grid. Errors are to a fine solution without teleport,
from the same noise. Evaluations are those of the network: the jump takes none. Writes results.csv, results.json,
heatmaps.png, teleport.png; published FIDs stand in columns of their own.
"""

from pathlib import Path

import numpy as np

from experiments.build.jumps import build_jumps
from experiments.build.network import build_model
from experiments.build.schedules import build_nfes, build_schedule, build_solvers, sampling_range
from experiments.build.tables import build_table
from experiments.compare import heatmaps as plots_of_teleport
from experiments.compare import published as published_teleport
from experiments.compare.benchmark import REFERENCE, reference_table
from experiments.compare.contest import MEASURES, Entry, contest
from experiments.data import files
from experiments.ems.estimate import find_ems
from experiments.images.case import hash_of_ems
from experiments.sampling.sampler import make_sampler
from experiments.support import tables as report
from experiments.support.errors import ConfigError, config_errors
from solvers.grid import karras

HEUN = "Heun of EDM"
PUBLISHED = {"CIFAR10": "published_cifar10_fid", "AFHQv2": "published_afhqv2_fid"}
COLUMNS = ("solver", "nfe", "teleport", "skipped", *(f"{m}{end}" for m in MEASURES for end in ("", "_spread")))


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    report.write_config(workdir / "config.json", config)
    with config_errors():
        cases = heun_cases(config) | grid_cases(config)
        network = build_model(config)
        entries = build_entries(config, network, workdir, cases)
    found = contest(config, network, entries, config.teleport.seeds, workdir / "measured.json")
    rows = [row_of(config, key, cases[key], measured) for key, measured in found.items()]
    report.write_csv(workdir / "results.csv", rows, (*COLUMNS, *PUBLISHED.values()))
    note = (
        f"{config.sample.count} images for each of the seeds {config.teleport.seeds}; spread: half the range over them"
    )
    files.write_json(workdir / "results.json", {"rows": rows, "note": note})
    plots_of_teleport.plot_heatmaps(workdir / "heatmaps.png", [row for row in rows if row["skipped"] is None])
    plots_of_teleport.plot_curves(workdir / "teleport.png", rows)
    print(text(rows), note, sep="\n")
    return rows


def grid_cases(config) -> dict:
    """{(label, nfe, sigma / alpha of the start, None without teleport): (options, None)} of the solvers."""
    solvers = build_solvers(config) if config.benchmark.solvers else ()
    return {
        (label, nfe, sigma): (options | {"teleport": sigma}, None)
        for label, options in solvers
        for nfe in build_nfes(config)
        for sigma in (None, *map(float, config.teleport.sigmas))
    }


def heun_cases(config) -> dict:
    """The same of EDM's Heun, from the sigmas of its own grid: (options, how many of the intervals are skipped)."""
    c, schedule = config.teleport, build_schedule(config)
    if not c.intervals:
        return {}
    wrong = [k for k in c.skips if not 0 <= k < c.intervals]
    if wrong:
        raise ConfigError(
            f"teleport.skips must be from 0 to teleport.intervals - 1 = {c.intervals - 1}, got {wrong[0]}"
        )
    times = karras(schedule, c.intervals - 1, *sampling_range(config, schedule))
    sigmas = {k: float(np.exp(-schedule.lam(times[k]))) if k else None for k in c.skips}
    options = {"name": "edm_heun", "grid": {"name": "karras", "rho": 7.0}}
    return {(HEUN, 2 * (c.intervals - k) - 1, sigmas[k]): (options | {"teleport": sigmas[k]}, k) for k in c.skips}


def build_entries(config, network, workdir, cases) -> dict:
    solvers = [(label, options) for (label, _, _), (options, _) in cases.items()]
    ems, collect = find_ems(config, network, workdir, solvers), make_sampler(config, network)
    tables = {key: build_table(config, options, key[1], network.prediction, ems) for key, (options, _) in cases.items()}
    jumps = build_jumps(config, network, {key: options["teleport"] for key, (options, _) in cases.items()})
    entries = {REFERENCE: Entry(collect, reference_table(config, network))}
    used = {key: hash_of_ems(options, ems) for key, (options, _) in cases.items()}
    return entries | {key: Entry(collect, table, jumps[key], used[key]) for key, table in tables.items()}


def row_of(config, key, case, measured) -> dict:
    (label, nfe, sigma), (_, skipped) = key, case
    row = {"solver": label, "nfe": nfe, "teleport": sigma, "skipped": skipped} | measured
    if skipped is not None:
        published = published_teleport.HEUN.get(skipped) if config.teleport.intervals == 18 else None
        return row | {PUBLISHED["CIFAR10"]: published}
    start = 80.0 if sigma is None else sigma
    return row | {column: published_teleport.fid(data, label, start, nfe) for data, column in PUBLISHED.items()}


def text(rows) -> str:
    """Each solver without and with its best jump, by evaluations; what evaluations that saves; Heun's table."""
    lines, measures = [], [name for name in MEASURES if name in rows[0]]
    grid = [row for row in rows if row["skipped"] is None]
    for measure in measures if grid else ():
        lines.append(f"{MEASURES[measure]}, ± half the range over seeds: without -> best teleport (sigma)")
        for label in dict.fromkeys(row["solver"] for row in grid):
            pairs = best_starts([row for row in grid if row["solver"] == label], measure)
            for plain, best in pairs:
                sigma = "none helps" if best is plain else f"{number(best, measure)} ({best['teleport']:g})"
                lines.append(f"  {label:24}{plain['nfe']:>4}  {number(plain, measure)} -> {sigma}")
            lines.append(f"  {'':24}evaluations for the same: {savings(pairs, measure)}")
    heun = [row for row in rows if row["skipped"] is not None]
    if heun:
        columns = ("skipped", "nfe", "sigma", *(MEASURES[name] for name in measures), "published FID of CIFAR10")
        lines += [f"{HEUN}: intervals skipped, by evaluations", "  ".join(f"{c:>22}" for c in columns)]
    for row in heun:
        cells = [row["skipped"], row["nfe"], "-" if row["teleport"] is None else f"{row['teleport']:.4g}"]
        cells += [*(number(row, name) for name in measures), row[PUBLISHED["CIFAR10"]] or "-"]
        lines.append("  ".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def best_starts(rows, measure) -> list[tuple[dict, dict]]:
    """For each number of evaluations, the row without teleport and the one with the smallest measure."""
    found = []
    for nfe in dict.fromkeys(row["nfe"] for row in rows):
        mine = [row for row in rows if row["nfe"] == nfe]
        plain = next(row for row in mine if row["teleport"] is None)
        found.append((plain, min([plain, *mine], key=lambda row: row[measure])))
    return found


def savings(pairs, measure) -> str:
    """Fewest evaluations with teleport that are at least as good as each number without, among those measured."""
    saved = []
    for plain, _ in pairs:
        enough = [b["nfe"] for _, b in pairs if b["teleport"] is not None and b[measure] <= plain[measure]]
        if enough and min(enough) < plain["nfe"]:
            saved.append(f"{min(enough)} instead of {plain['nfe']}")
    return ", ".join(saved) or "none saved"


def number(row, measure) -> str:
    return f"{row[measure]:.4g} ± {row[measure + '_spread']:.1g}"
