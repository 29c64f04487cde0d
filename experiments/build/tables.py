"""From the options of a solver and a number of network evaluations to its table."""

import inspect
from collections.abc import Mapping

import numpy as np

from experiments.build.schedules import build_schedule, is_guided, sampling_range
from experiments.support.errors import ConfigError, check_known, choose, config_errors
from solvers import SOLVERS, Table, denoise_to_zero
from solvers.builders.singlestep import fast_orders, fixed_orders, outer_grid
from solvers.grid import GRIDS, snap_to
from solvers.recipes import AUTO, pick

ORDERS = {"fast": fast_orders, "fixed": fixed_orders}  # of the steps of a singlestep solver, from nfe and its order


def build_table(config, options: Mapping, nfe: int, prediction: str, ems=None) -> Table:
    """The float64 table of a solver with exactly `nfe` network evaluations.

    options: `name`, the builder's own options, and optionally `grid` (keys of `config.grid` that differ for this
    solver), `denoise_to_zero`, for a singlestep solver `orders` (a key of ORDERS), `at_nfe` ({nfe: options that
    differ there}), and `teleport` (the sigma / alpha at which the table starts, build_teleport.py). The name `auto`
    stands for what recipes.py has for this number of evaluations.
    """
    options = resolve(config, options, nfe, ems)
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
    schedule = build_schedule(config)
    with config_errors():
        span = sampling_range(config, schedule, start)
        grid = config.grid.to_dict() | own_grid | ({} if start is None else {"t_start": span[0]})
        times = _times(grid, schedule, name, nfe - bool(denoise), options, ems)
        _check_range(times, span, name)
        if denoise and times[-1] == 0:
            raise ConfigError(f"{name} with {nfe - 1} evaluations ends at sigma = 0: set denoise_to_zero=False")
        table = builder(schedule, times, prediction=prediction, **options)
        table = denoise_to_zero(table, schedule, times[-1], prediction) if denoise else table
    if table.nfe != nfe:
        raise ConfigError(f"{name} on this grid takes {table.nfe} network evaluations, but nfe = {nfe} is configured")
    return table


def resolve(config, options: Mapping, nfe: int, ems) -> dict:
    """The options that are meant for this number of evaluations: a solver's own name, no `at_nfe`, `teleport` set.

    `auto` is what measured best with what is at hand, statistics and the data's Gaussian; `teleport` the same where
    the Gaussian is a condition. Resolved options stay as they are.
    """
    options = {"teleport": config.teleport.sigma} | dict(options)
    options.update(options.pop("at_nfe", {}).get(nfe, {}))
    if options["name"] not in ("auto", "teleport"):
        return options
    if more := [key for key in options if key not in ("name", "teleport")]:
        raise ConfigError(
            f"solver {options['name']} chooses its own {', '.join(more)}: leave that out, or name a solver"
        )
    given = {} if options["teleport"] is None else {"teleport": options["teleport"]}
    jumps = options["name"] == "teleport" or given or _can_teleport(config, nfe, ems)
    return {"teleport": None} | pick(AUTO[ems is not None, bool(jumps)], config.guidance.scale, nfe) | given


def _can_teleport(config, nfe, ems) -> bool:
    """Whether the data's Gaussian is at hand, the model's own score at that, and sampling starts at enough noise."""
    if is_guided(config) or not config.teleport.gaussian:
        return False
    schedule = build_schedule(config)
    sigma = pick(AUTO[ems is not None, True], config.guidance.scale, nfe)["teleport"]
    return schedule.lam(sampling_range(config, schedule)[0]) < -np.log(sigma)


def _options_of(builder) -> list[str]:
    """What the user may set of a builder; the rest is given by other parts of the config."""
    given = ("schedule", "grid", "prediction", "ems", "time")
    return [name for name in inspect.signature(builder).parameters if name not in given]


def _times(grid, schedule, solver, nfe, options, ems):
    """The grid with which a solver takes `nfe` evaluations. Sets the options `orders` and `inner` of a singlestep one.

    Heun's has an interval per two evaluations, and an odd one steps to sigma = 0 at last; PLMS spends two on its first.
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
    """Every solver integrates over the same range, or errors would not compare; Heun's last step may go on to 0."""
    same = np.isclose(times[[0, -1]], span, rtol=1e-6)
    if not same[0] or not (same[1] or times[-1] == 0):
        raise ConfigError(
            f"the times of {solver} run from {times[0]:.6g} to {times[-1]:.6g}, sampling from {span[0]:.6g} to "
            f"{span[1]:.6g}: set grid.t_start and grid.t_end to the ends of grid.times"
        )
