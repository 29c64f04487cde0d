"""Diffusion ODE solvers as tables; `SOLVERS[name](schedule, grid, **options) -> Table`, `sample` runs any of them."""

from solvers.dpm_v3 import dpm_v3
from solvers.engine import advance, init, sample, step
from solvers.exponential import ddim, dpmpp, ipndm, unipc
from solvers.singlestep import edm_heun
from solvers.table import Table, check, concat, fuse, pad

SOLVERS = {
    "ddim": ddim,
    "dpmpp": dpmpp,
    "unipc": unipc,
    "ipndm": ipndm,
    "edm_heun": edm_heun,
    "dpm_v3": dpm_v3,
}

__all__ = ["SOLVERS", "Table", "advance", "check", "concat", "fuse", "init", "pad", "sample", "step"]
