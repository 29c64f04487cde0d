"""Draws a comparison: errors against evaluations, samples side by side, ratios to the best."""

import numpy as np

from experiments.sampling import REFERENCE
from experiments.support.plots import plot_grid, plot_scatter, plt, save


def plot_samples_of(path, samples):
    """Draws a panel per nfe. samples: {(label, nfe) or REFERENCE: images uint8 [n, H, W, C] or points [n, D]}."""
    panels = {}
    for key, shown in samples.items():
        if key != REFERENCE:
            first = [(REFERENCE, samples[REFERENCE])]
            panels.setdefault(f"{key[1]} network evaluations", first).append((key[0], shown))
    (plot_grid if samples[REFERENCE].ndim == 4 else plot_scatter)(path, panels)


def plot_errors(path, rows):
    """Draws the median RMSE, and the Fréchet distance if there is one, against nfe: a line per solver."""
    wanted = (
        ("rmse_median", "median RMSE to the reference solution"),
        ("frechet", "Fréchet distance (small classifier)"),
    )
    shown = [(c, title) for c, title in wanted if any(row.get(c) is not None for row in rows)]
    figure, axes = plt.subplots(1, len(shown), figsize=(5 * len(shown), 4), squeeze=False, layout="constrained")
    solvers = list(dict.fromkeys(row["solver"] for row in rows if row["solver"] != "reference"))
    for axis, (column, title) in zip(axes[0], shown):
        for number, solver in enumerate(solvers):
            points = sorted((r["nfe"], r[column]) for r in rows if r["solver"] == solver and r.get(column) is not None)
            axis.plot(*zip(*points), marker="osD^v<>P"[number % 8], label=solver)
        for row in rows:
            if row["solver"] == "reference" and row.get(column):
                axis.axhline(row[column], color="0.4", linestyle="--", label=f"reference ({row['nfe']} evaluations)")
        axis.set_yscale("log")
        axis.set_xticks(sorted({row["nfe"] for row in rows if row["solver"] != "reference"}))
        axis.set_xlabel("network evaluations")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3, which="both")
    axes[0, -1].legend(fontsize=9)
    save(figure, path)


def plot_ratios(path, rows, columns):
    """Draws a panel per column {name: title}: each value divided by the best of its nfe, as numbers and colours."""
    labels, nfes = (list(dict.fromkeys(row[key] for row in rows)) for key in ("solver", "nfe"))
    size = (2.5 + 0.62 * len(nfes) * len(columns), 0.8 + 0.26 * len(labels))
    figure, axes = plt.subplots(1, len(columns), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axis, (column, title) in zip(axes[0], columns.items()):
        values = np.full((len(labels), len(nfes)), np.nan)
        for row in rows:
            values[labels.index(row["solver"]), nfes.index(row["nfe"])] = row[column]
        ratio = values / np.nanmin(values, axis=0)
        axis.imshow(ratio, vmin=1, vmax=2.5, cmap="YlOrBr", aspect="auto")
        for (i, j), value in np.ndenumerate(ratio):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8)
        axis.set_xticks(range(len(nfes)), nfes)
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.set_title(f"{title} / best", fontsize=10)
        axis.set_xlabel("network evaluations")
    save(figure, path)
