"""What the quality of DPM-Solver-v3 depends on: statistics by statistics, option by option, beside other solvers.

    python main.py --config=configs/ems_ablation.py

Each row of `ablation.rows` is (label, {keys of `ems` that differ}, {solver options, as in benchmark.solvers}). Its EMS
are those of ems.path, or are estimated in units under the workdir, which rows share where they can: the moments of 256
of 1024 points are gathered once. Every row samples the same noise as every other, once per seed of `ablation.seeds`;
errors are to a fine solution, and spreads are over the seeds. Writes results.csv, results.json, ratios.png.
"""

from pathlib import Path

from experiments.build.network import build_model
from experiments.build.schedules import build_indices, build_nfes
from experiments.build.tables import build_table
from experiments.compare.benchmark import REFERENCE, reference_table
from experiments.compare.contest import MEASURES, Entry, contest
from experiments.data import files
from experiments.ems.estimate import compute, read_ems
from experiments.images.case import hash_of_ems
from experiments.sampling.sampler import make_sampler
from experiments.support import curves as plots_of_errors
from experiments.support import tables as report
from experiments.support.errors import config_errors

COLUMNS = ("solver", "nfe", *(f"{column}{end}" for column in MEASURES for end in ("", "_spread")))


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    report.write_config(workdir / "config.json", config)
    with config_errors():
        networks, tables = build_tables(config, workdir)
    samplers = {basis: make_sampler(config, network) for basis, network in networks.items()}
    entries = {key: Entry(samplers[basis], table, None, used) for key, (basis, table, used) in tables.items()}
    found = contest(config, networks[config.ems.basis], entries, config.ablation.seeds, workdir / "measured.json")
    rows = [{"solver": label, "nfe": nfe} | row for (label, nfe), row in found.items()]
    report.write_csv(workdir / "results.csv", rows, COLUMNS)
    files.write_json(workdir / "results.json", {"rows": rows, "images": len(build_indices(config))})
    titles = {column: title for column, title in MEASURES.items() if all(column in row for row in rows)}
    plots_of_errors.plot_ratios(workdir / "ratios.png", rows, titles)
    for column, title in titles.items():
        print(f"{title}, ± half the range over {len(config.ablation.seeds)} seeds\n{matrix(rows, column)}\n")
    return rows


def build_tables(config, workdir) -> tuple[dict, dict]:
    """{basis: network}, and {(label, nfe): (basis, table, hash of EMS)}, the fine reference solution first."""
    basis = config.ems.basis
    networks = {basis: build_model(config)}
    tables = {(REFERENCE, config.benchmark.reference_nfe): (basis, reference_table(config, networks[basis]), None)}
    for label, changes, options in config.ablation.rows:
        own = config.copy_and_resolve_references()
        own.ems.update(changes)
        basis = own.ems.basis
        if basis not in networks:
            networks[basis] = build_model(own)
        network, ems = networks[basis], None
        if options["name"] == "dpm_v3":
            ems = read_ems(own, network) or compute(own, network, workdir / "ems")
        for nfe in build_nfes(config):
            table = build_table(own, options, nfe, network.prediction, ems)
            tables[label, nfe] = basis, table, hash_of_ems(options, ems)
    return networks, tables


def matrix(rows, column) -> str:
    """A line per label, a column per number of evaluations; * marks the best of each."""
    best, lines = report.best(rows, column), {}
    for row in rows:
        mark = "*" if best.get(row["nfe"]) == row[column] else " "
        text = f"{row[column]:.4g} ± {row[column + '_spread']:.1g}{mark}"
        lines.setdefault(row["solver"], {})[row["nfe"]] = text
    nfes = sorted({row["nfe"] for row in rows})
    width = max(len(label) for label in lines)
    head = " " * width + "".join(f"{nfe:>20}" for nfe in nfes)
    return "\n".join(
        [head] + [f"{k:{width}}" + "".join(f"{v.get(n, '-'):>20}" for n in nfes) for k, v in lines.items()]
    )
