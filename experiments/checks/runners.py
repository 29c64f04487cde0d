"""Builds the methods of a directory of official numbers as tables, from the arguments of each runner."""

import numpy as np

from experiments.checks.oracle import SCHEDULES, Case, Oracle, load_ems
from experiments.data.progress import Progress
from solvers import SOLVERS, Table, denoise_to_zero
from solvers.builders.adams import DEIS_TIME
from solvers.builders.singlestep import fast_orders, fixed_orders, outer_grid
from solvers.grid import GRIDS, snap_to

SKIPS = {"logSNR": "lam_uniform", "time_uniform": "t_uniform", "time_quadratic": "t_quadratic", "edm": "karras"}


class NotCovered(Exception):
    """Why a case is not run."""


def build_all(oracle: Oracle) -> tuple[dict, dict]:
    """{case: table} of the cases that are covered, and {case: reason} of the others."""
    tables, reasons = {}, {}
    for case in Progress(oracle.cases, desc="tables", unit="case"):
        try:
            tables[case] = build(oracle, case)
            if tables[case].nfe != case.calls:
                reasons[case] = f"{tables[case].nfe} evaluations, the official code took {case.calls}"
        except (NotCovered, ValueError) as error:
            reasons[case] = str(error)
    return {case: table for case, table in tables.items() if case not in reasons}, reasons


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


# For each runner, from its arguments: (name of the builder, options, times).


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
