"""Diffusion ODE solvers as tables; `SOLVERS[name](schedule, grid, **options) -> Table`, `sample` runs any of them."""

from solvers.adams import deis, ipndm, lms, plms
from solvers.dpm_v3 import dpm_v3
from solvers.engine import advance, init, sample, step
from solvers.multistep import ddim, denoise_to_zero, dpm_solver, dpmpp, unipc
from solvers.singlestep import dpm_solver_singlestep, dpmpp_singlestep, edm_heun, heun
from solvers.stochastic import ddpm, edm_stochastic, sde_dpmpp_2m
from solvers.table import Table, check, concat, fuse, pad

SOLVERS = {
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

__all__ = ["SOLVERS", "Table", "advance", "check", "concat", "denoise_to_zero", "fuse", "init", "pad", "sample", "step"]
