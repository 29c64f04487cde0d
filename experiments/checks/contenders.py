"""Solvers on the closed-form models of a directory of official numbers (oracle.py), by statistics: ems_parity.py.

Sampling starts from the noise and the classes of the directory's convergence.json; errors are to the exact solution.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.build import Network
from experiments.checks import oracle as official
from experiments.checks import runners
from experiments.checks.solving import sample_all
from experiments.metrics.distances import rmse
from experiments.sampling import solve
from solvers import SOLVERS
from solvers.ems import EMS
from solvers.grid import GRIDS

PEERS = {
    "DPM-Solver++(2M)": ("dpmpp", {"order": 2}),
    "DPM-Solver++(3M)": ("dpmpp", {"order": 3}),
    "UniPC-2": ("unipc", {"order": 2}),
    "UniPC-3": ("unipc", {"order": 3}),
    "iPNDM-3": ("ipndm", {"order": 3}),
    "iPNDM-4": ("ipndm", {"order": 4}),
}
V3 = "DPM-Solver-v3"
TIMES = {"karras 7": partial(GRIDS["karras"], rho=7.0), "karras 12": partial(GRIDS["karras"], rho=12.0)} | GRIDS
EDM_GRIDS, VP_GRIDS = ("lam_uniform", "karras 7", "karras 12"), ("lam_uniform", "karras 7", "t_uniform")
MEANS = {"rmse": lambda e: np.sqrt((e**2).mean(axis=-1)), "rmse_median": partial(np.median, axis=-1)}  # over samples


class Setting(NamedTuple):
    """A model of the directory, the grid of its official runs, its EMS' `suffix`, and grids in 3: peers', then v3's."""

    schedule: str
    model: str
    skip: str
    suffix: str
    grids: tuple
    grid: str


SETTINGS = {
    "edm_gmm": Setting("edm", "gmm", "logSNR", "", EDM_GRIDS, "karras 12"),
    "vp_sd_gmm": Setting("vp_sd", "gmm", "time_uniform", "", VP_GRIDS, "karras 7"),
    "vp_sd_cfg": Setting("vp_sd", "cfg", "time_uniform", "traj", VP_GRIDS, "karras 7"),
}


class Start(NamedTuple):
    """A model, x [n, *D] at the first time, labels [n], and the exact ends [n, *D]."""

    network: Network
    x: np.ndarray
    labels: np.ndarray
    truth: np.ndarray

    def sample(self, tables: Mapping, desc: str) -> dict:
        return sample_all(self.network, tables, self.x, self.labels, desc)


def load_stored(oracle, name) -> EMS:
    """The directory's statistics; those of guided models are found by a method that uses them."""
    setting, methods = SETTINGS[name], oracle.methods.items()
    method = next((method for method, about in methods if about["args"].get("ems") == (setting.suffix or None)), "")
    return official.load_ems(oracle, official.Case(setting.schedule, setting.model, method, setting.skip, 0, 0, 0))


def make_start(oracle, name) -> Start:
    """The noise and the labels of convergence.json, and their exact solution."""
    setting = SETTINGS[name]
    schedule = official.SCHEDULES[setting.schedule]
    x = official.noise(setting.schedule, official.MANY, official.MANY_SEED)
    network = official.network(oracle, setting.schedule, setting.model)
    labels, truth = np.arange(len(x)) % max(1, network.classes), np.empty_like(x)
    for label in np.unique(labels):
        mine = labels == label
        model = network.make(network.params, label)
        truth[mine] = solve(model, schedule, x[mine], schedule.t_max, schedule.t_min)
    return Start(network, x, labels, truth)


def compare_published(oracle, name, own, start, nfes) -> list[dict]:
    """2: a row per v3 method and nfe, with the RMSE by each EMS and, relative to the stored, how far ours moves it."""
    setting, tables, refused = SETTINGS[name], {}, set()
    choices = {"stored": load_stored(oracle, name)} | own
    for label in official.read_numbers(oracle).get(name, {}):
        method, _, suffix = label.partition("@")
        args = oracle.methods.get(method, {"args": {}})["args"]
        if not method.startswith("v3") or suffix != setting.suffix or args.get("deg"):
            continue
        for nfe in nfes:
            case = official.Case(setting.schedule, setting.model, method, setting.skip, nfe, nfe, 0)
            try:
                built = {key: runners.build(oracle, case, lambda *_, ems=ems: ems) for key, ems in choices.items()}
                tables |= {(label, nfe, key): table for key, table in built.items()}
            except ValueError as error:
                refused.add(f"{name}: {label} is left out at {nfe} evaluations: {error}")
    print("\n".join(sorted(refused)), end="\n" * bool(refused))
    ends = start.sample(tables, name)
    error = {key: rmse(end, start.truth)["rmse"] for key, end in ends.items()}
    rows = []
    for label, nfe in dict.fromkeys(key[:2] for key in error):
        row = {key: error[label, nfe, key] for key in choices}
        moved = {f"{key}_off": row[key] / row["stored"] - 1 for key in own}
        rows.append({"model": name, "solver": label, "nfe": nfe} | row | moved)
    return rows


def compare_solvers(name, own, start, nfes) -> tuple[list, list]:
    """3: (a row per solver and nfe, a row per nfe that compares v3 with the best of the others)."""
    setting, tables = SETTINGS[name], {}
    schedule = official.SCHEDULES[setting.schedule]
    for nfe in nfes:
        for grid in setting.grids:
            times = TIMES[grid](schedule, nfe)
            for label, (builder, options) in PEERS.items():
                tables[f"{label}, {grid}", nfe] = SOLVERS[builder](schedule, times, prediction="x0", **options)
        tables[V3, nfe] = SOLVERS["dpm_v3"](schedule, TIMES[setting.grid](schedule, nfe), prediction="x0", ems=own)
    ends = start.sample(tables, name)
    rows = [{"model": name, "solver": label, "nfe": nfe} | rmse(end, start.truth) for (label, nfe), end in ends.items()]
    return rows, [best_of(name, nfe, ends, start.truth) for nfe in nfes]


def best_of(name, nfe, ends, truth) -> dict:
    """v3 beside the solver with the smallest RMSE, and beside that with the smallest median RMSE over samples.

    `ratio` is v3's over the other's, with the standard error of a bootstrap that draws the same samples for both.
    """
    mine = {label: np.sqrt(((end - truth) ** 2).mean(axis=(1, 2, 3))) for (label, n), end in ends.items() if n == nfe}
    drawn = np.random.default_rng(0).integers(len(truth), size=(1000, len(truth)))
    row = {"model": name, "nfe": nfe}
    for column, mean in MEANS.items():
        v3, value = mine[V3], {label: float(mean(e)) for label, e in mine.items()}
        best = min((label for label in mine if label != V3), key=value.get)
        spread = float((mean(v3[drawn]) / mean(mine[best][drawn])).std())
        row[column] = {"best": best, "best_value": value[best], "v3": value[V3]}
        row[column] |= {"ratio": value[V3] / value[best], "ratio_se": spread}
    return row
