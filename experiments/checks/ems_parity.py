"""The statistics (EMS) that this project estimates, against those of a directory of official numbers (official.py).

    python main.py --config=configs/ems_parity.py --config.oracle=DIR

On three closed-form models, unguided ones and one with guidance 7.5, in float64:

1. l, s and b of the points that the directory's statistics were made of, with exact Jacobians, at a few of its nodes.
2. The published DPM-Solver-v3 with statistics estimated here, from the same points with `ems.probes` random probes and
   l' by differences, against the same method with the directory's: how far the RMSE to the exact solution moves.
3. DPM-Solver-v3 as it is by default, with these statistics, against other solvers on their usual grids.

The directory has, beside what official.py lists, convergence.json (convergence.py), whose v3 methods 2 runs, and

ems_points.npz             x0, noise [K, 192]: points x = alpha x0 + sigma noise; comp [K], their component
ems_points_cfg_traj.npz    xT [K, 192], cls [K]: states at the start, which the model guided to a class moves from there

Writes results.json (all of it) and results.csv (3). Fails, after that, where 1 is off by more than TOLERANCES.
"""

from pathlib import Path

import jax
import numpy as np

from experiments.build.schedules import build_nfes
from experiments.checks import oracle as official
from experiments.checks import parity
from experiments.checks.contenders import SETTINGS, compare_published, compare_solvers, load_stored, solve
from experiments.data import files
from experiments.data.progress import Progress
from experiments.support import scores as report
from experiments.support.errors import ConfigError, config_errors
from experiments.support.mesh import make_mesh, place
from solvers import ems
from solvers.ems.moments import Moments, Plan, gatherer

# Of l to round-off. Of s and b the covariances in float64 lose digits where Var f is small (seen: 3e-8 and 4e-9).
TOLERANCES = {"l": 1e-8, "s": 1e-6, "b": 1e-6}
NODES = 5  # where 1 is looked at: as many tangents of tangents as pixels, for each point, take 30 s per node


def run(config, workdir) -> dict:
    """All three parts; ArithmeticError, after everything is written, if a statistic is off."""
    if not config.oracle:
        raise ConfigError("ems_parity compares with a directory of official numbers: set --config.oracle=DIR")
    workdir, oracle, nfes = Path(workdir), official.load(config.oracle), build_nfes(config)
    report.write_config(workdir / "config.json", config)
    found = {"statistics": [], "published": [], "rows": [], "best": []}
    for name, setting in SETTINGS.items():
        if setting.model != "cfg":
            found["statistics"] += check_statistics(config, oracle, name)
        own = estimate(config, oracle, name)
        start = solve(oracle, name)
        found["published"] += compare_published(oracle, name, own, start, nfes)
        rows, best = compare_solvers(oracle, name, own["default"], start, nfes)
        found["rows"], found["best"] = found["rows"] + rows, found["best"] + best
    files.write_json(workdir / "results.json", found)
    report.write_csv(workdir / "results.csv", found["rows"], tuple(found["rows"][0]))
    print(summary(found, config.ems.probes))
    off = [row for row in found["statistics"] if not row["error"] <= row["tolerance"]]
    if off:
        texts = ["{statistic} of {model} at node {node} (lam={lam:.4g}) by {error:.1e}".format(**row) for row in off]
        raise ArithmeticError(f"{len(off)} statistics are off by more than {TOLERANCES}: {'; '.join(texts)}")
    return found


def check_statistics(config, oracle, name) -> list[dict]:
    """A row per node and statistic: the largest difference to the stored ones, over coordinates."""
    stored = load_stored(oracle, name)
    nodes = np.unique(np.linspace(0, len(stored.lam) - 1, NODES).round().astype(int))
    lam = stored.lam[nodes]
    moments = gather(config, oracle, name, lam, probes="exact", path=True)
    found = ems.statistics(moments, lam, path=True, recipe=ems.PLAIN)
    rows = []
    for statistic, tolerance in TOLERANCES.items():
        difference = np.abs(getattr(found, statistic) - getattr(stored, statistic)[nodes]).max(axis=(1, 2, 3))
        for node, error in zip(nodes.tolist(), difference.tolist(), strict=True):
            row = {"model": name, "statistic": statistic, "node": node, "lam": float(stored.lam[node])}
            rows.append(row | {"error": error, "tolerance": tolerance})
    return rows


