"""Reads numbers that official samplers have computed from a directory.

index.json                 methods {name: {desc, runner, args}}, and cases: schedule, model, method, grid, nfe...
models.npz                 a Gaussian mixture and two Gaussians in closed form, samples of shape (3, 8, 8)
SCHEDULE_MODEL/METHOD.npz  `final` [rows, 2, 3, 8, 8]: the samples of a case are those of its row
ems/SCHEDULE_MODEL/        l.npz, sb.npz: statistics for DPM-Solver-v3 in the published layout; extra.npz: lam of nodes
convergence.json           for `convergence` and `ems_parity`: tables[SCHEDULE_MODEL][METHOD][nfe] = [RMSE, median RMSE
                           over samples], of MANY samples from noise of the seed MANY_SEED
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

import models
from experiments.build import Network
from experiments.support.errors import ConfigError
from gaussian import Mixture, denoiser, from_covariances
from solvers.ems import EMS
from solvers.schedule import EDM, VP, VPDiscrete

SHAPE = (3, 8, 8)
SCHEDULES = {
    "edm": EDM(),
    "vp_linear": VP(),
    "vp_sd": VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)),
}
GUIDANCE = 7.5  # the scale for the model `cfg`
MANY, MANY_SEED = 64, 2024


class Case(NamedTuple):
    """One row of the index: nfe is what was asked for, calls what the official code took."""

    schedule: str
    model: str
    method: str
    skip: str
    nfe: int
    calls: int
    row: int


class Oracle(NamedTuple):
    """methods {name: {runner, args, ...}}, cases, models {name: array}, and the folder of the rest."""

    folder: Path
    methods: dict
    cases: list
    models: dict


def load(folder) -> Oracle:
    """Read the index and the models. ConfigError for a folder that is none of this kind."""
    folder = Path(folder)
    try:
        index = json.loads((folder / "index.json").read_text())
        columns = [index["columns"].index(name) for name in ("sched", "model", "method", "skip", "nfe", "calls", "row")]
        cases = [Case(*(case[i] for i in columns)) for case in index["cases"]]
        with np.load(folder / "models.npz", allow_pickle=False) as file:
            return Oracle(folder, index["methods"], cases, dict(file))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ConfigError(
            f"{folder} is no directory of official numbers ({error!r}): --config.oracle=DIR needs index.json, "
            "models.npz and a folder per schedule and model"
        ) from error


def final(oracle: Oracle, case: Case) -> np.ndarray:
    """The official samples of a case, [2, *D]: the first two of its batch of four."""
    with np.load(oracle.folder / f"{case.schedule}_{case.model}" / f"{case.method}.npz", allow_pickle=False) as file:
        return file["final"][case.row]


def noise(schedule: str, count: int = 4, seed: int = 99) -> np.ndarray:
    """x_T [count, *D] as the directory defines it: of variance 1 for VP, where sigma(t_max) is slightly less."""
    return (80.0 if schedule == "edm" else 1.0) * np.random.default_rng(seed).standard_normal((count, *SHAPE))


def mixture(arrays: dict, name: str) -> Mixture:
    """The data distribution of a model; `cfg` is guided between the classes of `gmm`."""
    if name == "gauss_diag":
        return from_covariances([1.0], arrays["gauss_mean"].reshape(1, *SHAPE), np.diag(arrays["gauss_diag_var"])[None])
    if name == "gauss_full":
        Q, eig, one = arrays["gauss_full_Q"], arrays["gauss_full_eig"], np.ones(1)
        return Mixture(one, arrays["gauss_mean"][None], Q[None], eig[None], 0 * one, SHAPE)
    floor = arrays["gmm_delta"] ** 2
    variances = arrays["gmm_e"] + floor[:, None]
    return Mixture(arrays["gmm_w"], arrays["gmm_mean"], arrays["gmm_Q"], variances, floor, SHAPE)


def network(oracle: Oracle, schedule: str, name: str, thresholded: bool = False) -> Network:
    """A model of the directory, which predicts x0; only `cfg` has classes. thresholded: x0, dynamically."""
    times, guided = SCHEDULES[schedule], name == "cfg"

    def make(params, label):
        model = denoiser(params, times)
        if guided:
            of_class = params.weights * (oracle.models["gmm_class"] == label)
            part = denoiser(params._replace(weights=of_class / of_class.sum()), times)
            model = models.guided(part, model, GUIDANCE)
        return models.dynamic_threshold(model, times, "x0") if thresholded else model

    classes = 1 + int(oracle.models["gmm_class"].max()) if guided else 0
    return Network(mixture(oracle.models, name), make, "x0", SHAPE, classes)


def load_ems(oracle: Oracle, case: Case) -> EMS:
    """The statistics that the published v3 used in a case."""
    suffix = "_" + oracle.methods[case.method]["args"].get("ems", "gen") if case.model == "cfg" else ""
    folder = oracle.folder / "ems" / f"{case.schedule}_{case.model}{suffix}"
    l, sb, extra = (np.load(folder / f"{name}.npz", allow_pickle=False) for name in ("l", "sb", "extra"))
    return EMS(extra["lam"], l["l"], sb["s"], sb["b"], {})


def read_numbers(oracle: Oracle) -> dict:
    """The tables of convergence.json."""
    try:
        return json.loads((oracle.folder / "convergence.json").read_text())["tables"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{oracle.folder} has no convergence.json with tables ({error!r}): unset oracle") from error
