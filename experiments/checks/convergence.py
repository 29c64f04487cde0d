"""Error against the number of network evaluations, on a Gaussian mixture, whose ODE can be solved as exactly as wanted.

    python main.py --config=configs/convergence.py

For each schedule of `convergence.schedules` and each solver of `benchmark.solvers`: RMSE to the exact solution from the
same noise, over all samples and as the median over samples. Tables, states and model are float64, so that slopes are
seen down to 1e-9; the statistics of dpm_v3 are estimated as in the benchmark, in float32, once per schedule. Writes
convergence.png, results.csv, results.json; prints a table per schedule with the slope at its end.

`oracle=DIR`, a directory as official.py describes it, with convergence.json: tables[SCHEDULE_MODEL][METHOD][nfe] =
[RMSE, median RMSE over samples]. The mixture, the noise and the methods are then those of the directory, and every
error is printed beside the one that the official code had, and those of OFFICIAL_SHOWN are drawn with it.
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.build.network import build_model
from experiments.build.schedules import (
    build_indices,
    build_nfes,
    build_schedule,
    build_solvers,
    initial_scale,
    sampling_range,
)
from experiments.build.tables import build_table
from experiments.checks import oracle as official
from experiments.compare.benchmark import errors
from experiments.data import files
from experiments.data.progress import Progress
from experiments.ems.find import find_ems
from experiments.sampling import exact
from experiments.sampling.alignment import align
from experiments.support import curves as plots_of_errors
from experiments.support import keys
from experiments.support import scores as report
from experiments.support.errors import ConfigError
from gaussian import Mixture, denoiser
from solvers import advance

RTOL = 1e-11  # of the exact solution: its error is below 1e-9, far below that of any solver here
COLUMNS = ("schedule", "solver", "nfe", "rmse", "rmse_median", "rmse_median_se")
OFFICIAL = ("rmse_lower", "official_rmse", "rmse_off", "official_median", "median_off")
# What convergence.json was made with: the grid of each schedule, unless a method's name ends in @edmskip; the noise.
OFFICIAL_SKIPS = {"edm": "logSNR", "vp_sd": "time_uniform"}
OFFICIAL_SEED, OFFICIAL_COUNT = 2024, 64
OFFICIAL_SHOWN = (
    *("dpmpp_1m", "dpmpp_2m", "dpmpp_3m", "dpmpp_2s", "dpmpp_3s", "dpm_2m", "dpm_3m", "dpm_3s"),
    *("unipc_bh1_o3", "unipc_bh2_o2", "unipc_bh2_o3", "unipc_vary_coeff_o3", "deis_tab3", "deis_rho3", "ipndm4"),
    *("ipndm_v4", "ds_heun", "v3_o3", "v3_o2_cp", "v3_o3_c"),
)


class Case(NamedTuple):
    """One panel: data, schedule, starts x [n, *D] at the first time of `span`, tables {(label, nfe): table} for x0."""

    mixture: Mixture
    schedule: object
    span: tuple
    x: np.ndarray
    tables: dict


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    report.write_config(workdir / "config.json", config)
    cases = official_cases(config) if config.oracle else own_cases(config, workdir)
    rows = [{"schedule": name} | row for name, case in cases.items() for row in measure(name, case)]
    if config.oracle:
        add_official(rows, config.oracle)
    report.write_csv(workdir / "results.csv", rows, COLUMNS + OFFICIAL * bool(config.oracle))
    files.write_json(workdir / "results.json", {"rows": rows})
    if config.oracle:
        shown = [row for row in rows if row["solver"] in OFFICIAL_SHOWN]
        if shown:
            plots_of_errors.plot_convergence(workdir / "convergence.png", shown)
        print(comparison(rows))
        return rows
    plots_of_errors.plot_convergence(workdir / "convergence.png", rows)
    for name in cases:
        mine = [row for row in rows if row["schedule"] == name]
        for column, title in (("rmse", "RMSE"), ("rmse_median", "median RMSE over samples")):
            print(f"{name}: {title} to the exact solution\n{matrix(mine, column)}\n")
    return rows


def own_cases(config, workdir) -> dict[str, Case]:
    """The project's mixture, with each schedule."""
    if config.model.name != "mixture":
        raise ConfigError(f"convergence needs an exact solution: set model.name=mixture, not {config.model.name}")
    cases, solvers = {}, build_solvers(config)
    for name in config.convergence.schedules:
        own = config.copy_and_resolve_references()
        own.schedule.name = name
        network, schedule = build_model(own), build_schedule(own)
        ems = find_ems(own, network, Path(workdir) / name, solvers)  # statistics belong to one schedule
        tables = {}
        for nfe in build_nfes(config):
            for label, options in solvers:
                tables[label, nfe] = build_table(own, options, nfe, "x0", ems)
                if tables[label, nfe].s is not None:
                    raise ConfigError(f"{label} is stochastic and does not converge to the ODE: leave it out")
        noise = keys.initial_noise(config.sample.seed, build_indices(config), network.shape)
        x = initial_scale(own) * noise.astype(np.float64)
        cases[name] = Case(network.params, schedule, sampling_range(own, schedule), x, tables)
    return cases


