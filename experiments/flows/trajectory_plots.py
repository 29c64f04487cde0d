"""Figures of `trajectories`: differences, samples, denoised images on the way, modes, the plane of the ends."""

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.data import pixels
from experiments.support.plots import plot_grid, plt, save, tile

COLORS = {"gaussian": "C0", "mixture": "C2", "delta": "C3", "class_gaussian": "C2", "class_delta": "C3"}
PHASES = 11  # denoised images of a row
NOISE = "noise level sigma / alpha (sampling runs to the right)"


def plot_all(workdir, found, titles):
    titles = {"network": "network"} | titles
    plot_differences(workdir / "trajectories.png", found, titles)
    plot_modes(workdir / "modes.png", found["modes"], found["levels"], titles)
    plot_plane(workdir / "plane.png", found["plane"], found["levels"], titles)
    images = found["images"]
    if next(iter(images.values())).ndim == 5:  # [n, samples, H, W, C]
        ends = [(titles[name], pixels.to_uint8(x0[-1])) for name, x0 in images.items()]
        plot_grid(workdir / "samples.png", {"from the same noise": ends})
        plot_denoised(workdir / "denoised.png", images, found["levels"], titles)


def plot_differences(path, found, titles):
    """Mean squared difference to the network against noise, bands of 2 standard errors, and where solutions part."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    panels = {"x": "states x / alpha", "denoised": "denoised images E[x0 | x]"}
    for axis, (kind, title) in zip(axes, panels.items()):
        for summary in found["summary"]:
            name = summary["name"]
            mine = [row for row in found["rows"] if row["name"] == name]
            sigma, mean, error = (np.array([row[key] for row in mine]) for key in ("sigma", kind, f"{kind}_se"))
            parted = summary[f"{kind}_parts_at"]
            label = f"{titles[name]}, parts at {parted:.2g}" if parted else titles[name]
            axis.loglog(sigma, mean, color=COLORS[name], lw=1.8, label=label)
            axis.fill_between(
                sigma, np.maximum(mean - 2 * error, 1e-12), mean + 2 * error, color=COLORS[name], alpha=0.2
            )
            if parted:
                axis.plot(parted, found["threshold"], "o", color=COLORS[name], mec="k", ms=7, zorder=5)
        axis.axhline(found["threshold"], color="0.4", lw=0.9, ls="--")
        axis.set_title(title, fontsize=11)
        axis.legend(fontsize=9, loc="lower right")
        _noise_axis(axis, found["levels"])
    axes[0].set_ylabel("mean squared difference\nto the network, per pixel")
    axes[0].set_ylim(1e-6, None)
    save(figure, path)


def _noise_axis(axis, levels):
    axis.set_xscale("log")
    axis.set_xlim(levels[0], levels[-1])
    axis.xaxis.set_major_locator(LogLocator(numticks=8))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(NOISE)
    axis.grid(alpha=0.3)


def plot_denoised(path, images, levels, titles, count=3):
    """The denoised images of the first samples, a panel each: rows are solutions, columns noise levels."""
    # Evenly in log sigma where images form: above 10 all are near the mean, below 0.1 all is decided.
    wanted = np.geomspace(min(20, levels[0]), max(0.05, levels[-1]), PHASES - 1)
    chosen = [*(int(np.abs(np.log(levels / sigma)).argmin()) for sigma in wanted), len(levels) - 1]
    count = min(count, next(iter(images.values())).shape[1])
    size = (0.62 * PHASES + 2.2, count * (0.62 * len(images) + 0.25) + 0.3)
    figure, axes = plt.subplots(count, 1, figsize=size, squeeze=False, layout="constrained")
    for number, axis in enumerate(axes[:, 0]):
        picture = np.concatenate([tile(pixels.to_uint8(x0[chosen, number]), PHASES) for x0 in images.values()])
        height, width = picture.shape[0] / len(images), picture.shape[1] / PHASES
        axis.imshow(picture, interpolation="nearest")
        axis.set_yticks((np.arange(len(images)) + 0.5) * height, [titles[name] for name in images], fontsize=10)
        axis.set_xticks([])
        if number == 0:
            labels = [f"{levels[i]:.2g}" for i in chosen]
            axis.set_xticks((np.arange(PHASES) + 0.5) * width, labels, fontsize=10)
            axis.xaxis.tick_top()
            axis.set_title("denoised image E[x0 | x] at noise level sigma / alpha", fontsize=11)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    save(figure, path)


def plot_modes(path, modes, levels, titles):
    """When principal components emerge, in the network and by the formula; how much of each closed forms foretell."""
    figure, (curves, half, share) = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    variances = np.array(modes["variances"])
    shown = [n for n in (1, 3, 10, 30, 100, 300) if n <= len(variances)]
    for number, mode in enumerate(shown):
        color = plt.cm.viridis(number / max(1, len(shown) - 0.5))
        for key, dashes, label in (("deviation", "-", f"{mode}"), ("deviation_exact", "--", None)):
            curve = np.array(modes[key])[:, mode - 1]
            curves.plot(levels, curve / curve[-1], dashes, color=color, lw=1.5, label=label)
    curves.axhline(0.5, color="0.5", lw=0.8)
    curves.set_ylim(0, 1.25)
    curves.set_title("deviation of the denoised coefficient, relative to its end\nsolid: network, dashed: Gaussian")
    _noise_axis(curves, levels)
    curves.legend(title="component", fontsize=8, loc="lower right")
    half.loglog(variances, modes["half_exact"], "k--", lw=1.2, label="Gaussian: sqrt(3 variance)")
    half.loglog(variances, modes["half"], "o", ms=3.5, alpha=0.5, color="C1", mew=0, label="network")
    half.set_xlabel("variance of the component (large ones to the left)")
    half.set_ylabel("noise level sigma / alpha")
    order = f"rank correlation {modes['order']:.2f} with the formula, over 99 % of the variance"
    half.set_title(f"where half of the end is reached: large variances first\n({order})")
    half.invert_xaxis()
    half.legend(fontsize=9)
    for name, values in modes["explained"].items():
        share.semilogx(*_pooled(values, modes["deviation"][-1]), "o-", ms=3.5, color=COLORS[name], label=titles[name])
    share.axhline(0, color="0.5", lw=0.8)
    share.set_ylim(max(-1.0, share.get_ylim()[0]), 1.02)
    share.set_xlabel("principal component of the data")
    share.set_title("share of the network's final coefficients\nforetold from the noise, neighbours together")
    share.legend(fontsize=9)
    for axis in (curves, half, share):
        axis.title.set_fontsize(10)
        axis.grid(alpha=0.3)
    save(figure, path)


def _pooled(shares, deviation, bins=24):
    """(centres, shares) of neighbouring components together, weighted by the network's variance in them."""
    edges = np.unique(np.geomspace(1, len(shares) + 1, bins + 1).round().astype(int))
    power = np.square(deviation)
    parts = [slice(low - 1, high - 1) for low, high in zip(edges, edges[1:])]
    return np.sqrt(edges[:-1] * (edges[1:] - 1)), [np.average(shares[p], weights=power[p]) for p in parts]


