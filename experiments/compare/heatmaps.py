"""Draws teleportation: heat maps by solver, and error against evaluations."""

import numpy as np
from matplotlib.colors import LogNorm

from experiments.support.plots import plt, save

PANELS = {
    "rmse": "RMSE, measured",
    "frechet": "Fréchet distance, measured",
    "published_cifar10_fid": "CIFAR10 FID, published",
    "published_afhqv2_fid": "AFHQv2 FID, published",
}


def plot_heatmaps(path, rows):
    """Draws a row per solver, a panel per measure: sigma (down) x evaluations, coloured by ratio to the column's best.

    Published numbers, from other networks and with another distance, have their own panels. No rows, no picture.
    """
    shown = {name: title for name, title in PANELS.items() if any(row.get(name) is not None for row in rows)}
    solvers, nfes = (list(dict.fromkeys(row[key] for row in rows)) for key in ("solver", "nfe"))
    starts = sorted({row["teleport"] for row in rows}, key=lambda sigma: -(sigma or np.inf))
    if not rows:
        return
    size = (1.4 + (0.8 + 0.52 * len(nfes)) * len(shown), len(solvers) * (0.75 + 0.27 * len(starts)))
    figure, axes = plt.subplots(len(solvers), len(shown), figsize=size, squeeze=False, layout="constrained")
    for line, solver in zip(axes, solvers):
        for axis, (name, title) in zip(line, shown.items()):
            values = np.full((len(starts), len(nfes)), np.nan)
            for row in rows:
                if row["solver"] == solver and row.get(name) is not None:
                    values[starts.index(row["teleport"]), nfes.index(row["nfe"])] = row[name]
            _heatmap(axis, values)
            axis.set_title(f"{solver}\n{title}", fontsize=9)
            axis.set_xticks(range(len(nfes)), nfes, fontsize=8)
            axis.set_yticks(range(len(starts)), ["none" if s is None else f"{s:g}" for s in starts], fontsize=8)
        line[0].set_ylabel("teleported to sigma", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("network evaluations", fontsize=8)
    save(figure, path)


def _heatmap(axis, values):
    """Draws numbers, coloured by their ratio to the smallest in the column; without numbers, an empty panel."""
    if np.isnan(values).all():
        axis.text(0.5, 0.5, "not published", ha="center", va="center", fontsize=8, transform=axis.transAxes)
        axis.set_axis_off()
        return
    filled = np.where(np.isnan(values), np.inf, values)
    ratio = values / filled.min(axis=0)
    axis.imshow(ratio, norm=LogNorm(1, 3), cmap="YlOrBr", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            style = {"fontweight": "bold" if ratio[i, j] == 1 else "normal", "color": "w" if ratio[i, j] > 2 else "k"}
            axis.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=6.5, **style)


def plot_curves(path, rows):
    """Draws each measure against evaluations, for each solver: dashed without teleport, solid with its best sigma."""
    measures = [name for name in ("rmse", "frechet") if name in rows[0]]
    figure, axes = plt.subplots(1, len(measures), figsize=(6 * len(measures), 4.4), squeeze=False, layout="constrained")
    solvers = list(dict.fromkeys(row["solver"] for row in rows))
    for axis, measure in zip(axes[0], measures):
        for number, solver in enumerate(solvers):
            mine = [row for row in rows if row["solver"] == solver]
            if mine[0]["skipped"] is not None:
                _line(axis, mine, measure, f"{solver}, intervals skipped", color="k", ls="-", marker="s", ms=4)
                continue
            style = {"color": f"C{number}", "marker": "o", "ms": 4}
            best = [min((r for r in mine if r["nfe"] == n), key=lambda r: r[measure]) for n in _nfes(mine)]
            _line(axis, [r for r in mine if r["teleport"] is None], measure, None, ls="--", alpha=0.6, **style)
            _line(axis, best, measure, solver, ls="-", **style)
        axis.set_yscale("log")
        axis.set_xticks(_nfes(rows))
        axis.set_xlabel("network evaluations\n(dashed: without teleport; solid: its best sigma)")
        axis.set_ylabel(PANELS[measure])
        axis.grid(alpha=0.3, which="both")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    save(figure, path)


def _nfes(rows):
    return sorted({row["nfe"] for row in rows})


def _line(axis, rows, measure, label, **style):
    rows = sorted(rows, key=lambda row: row["nfe"])
    values, spread = ([row[name] for row in rows] for name in (measure, f"{measure}_spread"))
    axis.errorbar([row["nfe"] for row in rows], values, spread, label=label, capsize=2, lw=1.3, **style)


def plot_choice(path, result, share):
    """Draws, over sigma, the shares that the Gaussian does not explain, and the RMSE with teleport to sigma."""
    figure, (explained, search) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    sigma = [row["sigma"] for row in result["explained"]]
    for name, title in (("score", "score"), ("denoiser", "denoiser"), ("centered", "denoiser from the data's mean")):
        explained.loglog(sigma, [max(1 - row[name], 1e-9) for row in result["explained"]], "o-", ms=3, label=title)
    explained.axhline(1 - share, color="0.5", lw=0.8)
    explained.set_ylabel("share not explained by the Gaussian")
    explained.legend(fontsize=8)
    tried = sorted((row["teleport"], row["rmse"]) for row in result["rmse"] if row["teleport"] is not None)
    search.loglog(*zip(*tried), "o-", ms=3, label="teleported to sigma")
    without = next(row["rmse"] for row in result["rmse"] if row["teleport"] is None)
    search.axhline(without, color="C3", ls="--", label="without")
    search.set_ylabel(f"RMSE, {result['solver']}, {result['nfe']} evaluations")
    search.legend(fontsize=8)
    for axis in (explained, search):
        axis.set_xlabel("sigma")
        axis.grid(alpha=0.3, which="both")
    save(figure, path)
