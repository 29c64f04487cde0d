"""Figures of the errors of solvers: against network evaluations, and against the variance of the data."""

import numpy as np

from experiments.support.plots import plt, save


def plot_errors(path, rows):
    """Median RMSE, and the Fréchet distance where there is one, against nfe: one line per solver."""
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
    """A panel per column {name: title}: each label's value at each nfe over the best there, as numbers and colours."""
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


def plot_spectrum(path, curves, eigenvalues=()):
    """curves: {(label, nfe): Spectrum}. |relative error of the deviation| against variance, a panel per nfe."""
    solvers, nfes = (list(dict.fromkeys(key[i] for key in curves)) for i in (0, 1))
    figure, axes = _panels(len(nfes), len(solvers))
    for axis, nfe in zip(axes, nfes):
        for number, solver in enumerate(solvers):
            found = curves[solver, nfe]
            axis.loglog(found.variances, np.abs(found.error), label=solver, **_style(number, len(found.variances)))
        if len(eigenvalues):
            floor = np.full(len(eigenvalues), 0.02)
            style = {"color": "0.3", "marker": "|", "ls": "", "ms": 7, "alpha": 0.5}
            axis.plot(
                eigenvalues, floor, transform=axis.get_xaxis_transform(), label="eigenvalues of the data", **style
            )
        axis.set_xlim(found.variances[[0, -1]])
        axis.set_ylim(1e-6, 10)
        axis.set_title(f"{nfe} network evaluations", fontsize=10)
        axis.set_xlabel("variance of the data in the mode")
        axis.set_ylabel("|relative error of the deviation|")
    _one_legend(figure, axes)
    save(figure, path)


def plot_convergence(path, rows):
    """Median RMSE against nfe, both logarithmic, a panel per schedule: order p falls with slope -p. Rings are
    official numbers, where rows have them."""
    schedules, solvers = (list(dict.fromkeys(row[key] for row in rows)) for key in ("schedule", "solver"))
    figure, axes = _panels(len(schedules), len(solvers))
    for axis, schedule in zip(axes, schedules):
        mine = [row for row in rows if row["schedule"] == schedule]
        for number, solver in enumerate(solvers):
            points = sorted((row["nfe"], row["rmse_median"]) for row in mine if row["solver"] == solver)
            axis.loglog(*zip(*points), label=solver, **_style(number))
        official = [(row["nfe"], row["official_median"]) for row in mine if row.get("official_median")]
        if official:
            axis.loglog(*zip(*official), "o", mfc="none", mec="k", ms=7, mew=0.7, label="official code")
        nfe = np.array(sorted({row["nfe"] for row in mine}), float)
        top = np.median([row["rmse_median"] for row in mine if row["nfe"] == nfe[0]])
        for order in (1, 2, 3):
            axis.loglog(nfe, top * (nfe / nfe[0]) ** -order, color="0.6", lw=0.8, ls=":", zorder=0)
            axis.annotate(f"slope {order}", (nfe[-1], top * (nfe[-1] / nfe[0]) ** -order), fontsize=8, color="0.4")
        axis.set_xticks(nfe, [f"{n:.0f}" for n in nfe])
        axis.minorticks_off()
        axis.set_xlim(0.9 * nfe[0], 1.5 * nfe[-1])
        axis.set_title(schedule, fontsize=10)
        axis.set_xlabel("network evaluations")
        axis.set_ylabel("median RMSE to the exact solution")
    _one_legend(figure, axes)
    save(figure, path)


def _panels(count, lines):
    """A figure with `count` axes, two a row, larger for many lines."""
    across = min(2, count)
    down = -(-count // across)
    width, height = (5.2, 3.9) if lines <= 10 else (8.0, 6.0)
    size = width * across, height * down
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.ravel()[count:]:
        axis.set_axis_off()
    return figure, axes.ravel()[:count]


def _style(number, points=1):
    """Of line `number`: colour, dashes and marker together repeat after 40; of many points some have a marker."""
    every = max(1, points // 8)
    dashes = ("-", "--", "-.", ":")[number // 10 % 4]
    return {
        "color": f"C{number % 10}",
        "ls": dashes,
        "lw": 1.4,
        "marker": "osD^v<>P"[number % 8],
        "ms": 4,
        "markevery": (number % every, every),
    }


def _one_legend(figure, axes):
    """The lines of the first panel name those of all."""
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)
