"""The model's empirical statistics (EMS), once per model: what DPM-Solver-v3 needs.

    python main.py --config=configs/fashion_mnist.py --config.experiment=ems

Writes ems.npz, to be named by `ems.path`, ems.png (l, s, b with their errors) and units/, from which a run that was
stopped goes on, and from which statistics with more points or other smoothing are made without visiting a point twice.
Points, by `ems.rule`, each with its own label where the model is class-conditional (`model.labels`):

    noised      `ems.points` images of the training set, or of `images`, with noise
    samples     samples of the model itself with noise, for a model whose data are not at hand
    trajectory  states of the model's own ODE, solved in the steps of the grid; of the guided model, if it is guided
    auto        trajectory for a guided model, noised otherwise

`ems.model=gaussian` takes the closed-form denoiser of the Gaussian of the data (of each class, if the model is
conditional) in place of the network: no network evaluation. `ems.gaussian_above` does so above a level of noise only.
"""

from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.build.checkpoints import find
from experiments.build.network import Network, build_model, weights_of
from experiments.build.schedules import build_schedule, is_guided, sampling_range
from experiments.ems.points import closed_form, load_points, rule_of
from experiments.ems.units import gather_all
from experiments.support import plots
from experiments.support import tables as report
from experiments.support.errors import ConfigError, config_errors
from experiments.support.mesh import make_mesh, place
from experiments.support.processes import together
from solvers.ems import EMS, Recipe, check_ems, load_ems, points_wanted, save_ems, statistics
from solvers.ems.moments import Plan
from solvers.fingerprint import fingerprint

VERSION = 1  # of what solvers/ems/moments.py sums: units of another one are not used


def run(config, workdir) -> EMS:
    workdir = Path(workdir)
    first = jax.process_index() == 0  # of several, it alone writes files other than units
    with together():
        if first:
            report.write_config(workdir / "config.json", config)
    ems = compute(config, build_model(config), workdir)
    with together():
        if first:
            plots.plot_ems(workdir / "ems.png", ems)
            print(summary(ems, config.ems.error))
            print(f"EMS of {ems.meta['points']} points at {len(ems.lam)} noise levels: ems.path={workdir}/ems.npz")
    return ems


def summary(ems: EMS, error: float) -> str:
    """How good they are, and how many points would bring the standard errors down to `error`."""
    lines = []
    for name, points in points_wanted(ems, error).items():
        size, found = (np.sqrt(np.mean(np.square(x))) for x in (getattr(ems, name), ems.meta["standard_error"][name]))
        plan = f"{points} points for {error:g} (ems.error)"
        lines.append(f"{name}: root mean square {size:.3g}, standard error {found:.2g}; {plan}")
    return "\n".join(lines)


def find_ems(config, network: Network, workdir, solvers) -> EMS | None:
    """The EMS that `solvers`, [(label, options)], need: those of `ems.path`; of a mixture without a path, estimated now
    and kept in the workdir for the next time. `auto` and `teleport` do without where they are not of this model.
    """
    names = {options["name"] for _, options in solvers} & {"auto", "teleport", "dpm_v3"}
    if not names:
        return None
    if config.model.name == "mixture" and not config.ems.path:
        return compute(config, network, Path(workdir))
    try:
        return read_ems(config, network)
    except ConfigError as error:
        if "dpm_v3" in names:
            raise
        print(f"{', '.join(sorted(names))} goes on without EMS: {error}")
        return None


def read_ems(config, network: Network) -> EMS | None:
    """The EMS of `ems.path`, or None without one; a ConfigError unless they are this model's (`ems.accept`)."""
    if not config.ems.path:
        return None
    schedule, c = build_schedule(config), config.ems
    with config_errors():
        ems = load_ems(find(c.path), schedule)
        return check_ems(ems, schedule, None, network.shape, identity(config, network), c.accept)


