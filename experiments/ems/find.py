"""Finds the EMS that a problem's solvers need: reads them from a file or estimates them, using units that exist."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.build import Problem, find
from experiments.ems.points import closed_form, draw_points, rule_of
from experiments.ems.units import gather_all
from experiments.support.errors import ConfigError, config_errors
from experiments.support.mesh import make_mesh, place
from experiments.support.processes import together
from solvers.ems import EMS, Recipe, check_ems, load_ems, save_ems, statistics
from solvers.ems.moments import Plan
from solvers.fingerprint import fingerprint

VERSION = 1  # of the sums in solvers/ems/moments.py; units of another version are not used


def find_ems(problem: Problem, c, workdir, solvers) -> EMS | None:
    """The EMS that `solvers`, [(label, options)], need: those of `ems.path`.

    For a mixture without a path they are estimated now, and kept in the workdir. If they belong to another model,
    `auto` and `teleport` go on without. c: the section `ems` of the config, here and below.
    """
    names = {options["name"] for _, options in solvers} & {"auto", "teleport", "dpm_v3"}
    if not names:
        return None
    if problem.exact is not None and not c.path:
        return compute(problem, c, Path(workdir))
    try:
        return read_ems(problem, c)
    except ConfigError as error:
        if "dpm_v3" in names:
            raise
        print(f"{', '.join(sorted(names))} goes on without EMS: {error}")
        return None


def read_ems(problem: Problem, c) -> EMS | None:
    """The EMS of `ems.path`, None without a path; ConfigError if they belong to another model (see `ems.accept`)."""
    if not c.path:
        return None
    with config_errors():
        ems = load_ems(find(c.path), problem.schedule)
        return check_ems(ems, problem.schedule, None, problem.network.shape, problem.identity, c.accept)


def compute(problem: Problem, c, workdir: Path) -> EMS:
    """The EMS of the problem: read from workdir/ems.npz if it holds them, else computed and written there."""
    path, belongs = workdir / "ems.npz", problem.identity
    with together():
        points = draw_points(problem, c, workdir)
        of_data = fingerprint({"data": points[0], "labels": points[1]})
        made = belongs | gathering(problem, c) | {"data": of_data, "recipe": build_recipe(c)._asdict()}
        made |= {"gaussian_above": c.gaussian_above}
        ems = kept(path, made)
    if multihost_utils.process_allgather(ems is not None).all():
        return ems
    with config_errors():
        ems = estimate(problem, c, points, workdir / "units")
        if c.gaussian_above is not None:
            high = estimate(problem, replace(c, model="gaussian"), points, workdir / "units")
            ems = joined(high, ems, c.gaussian_above)
    meta = {"schedule": belongs["schedule"], "shape": list(problem.network.shape), "points": len(points[0])}
    stored = (getattr(ems, name).astype(np.float32).astype(np.float64) for name in "lsb")  # as a later start reads them
    ems = EMS(ems.lam, *stored, ems.meta | meta | {"made": made, "identity": belongs})
    with together():
        if jax.process_index() == 0:
            save_ems(path, ems)
    return ems


def estimate(problem: Problem, c, points, units: Path) -> EMS:
    """Estimates the EMS from units: those that exist and those made now."""
    folder = units / fingerprint(problem.identity | gathering(problem, c))
    plan = make_plan(problem, c, closed_form(problem) if c.model == "gaussian" else problem.network)
    moments = gather_all(plan, *points, folder, c.shard, c.block)
    return statistics(moments, plan.lam, plan.path, build_recipe(c))


def joined(high: EMS, low: EMS, sigma: float) -> EMS:
    """`high` where sigma / alpha is above the noise level `sigma`, and `low` below it."""
    first = int(np.sum(np.exp(-low.lam) > sigma))
    values = (np.concatenate([getattr(high, name)[:first], getattr(low, name)[first:]]) for name in "lsb")
    return EMS(low.lam, *values, low.meta)


def kept(path: Path, made: dict) -> EMS | None:
    """The EMS of a file if they are the wanted ones, else None, also for a file that cannot be read."""
    if not path.exists():
        return None
    try:
        ems = load_ems(path)
    except ValueError as error:
        print(f"{error}: it is made again now")
        return None
    return ems if ems.meta.get("made") == made else None


def gathering(problem: Problem, c) -> dict:
    """The settings of the gathering of moments, as plain values."""
    lam = [float(problem.schedule.lam(t)) for t in problem.span]
    what = {"version": VERSION, "lam": lam, "rule": rule_of(problem, c), "path": c.derivative == "path"}
    return what | {name: getattr(c, name) for name in ("nodes", "probes", "seed", "model")} | {"dtype": problem.dtype}


def build_recipe(c) -> Recipe:
    """The Recipe of those keys of `ems` that are set."""
    return Recipe()._replace(**{key: getattr(c, key) for key in Recipe._fields if getattr(c, key) is not None})


def make_plan(problem: Problem, c, network) -> Plan:
    """The Plan for a network: on all local devices, at noise levels uniform in lam over the span of sampling."""
    mesh, g = make_mesh(jax.local_devices()), gathering(problem, c)
    return Plan(
        lambda params, x, t, label: network.make(params, label)(x, t),
        place(mesh, network.params),
        problem.schedule,
        np.linspace(*g["lam"], c.nodes + 1),
        jax.random.key(g["seed"]),
        prediction=network.prediction,
        rule="trajectory" if g["rule"] == "trajectory" else "noised",
        probes=g["probes"] or "exact",
        path=g["path"],
        batch=c.batch,
        groups=mesh.devices.size,
        place=lambda tree: place(mesh, tree, batch=True),
    )
