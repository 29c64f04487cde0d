"""The statistics (EMS) that this project estimates, against those of a directory of official numbers (oracle.py).

    python main.py --config=configs/ems_parity.py --config.oracle=DIR

On three closed-form models, unguided ones and one with guidance 7.5, in float64:

1. l, s and b of the points that the directory's statistics were made of, with exact Jacobians, at a few of its nodes.
2. The published DPM-Solver-v3 with statistics estimated here, from the same points with `ems.probes` random probes and
   l' by differences, against the same method with the directory's: how far the RMSE to the exact solution moves.
3. DPM-Solver-v3 as it is by default, with these statistics, against other solvers on their usual grids.

The directory has, beside what oracle.py lists (2 runs the v3 methods of convergence.json),

ems_points.npz             x0, noise [K, 192]: points x = alpha x0 + sigma noise; comp [K], their component
ems_points_cfg_traj.npz    xT [K, 192], cls [K]: states at the start, which the model guided to a class moves from there

Writes results.json (all of it) and results.csv (3). Fails, after that, where 1 is off by more than TOLERANCES of
estimates.py.
"""

from pathlib import Path

import numpy as np

from configs.sections import Ems
from experiments import build
from experiments.checks import estimates
from experiments.checks import oracle as official
from experiments.checks.contenders import SETTINGS, compare_published, compare_solvers, make_start
from experiments.data import files
from experiments.support import scores
from experiments.support.errors import ConfigError
from experiments.support.tables import text_table


def run(config, workdir) -> dict:
    """All three parts; ArithmeticError, after everything is written, if a statistic is off."""
    if not config.oracle:
        raise ConfigError("ems_parity compares with a directory of official numbers: set --config.oracle=DIR")
    workdir, oracle, nfes = Path(workdir), official.load(config.oracle), build.nfes(config)
    wanted = build.settings(config.ems, Ems)
    found = {"statistics": [], "published": [], "rows": [], "best": []}
    for name, setting in SETTINGS.items():
        if setting.model != "cfg":
            found["statistics"] += estimates.check(wanted, oracle, name)
        own = estimates.estimate(wanted, oracle, name)
        start = make_start(oracle, name)
        found["published"] += compare_published(oracle, name, own, start, nfes)
        rows, best = compare_solvers(name, own["default"], start, nfes)
        found["rows"], found["best"] = found["rows"] + rows, found["best"] + best
    files.write_json(workdir / "results.json", found)
    scores.write_csv(workdir / "results.csv", found["rows"], tuple(found["rows"][0]))
    print(summary(found, wanted.probes))
    off = [row for row in found["statistics"] if not row["error"] <= row["tolerance"]]
    if off:
        texts = ["{statistic} of {model} at node {node} (lam={lam:.4g}) by {error:.1e}".format(**row) for row in off]
        raise ArithmeticError(f"{len(off)} statistics are off by more than {estimates.TOLERANCES}: {'; '.join(texts)}")
    return found


def summary(found, probes) -> str:
    """The worst of 1, statistic by statistic; the worst of 2, model by model; and the table of 3."""
    lines = []
    for model in SETTINGS:
        for name, tolerance in estimates.TOLERANCES.items():
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
        table = [("", "nfe", "best of the other solvers", title, "v3 by default", "ratio ± its standard error")]
        for row in found["best"]:
            c = row[column]
            values = [f"{1e3 * c[key]:.2f}" for key in ("best_value", "v3")]
            table.append((row["model"], row["nfe"], c["best"], *values, f"{c['ratio']:.2f} ± {c['ratio_se']:.2f}"))
        lines.append(f"\n{title} x 1000\n{text_table(table)}")
    return "\n".join(lines)
