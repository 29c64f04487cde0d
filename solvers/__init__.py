"""Solvers of diffusion models as tables: `SOLVERS[name](schedule, grid, **options) -> Table`; `sample` runs them."""

from collections.abc import Callable

from solvers.builders.adams import deis, ipndm, lms, plms
from solvers.builders.multistep import ddim, denoise_to_zero, dpm_solver, dpmpp, unipc
from solvers.builders.singlestep import dpm_solver_singlestep, dpmpp_singlestep, edm_heun, heun
from solvers.builders.stochastic import ddpm, edm_stochastic, sde_dpmpp_2m
from solvers.ems import EMS, Recipe, check_ems, estimate, load_ems, points_wanted, save_ems
from solvers.ems.v3 import dpm_v3
from solvers.engine import advance, init, init_noise, sample, step
from solvers.grid import GRIDS
from solvers.model import (
    TIME_UNITS,
    as_prediction,
    bind,
    check_model,
    classifier_guidance,
    dynamic_threshold,
    guided,
    in_basis,
    mean_only,
    static_threshold,
    time_units,
)
from solvers.prediction import PREDICTIONS
from solvers.schedule import EDM, VP, Flow, Schedule, VPCosine, VPDiscrete, zero_terminal_snr
from solvers.table import Table, check, concat, fuse, pad

__version__ = "0.1.0"

SOLVERS: dict[str, Callable[..., Table]] = {
    "ddim": ddim,
    "dpm_solver": dpm_solver,
    "dpmpp": dpmpp,
    "unipc": unipc,
    "deis": deis,
    "ipndm": ipndm,
    "lms": lms,
    "plms": plms,
    "dpm_solver_singlestep": dpm_solver_singlestep,
    "dpmpp_singlestep": dpmpp_singlestep,
    "heun": heun,
    "edm_heun": edm_heun,
    "dpm_v3": dpm_v3,
    "ddpm": ddpm,
    "sde_dpmpp_2m": sde_dpmpp_2m,
    "edm_stochastic": edm_stochastic,
}

__all__ = [
    "EDM",
    "EMS",
    "GRIDS",
    "PREDICTIONS",
    "SOLVERS",
    "TIME_UNITS",
    "VP",
    "Flow",
    "Recipe",
    "Schedule",
    "Table",
    "VPCosine",
    "VPDiscrete",
    "advance",
    "as_prediction",
    "bind",
    "check",
    "check_ems",
    "check_model",
    "classifier_guidance",
    "concat",
    "denoise_to_zero",
    "dynamic_threshold",
    "estimate",
    "fuse",
    "guided",
    "in_basis",
    "init",
    "init_noise",
    "load_ems",
    "mean_only",
    "pad",
    "points_wanted",
    "sample",
    "save_ems",
    "static_threshold",
    "step",
    "time_units",
    "zero_terminal_snr",
]
