"""Figures of the errors of solvers: against the variance of the data, and against network evaluations."""

import numpy as np

from experiments.support.plots import line_style, one_legend, panels, save


def plot_spectrum(path, curves, eigenvalues=()):
    """curves: {(label, nfe): Spectrum}. |relative error of the deviation| against variance, a panel per nfe."""
    solvers, nfes = (list(dict.fromkeys(key[i] for key in curves)) for i in (0, 1))
    figure, axes = panels(len(nfes), len(solvers))
    for axis, nfe in zip(axes, nfes):
        for number, solver in enumerate(solvers):
            found = curves[solver, nfe]
            axis.loglog(found.variances, np.abs(found.error), label=solver, **line_style(number, len(found.variances)))
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
    one_legend(figure, axes)
    save(figure, path)


def plot_convergence(path, rows):
    """Median RMSE against nfe, both logarithmic, a panel per schedule: order p falls with slope -p. Rings are
    official numbers, where rows have them."""
    schedules, solvers = (list(dict.fromkeys(row[key] for row in rows)) for key in ("schedule", "solver"))
    figure, axes = panels(len(schedules), len(solvers))
    for axis, schedule in zip(axes, schedules):
        mine = [row for row in rows if row["schedule"] == schedule]
        for number, solver in enumerate(solvers):
            points = sorted((row["nfe"], row["rmse_median"]) for row in mine if row["solver"] == solver)
            axis.loglog(*zip(*points), label=solver, **line_style(number))
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
    one_legend(figure, axes)
    save(figure, path)
