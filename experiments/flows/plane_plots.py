"""Figures of `flows_2d`: trajectories, densities and scores in the plane."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm

from experiments.support.plots import plt, save

SCHEDULES = {"edm": "EDM: x0 + sigma eps", "vp": "variance preserving", "flow": "rectified flow"}
COLORS = {"gaussian": "C0", "mixture": "C2", "delta": "C3"}
ARROWS = 13  # per axis of a field


def plot_flow(path, name, schedule, times, laws, paths, fields, titles):
    """Rows are distributions; columns the trajectories, then the fields, from noise to data."""
    columns = 1 + len(next(iter(fields.values())))
    size = (2.5 * columns + 0.9, 2.5 * len(laws) + 0.5)
    figure, axes = plt.subplots(len(laws), columns, figsize=size, squeeze=False, layout="constrained")
    levels = schedule.sigma(times) / schedule.alpha(times)
    for line, law in zip(axes, laws):
        lines = _paths(line[0], laws[law], paths[law][0], levels)
        line[0].set_ylabel(titles[law], fontsize=12)
        for axis, field in zip(line[1:], fields[law]):
            _field(axis, field)
    axes[0, 0].set_title("trajectories", fontsize=11)
    for axis, field in zip(axes[0, 1:], fields[law]):
        axis.set_title(f"density and score\nsigma / alpha = {field.sigma:g}", fontsize=10)
    bar = figure.colorbar(lines, ax=axes, aspect=45, pad=0.01, shrink=0.9, extend="both")
    bar.set_label("sigma / alpha along the trajectories", fontsize=10)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    figure.suptitle(
        f"{SCHEDULES.get(name, name)}: the same noise, three distributions of equal mean and covariance; "
        "arrows: the score, long ones shortened"
    )
    save(figure, path)


def _paths(axis, law, x, levels):
    """Trajectories x [n, count, 2], coloured by noise level, to their ends; the window is that of the data."""
    segments = np.stack([x[:-1], x[1:]], axis=2).swapaxes(0, 1)  # [count, n - 1, 2 ends, 2]
    norm = LogNorm(max(levels[-1], 0.03), min(levels[0], 10))
    lines = LineCollection(segments.reshape(-1, 2, 2), cmap="plasma", norm=norm, lw=0.9, alpha=0.85)
    lines.set_array(np.tile(levels[1:], x.shape[1]))
    axis.add_collection(lines)
    axis.plot(*x[0].T, "o", mfc="w", mec="0.6", ms=2.5, mew=0.7, zorder=3)
    axis.plot(*x[-1].T, "o", color="k", ms=2.8, zorder=4)
    if law.basis.shape[2] == 0:
        axis.plot(*law.means.T, "o", mfc="none", mec="0.5", ms=6, mew=0.8)
    _window(axis, 2.2)
    return lines


def _field(axis, field):
    """The square root of the density as shades, which shows its tails; the score as arrows."""
    axis.pcolormesh(field.axis, field.axis, np.sqrt(field.density), cmap="Blues", shading="auto", rasterized=True)
    part = np.linspace(0, len(field.axis) - 1, ARROWS + 2).astype(int)[1:-1]
    u, v = np.moveaxis(field.score[np.ix_(part, part)], -1, 0)
    length = np.maximum(np.hypot(u, v), 1e-12)
    # Far out the score grows without bound: lengths are compressed, directions are exact.
    shrink = np.tanh(length / np.median(length)) / length
    axis.quiver(field.axis[part], field.axis[part], u * shrink, v * shrink, color="C3", scale=16, width=0.007)
    _window(axis, field.axis[-1])


def _window(axis, half):
    axis.set_xlim(-half, half)
    axis.set_ylim(-half, half)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)


def plot_parting(path, paths, laws, found, titles):
    """Trajectories x / alpha [n, count, 2] of the mixture and of the others, and how far these are, by noise level."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    for axis, name in zip(axes, ("gaussian", "delta")):
        for law, style in (("mixture", "-"), (name, "--")):
            axis.plot(*np.moveaxis(paths[law][0], 2, 0)[:, :, :16], style, color=COLORS[law], lw=1.1)
            axis.plot(*paths[law][0][-1][:16].T, "o", color=COLORS[law], ms=4)
            axis.plot([], [], style, color=COLORS[law], marker="o", ms=4, label=titles[law])
        _window(axis, 2.2)
        axis.set_title(f"from the same noise: mixture and {titles[name]}, x / alpha", fontsize=10)
        axis.legend(fontsize=9, loc="upper right")
    for summary in found["summary"]:
        name = summary["name"]
        mine = [row for row in found["rows"] if row["name"] == name]
        sigma, x, denoised = (np.array([row[key] for row in mine]) for key in ("sigma", "x", "denoised"))
        for values, dashes, kind in ((x, "-", "x / alpha"), (denoised, ":", "E[x0 | x]")):
            axes[2].loglog(
                sigma, np.maximum(values, 1e-12), dashes, color=COLORS[name], label=f"{titles[name]}, {kind}"
            )
        if summary["x_parts_at"]:
            axes[2].plot(summary["x_parts_at"], found["threshold"], "o", color=COLORS[name], mec="k")
    axes[2].axhline(found["threshold"], color="0.4", lw=0.9, ls="--")
    axes[2].set_xlim(sigma[0], sigma[-1])
    axes[2].set_ylim(1e-6, None)
    axes[2].set_xlabel("sigma / alpha (sampling runs to the right)")
    axes[2].set_title("mean squared difference to the mixture", fontsize=10)
    axes[2].grid(alpha=0.3)
    axes[2].legend(fontsize=8)
    save(figure, path)
