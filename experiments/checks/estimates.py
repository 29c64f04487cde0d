"""The statistics (EMS) of a directory's models, estimated from its points: their moments, and how far they are off."""

import jax
import numpy as np

from experiments.checks import oracle as official
from experiments.checks.contenders import SETTINGS, load_stored
from experiments.data.progress import Progress
from experiments.support.errors import config_errors
from experiments.support.mesh import make_mesh, place
from solvers import ems
from solvers.ems.moments import Moments, Plan, gatherer

# l agrees to round-off. For s and b, covariances in float64 lose digits where Var f is small (seen: 3e-8 and 4e-9).
TOLERANCES = {"l": 1e-8, "s": 1e-6, "b": 1e-6}
NODES = 5  # where 1 is looked at: as many tangents of tangents as pixels, for each point, take 30 s per node


def check(own, oracle, name) -> list[dict]:
    """A row per node and statistic: the largest difference to the stored ones, over coordinates."""
    stored = load_stored(oracle, name)
    nodes = np.unique(np.linspace(0, len(stored.lam) - 1, NODES).round().astype(int))
    lam = stored.lam[nodes]
    moments = gather(own, oracle, name, lam, probes="exact", path=True)
    found = ems.statistics(moments, lam, path=True, recipe=ems.PLAIN)
    rows = []
    for statistic, tolerance in TOLERANCES.items():
        difference = np.abs(getattr(found, statistic) - getattr(stored, statistic)[nodes]).max(axis=(1, 2, 3))
        for node, error in zip(nodes.tolist(), difference.tolist(), strict=True):
            row = {"model": name, "statistic": statistic, "node": node, "lam": float(stored.lam[node])}
            rows.append(row | {"error": error, "tolerance": tolerance})
    return rows


def estimate(own, oracle, name) -> dict[str, ems.EMS]:
    """The EMS estimated here at all nodes of the stored: "plain" as they are defined, "default" by default."""
    setting = SETTINGS[name]
    lam = load_stored(oracle, name).lam
    moments = gather(own, oracle, name, lam, own.probes)
    identity = {"identity": {"guidance": official.GUIDANCE if setting.model == "cfg" else 1.0}}
    recipes = {"plain": ems.PLAIN, "default": ems.DEFAULT}
    return {key: ems.statistics(moments, lam, recipe=recipe)._replace(meta=identity) for key, recipe in recipes.items()}


def gather(own, oracle, name, lam, probes, path=False) -> Moments:
    """The moments of the directory's points at lam [G + 1]; own: the section `ems` of the config, here and above."""
    setting, mesh = SETTINGS[name], make_mesh()
    schedule, moving = official.SCHEDULES[setting.schedule], setting.suffix == "traj"
    network = official.network(oracle, setting.schedule, setting.model)
    with config_errors(), np.load(oracle.folder / f"ems_points{'_cfg_traj' * moving}.npz", allow_pickle=False) as file:
        data, labels = (file["xT"], file["cls"]) if moving else (file["x0"], file["comp"])
        data = data.reshape(-1, *official.SHAPE)
        carry = None if moving else (data, file["noise"].reshape(data.shape))
    shown = {"desc": f"{name}, {probes} probes", "total": len(lam) * len(data), "unit": "point"}
    with jax.enable_x64(True), Progress(**shown) as bar:
        plan = Plan(
            lambda params, x, t, label: network.make(params, label)(x, t),
            network.params,
            schedule,
            lam,
            jax.random.key(own.seed),
            prediction="x0",
            rule="trajectory" if moving else "noised",
            probes=probes,
            path=path,
            batch=own.batch,
            groups=mesh.devices.size,
            place=lambda tree: place(mesh, tree, batch=True),
        )
        return gatherer(plan)(data, np.arange(len(data)), (labels,), carry=carry, progress=bar.update)[0]
