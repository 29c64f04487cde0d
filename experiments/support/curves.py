"""Figures of the errors of solvers: against network evaluations, and against the variance of the data."""

import numpy as np

from experiments.support.plots import plt, save


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