def compute(config, network: Network, workdir: Path) -> EMS:
    """The EMS of the config, from workdir/ems.npz if that holds them already, else made and written there."""
    check_sizes(config.ems)
    path, belongs = workdir / "ems.npz", identity(config, network)
    with together():
        points = load_points(config, network, belongs, workdir)
        of_data = fingerprint({"data": points[0], "labels": points[1]})
        made = belongs | gathering(config) | {"data": of_data, "recipe": build_recipe(config)._asdict()}
        made |= {"gaussian_above": config.ems.gaussian_above}
        ems = kept(path, made)
    if multihost_utils.process_allgather(ems is not None).all():
        return ems
    with config_errors():
        ems = estimate(config, network, belongs, points, workdir / "units")
        if config.ems.gaussian_above is not None:
            other = config.copy_and_resolve_references()
            other.ems.model = "gaussian"
            high = estimate(other, network, belongs, points, workdir / "units")
            ems = joined(high, ems, config.ems.gaussian_above)
    meta = {"schedule": belongs["schedule"], "shape": list(network.shape), "points": len(points[0]), "made": made}
    stored = (getattr(ems, name).astype(np.float32).astype(np.float64) for name in "lsb")  # as a later start reads them
    ems = EMS(ems.lam, *stored, ems.meta | meta | {"identity": belongs})
    with together():
        if jax.process_index() == 0:
            save_ems(path, ems)
    return ems


def check_sizes(c) -> None:
    for key, least in {"points": 3, "nodes": 2, "batch": 1, "probes": 0, "shard": 1, "block": 1}.items():
        if c[key] < least:
            raise ConfigError(f"ems.{key} must be at least {least}, got {c[key]}")


def estimate(config, network: Network, belongs: dict, points, units: Path) -> EMS:
    """From units, those that are there and those that are made now; belongs: their `identity`, which takes a while."""
    c, folder = config.ems, units / fingerprint(belongs | gathering(config))
    plan = make_plan(config, closed_form(config, network) if c.model == "gaussian" else network)
    moments = gather_all(plan, *points, folder, c.shard, c.block)
    return statistics(moments, plan.lam, plan.path, build_recipe(config))


def joined(high: EMS, low: EMS, sigma: float) -> EMS:
    """`high` where the noise, sigma / alpha, is above a level, and `low` below it."""
    first = int(np.sum(np.exp(-low.lam) > sigma))
    values = (np.concatenate([getattr(high, name)[:first], getattr(low, name)[first:]]) for name in "lsb")
    return EMS(low.lam, *values, low.meta)


def kept(path: Path, made: dict) -> EMS | None:
    """The EMS of a file, if they are those that are wanted; a file that cannot be read is written anew."""
    if not path.exists():
        return None
    try:
        ems = load_ems(path)
    except ValueError as error:
        print(f"{error}: it is made again now")
        return None
    return ems if ems.meta.get("made") == made else None


def identity(config, network: Network) -> dict:
    """What EMS belong to, as plain values: those of another network, schedule or guidance are not used by accident."""
    return {
        "parameters": fingerprint(weights_of(network.params)),
        "schedule": repr(build_schedule(config)),
        "prediction": network.prediction,
        "guidance": float(config.guidance.scale) if is_guided(config) else 1.0,
        "labels": "none" if str(config.model.labels) == "none" else "classes",
        "basis": config.ems.basis,
    }


def gathering(config) -> dict:
    """How moments are gathered, as plain values."""
    c = config.ems
    lam = [float(build_schedule(config).lam(t)) for t in sampling_range(config, build_schedule(config))]
    what = {"version": VERSION, "lam": lam, "rule": rule_of(config), "path": c.derivative == "path"}
    return what | {name: c[name] for name in ("nodes", "probes", "seed", "model")} | {"dtype": config.model.dtype}


def build_recipe(config) -> Recipe:
    """The Recipe of those keys of `ems` that are set."""
    return Recipe()._replace(**{key: config.ems[key] for key in Recipe._fields if config.ems[key] is not None})


def make_lam(config) -> np.ndarray:
    """The noise levels [nodes + 1], uniform in lam over the range of sampling."""
    return np.linspace(*gathering(config)["lam"], config.ems.nodes + 1)


def make_plan(config, network: Network) -> Plan:
    mesh = make_mesh(jax.local_devices())
    g = gathering(config)
    return Plan(
        lambda params, x, t, label: network.make(params, label)(x, t),
        place(mesh, network.params),
        build_schedule(config),
        make_lam(config),
        jax.random.key(g["seed"]),
        prediction=network.prediction,
        rule="trajectory" if g["rule"] == "trajectory" else "noised",
        probes=g["probes"] or "exact",
        path=g["path"],
        batch=config.ems.batch,
        groups=mesh.devices.size,
        place=lambda tree: place(mesh, tree, batch=True),
    )
