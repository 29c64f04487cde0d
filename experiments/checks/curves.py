"""Errors of many solvers on a closed-form model, schedule by schedule, and how fast they fall."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.build import Network
from experiments.checks.solving import sample_all
from experiments.metrics.distances import rmse
from experiments.sampling import solve
from experiments.support.tables import text_table

RTOL = 1e-11  # of the exact solution: its error is below 1e-9, far below that of any solver here


class Case(NamedTuple):
    """One panel: model, schedule, starts x [n, *D] at the first time of `span`, tables {(label, nfe): table} for x0."""

    network: Network
    schedule: Any
    span: tuple[float, float]
    x: np.ndarray
    tables: dict


def measure_all(cases: Mapping[str, Case]) -> list[dict]:
    """The errors of every table of {schedule: case}."""
    return [{"schedule": name} | row for name, case in cases.items() for row in measure(name, case)]


def measure(name: str, case: Case) -> list[dict]:
    network = case.network
    model = network.make(network.params, network.classes)
    truth = solve(model, case.schedule, case.x, *case.span, rtol=RTOL)
    ends = sample_all(network, case.tables, case.x, np.full(len(case.x), network.classes), name)
    found = {key: rmse(end, truth) | {"rmse_lower": lower_median(end, truth)} for key, end in ends.items()}
    return [{"solver": label, "nfe": nfe} | row for (label, nfe), row in found.items()]


def lower_median(end, truth) -> float:
    """The median over samples as the official numbers have it: of an even number, the lower one of the middle two."""
    rmse = np.sqrt(((end - truth) ** 2).reshape(len(end), -1).mean(axis=1))
    return float(np.quantile(rmse, 0.5, method="lower"))


def tables(rows) -> str:
    """A table of each error per schedule."""
    text = []
    for name in dict.fromkeys(row["schedule"] for row in rows):
        mine = [row for row in rows if row["schedule"] == name]
        for column, title in (("rmse", "RMSE"), ("rmse_median", "median RMSE over samples")):
            text.append(f"{name}: {title} to the exact solution\n{matrix(mine, column)}\n")
    return "\n".join(text)


def matrix(rows, column) -> str:
    """A line per solver, a column per nfe; the slope is that between the last two."""
    nfes = sorted({row["nfe"] for row in rows})
    found = {(row["solver"], row["nfe"]): row[column] for row in rows}
    lines = [["", *nfes, "slope"]]
    for name in dict.fromkeys(row["solver"] for row in rows):
        values = [found[name, nfe] for nfe in nfes]
        slope = np.log(values[-2] / values[-1]) / np.log(nfes[-1] / nfes[-2]) if len(nfes) > 1 else np.nan
        lines.append([name, *(f"{value:.2e}" for value in values), f"{slope:.2f}"])
    return text_table(lines)