def estimate(config, oracle, name) -> dict[str, ems.EMS]:
    """The EMS estimated here at all nodes of the stored: "plain" as they are defined, "default" by default."""
    setting = SETTINGS[name]
    lam = load_stored(oracle, name).lam
    moments = gather(config, oracle, name, lam, config.ems.probes)
    identity = {"identity": {"guidance": parity.GUIDANCE if setting.model == "cfg" else 1.0}}
    recipes = {"plain": ems.PLAIN, "default": ems.DEFAULT}
    return {key: ems.statistics(moments, lam, recipe=recipe)._replace(meta=identity) for key, recipe in recipes.items()}


def gather(config, oracle, name, lam, probes, path=False) -> Moments:
    """The moments of the directory's points at lam [G + 1]."""
    setting, mesh = SETTINGS[name], make_mesh()
    schedule, moving = official.SCHEDULES[setting.schedule], setting.suffix == "traj"
    make = parity.make_model(oracle, schedule, setting.model)
    with config_errors(), np.load(oracle.folder / f"ems_points{'_cfg_traj' * moving}.npz", allow_pickle=False) as file:
        data, labels = (file["xT"], file["cls"]) if moving else (file["x0"], file["comp"])
        data = data.reshape(-1, *official.SHAPE)
        carry = None if moving else (data, file["noise"].reshape(data.shape))
    shown = {"desc": f"{name}, {probes} probes", "total": len(lam) * len(data), "unit": "point"}
    with jax.enable_x64(True), Progress(**shown) as bar:
        plan = Plan(
            lambda _, x, t, label: make(label)(x, t),
            (),
            schedule,
            lam,
            jax.random.key(config.ems.seed),
            prediction="x0",
            rule="trajectory" if moving else "noised",
            probes=probes,
            path=path,
            batch=config.ems.batch,
            groups=mesh.devices.size,
            place=lambda tree: place(mesh, tree, batch=True),
        )
        return gatherer(plan)(data, np.arange(len(data)), (labels,), carry=carry, progress=bar.update)[0]


def summary(found, probes) -> str:
    """The worst of 1, statistic by statistic; the worst of 2, model by model; and the table of 3."""
    lines = []
    for model in SETTINGS:
        for name, tolerance in TOLERANCES.items():
            error = [row["error"] for row in found["statistics"] if (row["model"], row["statistic"]) == (model, name)]
            if error:
                lines.append(f"{model}: {name} within {max(error):.1e} at {len(error)} nodes, bound {tolerance:.0e}")
    lines.append(f"\nPublished v3: how far the RMSE is from that with the stored EMS, with own EMS by {probes} probes")
    for model in SETTINGS:
        rows = [row for row in found["published"] if row["model"] == model]
        for recipe in ("plain", "default") if rows else ():
            off = np.abs([row[f"{recipe}_off"] for row in rows])
            worst = rows[int(off.argmax())]
            where = f"{worst['solver']}, {worst['nfe']} evaluations"
            lines.append(
                f"{model}, {recipe}: {off.max():.2%} ({where}), {np.median(off):.2%} in the median of {len(off)}"
            )
    for column, title in (("rmse", "RMSE"), ("rmse_median", "Median RMSE over samples")):
        lines.append(f"\n{title} x 1000: best of the other solvers, v3 by default, ratio ± its standard error")
        for row in found["best"]:
            c = row[column]
            values = f"{1e3 * c['best_value']:8.2f}{1e3 * c['v3']:8.2f}{c['ratio']:7.2f} ± {c['ratio_se']:.2f}"
            lines.append(f"{row['model']:10}{row['nfe']:4}  {c['best']:30}{values}")
    return "\n".join(lines)
