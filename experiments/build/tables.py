"""Builds the table of a solver from its options and a number of network evaluations."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.support.errors import ConfigError, check_known, choose, config_errors
from solvers import SOLVERS, Table, denoise_to_zero
from solvers.builders.singlestep import fast_orders, fixed_orders, outer_grid
from solvers.grid import GRIDS, snap_to
from solvers.recipes import AUTO, pick

ORDERS = {"fast": fast_orders, "fixed": fixed_orders}  # the orders of singlestep steps, from nfe and the highest
GRID_KEYS = ("name", "t_start", "t_end", "rho", "times", "snap_to")


@dataclass(frozen=True)
class Tables:
    """Makes tables. They depend on the solver, the schedule, span = (t_start, t_end), the section `grid` of the config,
    and the kind of the network's prediction.

    guidance, gaussian: the guidance scale, and whether the data's Gaussian is known; for the solver `auto`. teleport:
    the sigma / alpha where tables start by default, or None.
    """

    schedule: Any
    span: tuple[float, float]
    grid: Any
    prediction: str = "x0"
    guidance: float = 1.0
    gaussian: bool = False
    teleport: float | None = None

    def at(self, sigma: float | None) -> float:
        """The time where a solver starts after teleportation to sigma / alpha = `sigma`; t_start for None.

        sigma is EDM's and means the same for every schedule. ConfigError if it is outside the span.
        """
        start, end = self.span
        if sigma is None:
            return start
        if self.grid.name == "given" and len(self.grid.times):
            raise ConfigError("teleport.sigma does not go with grid.name=given, which sets the start: take karras")
        bounds = [float(np.exp(-self.schedule.lam(t))) for t in (start, end)]
        if not bounds[0] * (1 + 1e-9) >= sigma > bounds[1]:
            raise ConfigError(
                f"teleport.sigma must be at most {bounds[0]:.6g}, where sampling starts, and above {bounds[1]:.6g}, "
                f"where it ends, got {sigma}: choose one between, or leave it out"
            )
        return float(self.schedule.t_of_lam(-np.log(sigma)))

    def build(self, options: Mapping, nfe: int, ems=None) -> Table:
        """The float64 table of a solver with exactly `nfe` network evaluations.

        options: `name`, the builder's own options, and optionally `grid` (keys of the section that differ for this
        solver), `denoise_to_zero`, for a singlestep solver `orders` (a key of ORDERS), `at_nfe` ({nfe: options that
        differ there}), and `teleport` (the sigma / alpha at which the table starts). The name `auto` takes the options
        from solvers/recipes.py for this number of evaluations.
        """
        options = self.resolve(options, nfe, ems)
        name, own_grid, start = options.pop("name"), options.pop("grid", {}), options.pop("teleport")
        denoise = options.pop("denoise_to_zero", False)
        builder = choose(SOLVERS, name, "solver")
        for key in own_grid:
            check_known(("name", "rho", "times", "snap_to"), key, f"key of the grid of {name}")
        for key in options:
            check_known(_options_of(builder), key, f"option of {name}")
        if name == "dpm_v3":
            if ems is None:
                raise ConfigError(
                    "dpm_v3 needs the model's EMS: set ems.path, or estimate them with --config.experiment=ems"
                )
            options["ems"] = ems
        with config_errors():
            span = self.at(start), self.span[1]
            grid = {key: getattr(self.grid, key) for key in GRID_KEYS} | own_grid
            grid |= {} if start is None else {"t_start": span[0]}
            times = _times(grid, self.schedule, name, nfe - bool(denoise), options, ems)
            _check_range(times, span, name)
            if denoise and times[-1] == 0:
                raise ConfigError(f"{name} with {nfe - 1} evaluations ends at sigma = 0: set denoise_to_zero=False")
            table = builder(self.schedule, times, prediction=self.prediction, **options)
            table = denoise_to_zero(table, self.schedule, times[-1], self.prediction) if denoise else table
        if table.nfe != nfe:
            raise ConfigError(
                f"{name} on this grid takes {table.nfe} network evaluations, but nfe = {nfe} is configured"
            )
        return table

    def resolve(self, options: Mapping, nfe: int, ems) -> dict:
        """The final options for this number of evaluations: a solver's own name, no `at_nfe`, with `teleport`.

        `auto` becomes the solver that measured best, given whether statistics and the data's Gaussian are known.
        `teleport` does the same but always jumps. Final options do not change.
        """
        options = {"teleport": self.teleport} | dict(options)
        options.update(options.pop("at_nfe", {}).get(nfe, {}))
        if options["name"] not in ("auto", "teleport"):
            return options
        if more := [key for key in options if key not in ("name", "teleport")]:
            raise ConfigError(
                f"solver {options['name']} chooses its own {', '.join(more)}: leave that out, or name a solver"
            )
        given = {} if options["teleport"] is None else {"teleport": options["teleport"]}
        jumps = options["name"] == "teleport" or given or self._can_teleport(nfe, ems)
        return {"teleport": None} | pick(AUTO[ems is not None, bool(jumps)], self.guidance, nfe) | given

    def _can_teleport(self, nfe, ems) -> bool:
        """Whether the data's Gaussian is known, and sampling starts above the noise level that it jumps to."""
        if not self.gaussian:
            return False
        sigma = pick(AUTO[ems is not None, True], self.guidance, nfe)["teleport"]
        return self.schedule.lam(self.span[0]) < -np.log(sigma)


