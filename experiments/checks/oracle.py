"""Cases that official samplers have run, read from a directory, and the table of this project that each of them is.

index.json                 methods {name: {desc, runner, args}}, and cases: schedule, model, method, grid, nfe...
models.npz                 a Gaussian mixture and two Gaussians in closed form, samples of shape (3, 8, 8)
SCHEDULE_MODEL/METHOD.npz  `final` [rows, 2, 3, 8, 8]: the samples of a case are those of its row
ems/SCHEDULE_MODEL/        l.npz, sb.npz: statistics for DPM-Solver-v3 in the published layout; extra.npz: lam of nodes
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.support.errors import ConfigError
from gaussian import Mixture, from_covariances
from solvers import SOLVERS, Table, denoise_to_zero
from solvers.builders.adams import DEIS_TIME
from solvers.builders.singlestep import fast_orders, fixed_orders, outer_grid
from solvers.ems import EMS
from solvers.grid import GRIDS, snap_to
from solvers.schedule import EDM, VP, VPDiscrete

SHAPE = (3, 8, 8)
SCHEDULES = {
    "edm": EDM(),
    "vp_linear": VP(),
    "vp_sd": VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)),
}
SKIPS = {"logSNR": "lam_uniform", "time_uniform": "t_uniform", "time_quadratic": "t_quadratic", "edm": "karras"}


class NotCovered(Exception):
    """Why a case is not run."""


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


def noise(case: Case) -> np.ndarray:
    """x_T [4, *D] as the directory defines it: of variance 1 for VP, where sigma(t_max) is slightly less."""
    return (80.0 if case.schedule == "edm" else 1.0) * np.random.default_rng(99).standard_normal((4, *SHAPE))


def mixture(models: dict, name: str) -> Mixture:
    """The data distribution of a model; `cfg` is guided between the classes of `gmm`."""
    if name == "gauss_diag":
        return from_covariances([1.0], models["gauss_mean"].reshape(1, *SHAPE), np.diag(models["gauss_diag_var"])[None])
    if name == "gauss_full":
        Q, eig, one = models["gauss_full_Q"], models["gauss_full_eig"], np.ones(1)
        return Mixture(one, models["gauss_mean"][None], Q[None], eig[None], 0 * one, SHAPE)
    floor = models["gmm_delta"] ** 2
    variances = models["gmm_e"] + floor[:, None]
    return Mixture(models["gmm_w"], models["gmm_mean"], models["gmm_Q"], variances, floor, SHAPE)


def load_ems(oracle: Oracle, case: Case) -> EMS:
    """The statistics that the published v3 used in a case."""
    suffix = "_" + oracle.methods[case.method]["args"].get("ems", "gen") if case.model == "cfg" else ""
    folder = oracle.folder / "ems" / f"{case.schedule}_{case.model}{suffix}"
    l, sb, extra = (np.load(folder / f"{name}.npz", allow_pickle=False) for name in ("l", "sb", "extra"))
    return EMS(extra["lam"], l["l"], sb["s"], sb["b"], {})


def build(oracle: Oracle, case: Case, ems=load_ems) -> Table:
    """The table of this project that is the method of a case; prediction "x0". NotCovered says why there is none."""
    method = oracle.methods[case.method]
    if method["runner"] not in _RUNNERS:
        raise NotCovered(_REASONS.get(method["runner"], f"its runner {method['runner']} is unknown"))
    name, options, times = _RUNNERS[method["runner"]](case, method["args"])
    schedule = SCHEDULES[case.schedule]
    if name == "dpm_v3":
        options["ems"] = ems(oracle, case)
        times = snap_to(schedule, times, options["ems"].lam)
    table = SOLVERS[name](schedule, times, prediction="x0", **options)
    return denoise_to_zero(table, schedule, times[-1], "x0") if method["args"].get("d0") else table


def thresholded(oracle: Oracle, case: Case) -> bool:
    """Whether x0 is thresholded dynamically; diff-sampler's DPM-Solver++ and UniPC always do so on x0."""
    args = oracle.methods[case.method]["args"]
    always = args.get("name") in ("dpm_pp", "unipc") and args.get("predict_x0", True)
    return bool(args.get("thr") or always)


