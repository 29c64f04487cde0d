"""Measures how the quality of DPM-Solver-v3 depends on its statistics and options, beside other solvers.

    python main.py --config=configs/ems_ablation.py

Each row of `ablation.rows` is (label, {keys of `ems` that differ}, {solver options, as in benchmark.solvers}). Its EMS
are those of ems.path, or are estimated in units under the workdir. Rows share units: the moments of 256 of 1024 points
are gathered once. All rows sample the same noise, once per seed of `ablation.seeds`. Errors are to a fine solution, and
spreads are over the seeds. Writes results.csv, results.json, ratios.png.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from configs.sections import Ablation, Benchmark, Ems, Sampling
from experiments import build, ems, sampling
from experiments.compare import figures
from experiments.compare.contest import MEASURES, Contest, Entry, over_seeds, seed_rows
from experiments.data.files import write_json
from experiments.support import scores
from experiments.support.errors import ConfigError, check_known
from experiments.support.mesh import first_mesh
from experiments.support.tables import number_table
from solvers import SOLVERS

COLUMNS = ("solver", "nfe", *(f"{column}{end}" for column in MEASURES for end in ("", "_spread")))


def run(config, workdir) -> list[dict]:
    workdir, own = Path(workdir), build.settings(config.ablation, Ablation)
    wanted, statistics = build.settings(config.sample, Sampling), build.settings(config.ems, Ems)
    check_rows(own.rows)
    changed = {label: build.changed(statistics, changes) for label, changes, _ in own.rows}
    samplers = {}
    for basis in dict.fromkeys((statistics.basis, *(own.basis for own in changed.values()))):
        problem = build.problem(config, basis=basis)
        samplers[basis] = sampling.Sampler(problem, wanted.batch, first_mesh(wanted.devices))
    entries = {}
    for label, _, options in own.rows:
        sampler = samplers[changed[label].basis]
        used = statistics_of(sampler.problem, changed[label], options, workdir)
        for nfe in build.nfes(config):
            entries[label, nfe] = Entry(sampler, build.method(sampler.problem, label, options, nfe, used))
    reference_nfe = build.settings(config.benchmark, Benchmark).reference_nfe
    contest = Contest(samplers[statistics.basis], reference_nfe, np.arange(wanted.count), build.scorer(config), workdir)
    found = contest.run(entries, own.seeds, "ablation")

    rows = [{"solver": label, "nfe": nfe} | row for (label, nfe), row in over_seeds(found, own.seeds).items()]
    write_json(workdir / "measured.json", seed_rows(found))
    scores.write_csv(workdir / "results.csv", rows, COLUMNS)
    write_json(workdir / "results.json", {"rows": rows, "images": wanted.count})
    titles = {column: title for column, title in MEASURES.items() if all(column in row for row in rows)}
    figures.plot_ratios(workdir / "ratios.png", rows, titles)
    for column, title in titles.items():
        print(f"{title}, ± half the range over {len(own.seeds)} seeds\n{matrix(rows, column)}\n")
    return rows


def check_rows(rows) -> None:
    """ConfigError unless each is (label, {keys of `ems`}, {solver options}), with a label of its own."""
    labels = []
    for row in rows:
        if not (isinstance(row, (tuple, list)) and len(row) == 3 and isinstance(row[0], str)):
            raise ConfigError(f"a row of ablation.rows must be (label, {{keys of ems}}, {{options}}), got {row!r}")
        for part in row[1:]:
            if not isinstance(part, Mapping):
                raise ConfigError(f"ablation.rows, {row[0]!r}: {part!r} must be keys and values, as {{'points': 256}}")
        check_known(("auto", "teleport", *SOLVERS), row[2].get("name"), f"solver of {row[0]!r}")
        build.check_options(f"ablation.rows, {row[0]!r}", row[2])
        labels.append(row[0])
    if not rows or len(set(labels)) < len(labels):
        raise ConfigError(f"ablation.rows must be one or more, each with a label of its own, got {', '.join(labels)!r}")


def statistics_of(problem, own, options, workdir):
    """The EMS for DPM-Solver-v3, from ems.path or estimated under the workdir; None for other solvers."""
    if options["name"] != "dpm_v3":
        return None
    return ems.read_ems(problem, own) or ems.compute(problem, own, workdir / "ems")


def matrix(rows, column) -> str:
    """A table with a line per label and a column per number of evaluations; * marks the best in each column."""
    best = scores.best(rows, column)

    def cell(row):
        return f"{row[column]:.4g} ± {row[column + '_spread']:.1g}{'*' if best.get(row['nfe']) == row[column] else ' '}"

    return number_table(rows, cell)