def plot_plane(path, planes, levels, titles):
    """Share of |x|^2 in the plane of the ends, and the mean path in it against the circle."""
    figure, (share, turn) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
    colors = {"network": "C1"} | COLORS
    for name, plane in planes.items():
        low, middle, high = np.array(plane["share"])
        share.plot(levels, middle, color=colors[name], lw=1.8, label=titles[name])
        share.fill_between(levels, low, high, color=colors[name], alpha=0.12, lw=0)
        turn.plot(plane["last"], plane["first"], color=colors[name], lw=1.8, label=titles[name])
    angle = np.linspace(0, np.pi / 2, 91)
    turn.plot(np.cos(angle), np.sin(angle), "k--", lw=1, label="turn by alpha and sigma alone")
    turn.set_xlabel("along the final sample")
    turn.set_ylabel("along the initial noise")
    turn.set_aspect("equal")
    turn.set_title("mean path in that plane\nof x / sqrt(alpha² + sigma²)", fontsize=11)
    share.set_title("share of |x|² in the plane of noise and sample\n(median, 5 to 95 % of the samples)", fontsize=11)
    _noise_axis(share, levels)
    for axis in (share, turn):
        axis.grid(alpha=0.3)
    turn.legend(fontsize=9, loc="lower left")
    save(figure, path)