def _grid(case: Case, steps: int, zero=False) -> np.ndarray:
    """`steps` steps over the schedule's range, and with `zero` one more to sigma = 0."""
    schedule = SCHEDULES[case.schedule]
    times = GRIDS[SKIPS[case.skip]](schedule, steps) if steps else np.array([schedule.t_max])
    return np.append(times, 0.0) if zero else times


# what the arguments of each runner mean here: (name, options, times)


def _dpm(case, args):
    name = "dpm_solver" if args.get("alg") == "dpmsolver" else "dpmpp"
    options = {"order": args["order"], "variant": args.get("solver_type", "dpmsolver")}
    steps, method = case.nfe - args.get("d0", False), args.get("method", "multistep")
    if method == "multistep":
        return name, options | {"lower_order_final": args.get("lof", True)}, _grid(case, steps)
    options["inner"] = SKIPS[case.skip]
    if method == "singlestep_fixed":
        options["orders"] = fixed_orders(steps // args["order"] * args["order"], args["order"])
        times = _grid(case, len(options["orders"]))
    else:
        options["orders"] = fast_orders(steps, args["order"])
        times = outer_grid(SKIPS[case.skip], SCHEDULES[case.schedule], options["orders"])
    return f"{name}_singlestep", options, times


def _unipc(case, args):
    form = "eps" if args.get("alg") == "noise_prediction" else "x0"
    options = {"order": args["order"], "variant": args["variant"], "form": form}
    return (
        "unipc",
        options | {"lower_order_final": args.get("lof", True)},
        _grid(case, case.nfe - args.get("d0", False)),
    )


def _v3(case, args):
    flags = {"corrector": "corr", "predictor_pseudo": "pp", "corrector_pseudo": "cp", "degenerate": "deg"}
    options = {option: args.get(flag, False) for option, flag in flags.items()}
    options |= {"order": args["order"], "half": "code" if args.get("half") else None, "published": True}
    return "dpm_v3", options | {"lower_order_final": args.get("lof", True)}, _grid(case, case.nfe)


def _diff_sampler(case, args):
    order, name = {"order": args.get("order")}, args["name"]
    if name == "deis" and args["mode"] == "tab":
        integrals = {"variant": "tab", "time": DEIS_TIME} if args.get("exact") else {"variant": "tab_published"}
        return "deis", order | integrals, _grid(case, case.nfe)
    builder, options = {
        "euler": ("ddim", {}),
        "heun": ("edm_heun", {}),
        "dpm_2": ("dpm_solver_singlestep", {"order": 2}),
        "deis": ("deis", order | {"variant": "rhoab"}),
        "ipndm": ("ipndm", order),
        "ipndm_v": ("ipndm", order | {"variant": "variable"}),
        "dpm_pp": ("dpmpp" if args.get("predict_x0", True) else "dpm_solver", order),
        "unipc": ("unipc", order | {"variant": args.get("variant")}),
    }[name]
    return builder, options, _grid(case, case.nfe // 2 if name in ("heun", "dpm_2") else case.nfe)


def _k_diffusion(case, args):
    name, options = {
        "sample_dpmpp_2m": ("dpmpp", {"order": 2, "lower_order_final": False}),
        "sample_lms": ("lms", {"order": 4}),
        "sample_heun": ("edm_heun", {}),
    }[args["name"]]
    zero = args.get("zero", False)
    return name, options, _grid(case, case.nfe // 2 if name == "edm_heun" else case.nfe - zero, zero)


def _stable_diffusion(case, args):
    labels = np.arange(0, 1000, 1000 // case.nfe)[::-1] + 1
    return {"sd_ddim": "ddim", "sd_plms": "plms"}[case.method], {}, np.append(labels + 1, 1) / 1000


_RUNNERS = {
    "run_dpm": _dpm,
    "run_unipc": _unipc,
    "run_v3": _v3,
    "run_ds": _diff_sampler,
    "run_heun": lambda case, args: ("edm_heun", {}, _grid(case, case.nfe // 2, zero=case.nfe % 2 == 1)),
    "run_nvedm": lambda case, args: ("edm_heun", {}, _grid(case, case.nfe // 2, zero=True)),
    "run_kd": _k_diffusion,
    "<lambda>": _stable_diffusion,
}
_REASONS = {"run_dpm_adaptive": "adaptive step size: what a table cannot express"}
