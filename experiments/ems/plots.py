"""Draws the statistics l, s, b against the noise level."""

import numpy as np

from experiments.support.plots import plt, save


def plot_ems(path, ems):
    """Draws l, s, b [G + 1, *D] against lam: the mean over the elements, and bands of 25-75 % and 5-95 %.

    Below, on their own scale: standard errors and root mean squares over the elements; files of other projects have
    no standard errors.
    """
    errors = ems.meta.get("standard_error")
    figure, axes = plt.subplots(
        2 if errors else 1,
        3,
        figsize=(12, 4.6 if errors else 3.2),
        squeeze=False,
        sharex=True,
        layout="constrained",
        height_ratios=(2, 1)[: 2 if errors else 1],
    )
    for column, name in zip(axes.T, "lsb"):
        values = np.asarray(getattr(ems, name), np.float64).reshape(len(ems.lam), -1)
        for low, high in ((5, 95), (25, 75)):
            column[0].fill_between(ems.lam, *np.percentile(values, (low, high), axis=1), alpha=0.25, color="C0", lw=0)
        column[0].plot(ems.lam, values.mean(axis=1), color="C0")
        column[0].set_title(f"{name}: mean, 25-75 %, 5-95 % of the elements", fontsize=9)
        if errors:
            column[1].semilogy(ems.lam, np.sqrt((values**2).mean(axis=1)), color="C0", label="root mean square")
            column[1].semilogy(ems.lam, errors[name], color="C3", label="standard error")
            column[1].legend(fontsize=8)
        column[-1].set_xlabel("lam = log(alpha / sigma)")
        for axis in column:
            axis.grid(alpha=0.3)
    save(figure, path)