def official_cases(config) -> dict[str, Case]:
    """The mixture of `config.oracle` with every method of its convergence.json that a table can be."""
    oracle, cases = official.load(config.oracle), {}
    mixture, found = official.mixture(oracle.models, "gmm"), read_official(config.oracle)
    noise = np.random.default_rng(OFFICIAL_SEED).standard_normal((OFFICIAL_COUNT, *mixture.shape))
    for name, skip in OFFICIAL_SKIPS.items():
        tables, refused = {}, set()
        ems = official.load_ems(oracle, official.Case(name, "gmm", "v3_o1", skip, 0, 0, 0))
        for label in found[f"{name}_gmm"]:
            method, _, suffix = label.partition("@")
            for nfe in build_nfes(config) if suffix in ("", "edmskip") else ():
                case = official.Case(name, "gmm", method, suffix.replace("skip", "") or skip, nfe, nfe, 0)
                try:
                    tables[label, nfe] = official.build(oracle, case, lambda *_, ems=ems: ems)
                except (official.NotCovered, ValueError) as error:
                    refused.add(f"{label} is left out at {nfe} evaluations: {error}")
        print("\n".join(sorted(refused)))
        schedule = official.SCHEDULES[name]
        x = noise * (80.0 if name == "edm" else 1.0)
        cases[f"{name}_gmm"] = Case(mixture, schedule, (schedule.t_max, schedule.t_min), x, tables)
    return cases


def measure(name, case: Case) -> list[dict]:
    """The errors of every table."""
    truth = exact.solve(denoiser(case.mixture, case.schedule), case.schedule, case.x, *case.span, rtol=RTOL)
    ends = sample_all(case, name)
    found = {key: errors(end, truth) | {"rmse_lower": lower_median(end, truth)} for key, end in ends.items()}
    return [{"solver": label, "nfe": nfe} | row for (label, nfe), row in found.items()]


def lower_median(end, truth) -> float:
    """The median over samples as the official numbers have it: of an even number, the lower one of the middle two."""
    rmse = np.sqrt(((end - truth) ** 2).reshape(len(end), -1).mean(axis=1))
    return float(np.quantile(rmse, 0.5, method="lower"))


def sample_all(case: Case, name) -> dict:
    """The end [n, *D] of each table from case.x, in float64."""

    def one(mixture, table, rows, x):
        return advance(denoiser(mixture, case.schedule), table, x, rows)

    ends, total = {}, sum(table.nfe for table in case.tables.values())
    with jax.enable_x64(True), Progress(total=total, desc=name, unit="evaluation") as bar:
        solve = jax.jit(jax.vmap(one, in_axes=(None, None, None, 0)))
        for key, (table, rows) in align(case.tables, np.float64).items():
            ends[key] = np.asarray(solve(case.mixture, table, rows, case.x))
            bar.update(rows)
    return ends


def matrix(rows, column) -> str:
    """A line per solver, a column per nfe; the slope is that between the last two."""
    nfes = sorted({row["nfe"] for row in rows})
    found = {(row["solver"], row["nfe"]): row[column] for row in rows}
    names = list(dict.fromkeys(row["solver"] for row in rows))
    width = max(map(len, names))
    lines = [" " * width + "".join(f"{nfe:>10}" for nfe in nfes) + "     slope"]
    for name in names:
        values = [found[name, nfe] for nfe in nfes]
        slope = np.log(values[-2] / values[-1]) / np.log(nfes[-1] / nfes[-2]) if len(nfes) > 1 else np.nan
        lines.append(name.ljust(width) + "".join(f"{value:10.2e}" for value in values) + f"{slope:10.2f}")
    return "\n".join(lines)


def read_official(folder) -> dict:
    """tables[SCHEDULE_MODEL][METHOD][nfe] of convergence.json."""
    try:
        return json.loads((Path(folder) / "convergence.json").read_text())["tables"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder} has no convergence.json with tables ({error!r}): unset oracle") from error


def add_official(rows, folder) -> None:
    """Adds the official numbers to each row, and how far ours are off, relative to them; None where there are none."""
    found = read_official(folder)
    for row in rows:
        theirs = found[row["schedule"]][row["solver"]].get(str(row["nfe"]))
        if theirs is None:
            row |= dict.fromkeys(OFFICIAL[1:])
            continue
        row |= {"official_rmse": theirs[0], "rmse_off": row["rmse"] / theirs[0] - 1}
        row |= {"official_median": theirs[1], "median_off": row["rmse_lower"] / theirs[1] - 1}


def comparison(rows) -> str:
    """Our numbers beside the official ones, schedule by schedule, and where they are furthest apart."""
    text = []
    for name in dict.fromkeys(row["schedule"] for row in rows):
        both = [row for row in rows if row["schedule"] == name and row["rmse_off"] is not None]
        columns = ("solver", "nfe", "rmse", *OFFICIAL[1:3], "rmse_lower", *OFFICIAL[3:])
        text += [f"{name}: ours, the official number, and how far ours is off", report.format_table(both, columns)]
        for column in ("rmse_off", "median_off"):
            off = np.abs([row[column] for row in both])
            worst = both[int(off.argmax())]
            text.append(
                f"{name}: {column} is at most {off.max():.2g} ({worst['solver']}, {worst['nfe']} evaluations), "
                f"{np.median(off):.2g} in the median of {len(off)} numbers"
            )
    return "\n".join(text)
