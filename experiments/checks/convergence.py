"""Error against the number of network evaluations, on a Gaussian mixture, whose ODE can be solved as exactly as wanted.

    python main.py --config=configs/convergence.py

For each schedule of `convergence.schedules` and each solver of `benchmark.solvers`: RMSE to the exact solution from the
same noise, over all samples and as the median over samples. Tables, states and model are float64, so that slopes are
seen down to 1e-9; the statistics of dpm_v3 are estimated as in the benchmark, in float32, once per schedule. Writes
convergence.png, results.csv, results.json; prints a table per schedule with the slope at its end.

`oracle=DIR`, a directory as oracle.py describes it, with convergence.json. The mixture, the noise and the methods are
then those of the directory, and every error is printed beside the one that the official code had (agreement.py).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from configs.sections import Convergence, Ems, Sampling
from experiments import build, ems
from experiments.checks import agreement, curves, figures
from experiments.checks import oracle as official
from experiments.data import files
from experiments.support import keys, scores
from experiments.support.errors import ConfigError

COLUMNS = ("schedule", "solver", "nfe", "rmse", "rmse_median", "rmse_median_se")


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    if config.oracle:
        oracle = official.load(config.oracle)
        rows = curves.measure_all(agreement.official_cases(oracle, build.nfes(config)))
        agreement.add_official(rows, oracle)
        columns, drawn, text = COLUMNS + agreement.COLUMNS, agreement.drawn(rows), agreement.comparison(rows)
    else:
        if config.model.name != "mixture":
            raise ConfigError(f"convergence needs an exact solution: set model.name=mixture, not {config.model.name}")
        own_ems, indices = build.settings(config.ems, Ems), np.arange(build.settings(config.sample, Sampling).count)
        cases = {}
        for name in build.settings(config.convergence, Convergence).schedules:
            problem = build.problem(config, schedule_name=name)
            statistics = ems.find_ems(problem, own_ems, workdir / name, build.solvers(config))  # they are of a schedule
            cases[name] = own_case(problem, build.methods(config, problem, statistics), indices)
        rows = curves.measure_all(cases)
        columns, drawn, text = COLUMNS, rows, curves.tables(rows)
    scores.write_csv(workdir / "results.csv", rows, columns)
    files.write_json(workdir / "results.json", {"rows": rows})
    if drawn:
        figures.plot_convergence(workdir / "convergence.png", drawn)
    print(text)
    return rows


def own_case(problem: build.Problem, methods: Mapping, indices) -> curves.Case:
    """The project's mixture, from the noise of samples `indices`."""
    for method in methods.values():
        if method.table.s is not None:
            raise ConfigError(f"{method.label} is stochastic and does not converge to the ODE: leave it out")
        if method.start is not None:
            raise ConfigError(f"{method.label} is teleported over the first part of sampling: leave it out")
    network = problem.network
    x = problem.scale * keys.initial_noise(problem.seed, indices, network.shape).astype(np.float64)
    tables = {key: method.table for key, method in methods.items()}
    return curves.Case(network, problem.schedule, problem.span, x, tables)