def _options_of(builder) -> list[str]:
    """The options of a builder that the user may set. Other parts of the config give the rest."""
    given = ("schedule", "grid", "prediction", "ems", "time")
    return [name for name in inspect.signature(builder).parameters if name not in given]


def _times(grid, schedule, solver, nfe, options, ems):
    """The grid on which a solver takes `nfe` evaluations. Sets `orders` and `inner` in the options of a singlestep one.

    Heun's method takes two evaluations per interval; an odd one is a last step to sigma = 0. PLMS takes two for its
    first interval.
    """
    build, span = choose(GRIDS, grid["name"], "grid"), {key: grid[key] for key in ("t_start", "t_end")}
    more = {key: grid[key] for key in {"karras": ("rho",), "given": ("times",)}.get(grid["name"], ())}
    if solver.endswith("singlestep"):
        spend = choose(ORDERS, options.get("orders", "fast"), "orders of a singlestep solver")
        options["orders"] = spend(nfe, options.get("order", 3))
        options.setdefault("inner", "lam_uniform" if grid["name"] == "given" else grid["name"])
        return outer_grid(grid["name"], schedule, options["orders"], **span, **more)
    heun = solver in ("heun", "edm_heun", "edm_stochastic")
    steps = nfe // 2 if heun else nfe - 1 if solver == "plms" else nfe
    if steps < 1 and not (heun and nfe == 1):
        raise ConfigError(f"{solver} needs more than {nfe} network evaluations: raise nfe")
    if steps:
        times = build(schedule, steps, **span, **more)
    else:
        times = np.array([schedule.t_max if grid["t_start"] is None else grid["t_start"]])
    if grid["snap_to"]:
        if ems is None:
            raise ConfigError("grid.snap_to needs the model's EMS: set ems.path, or grid.snap_to=False")
        times = snap_to(schedule, times, ems.lam)
    return np.append(times, 0.0) if heun and nfe % 2 else times


def _check_range(times, span, solver):
    """ConfigError unless the solver integrates over `span`, else errors would not compare. Heun may end at 0."""
    same = np.isclose(times[[0, -1]], span, rtol=1e-6)
    if not same[0] or not (same[1] or times[-1] == 0):
        raise ConfigError(
            f"the times of {solver} run from {times[0]:.6g} to {times[-1]:.6g}, sampling from {span[0]:.6g} to "
            f"{span[1]:.6g}: set grid.t_start and grid.t_end to the ends of grid.times"
        )
