"""Empirical model statistics (EMS) of a network, and DPM-Solver-v3, the solver that is made of them.

ems = estimate(model, schedule, data, lam, key)        # once per network
save_ems("ems.npz", ems)
table = SOLVERS["dpm_v3"](schedule, grid, ems=load_ems("ems.npz"))
"""

from solvers.ems.data import EMS, check_ems, interpolate
from solvers.ems.estimation import DEFAULT, PLAIN, Recipe, estimate, points_wanted, statistics
from solvers.ems.file import load_ems, save_ems
from solvers.ems.published import load_published, save_published

__all__ = [
    "DEFAULT",
    "EMS",
    "PLAIN",
    "Recipe",
    "check_ems",
    "estimate",
    "interpolate",
    "load_ems",
    "load_published",
    "points_wanted",
    "save_ems",
    "save_published",
    "statistics",
]
