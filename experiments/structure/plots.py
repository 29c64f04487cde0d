"""Figures of what closed forms explain, by noise level, rank and components, and of a fitted mixture."""

import numpy as np

from experiments.data import pixels
from experiments.structure.explained import SPLITS
from experiments.structure.published import explained_shares
from experiments.structure.summary import LONG, curves
from experiments.support.plots import plt, save, tile

SHOWN = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # noise levels of the sweeps
IN_TABLE = (0.1, 0.5, 2.0)
DRAWN = 8  # components of a mixture, and eigenvectors of each
COLORS = {"Gaussian": "C3", "delta": "k", "classes": "C2", "k-means": "C0", "isotropic": "0.55", "expansion": "C1"}
TRIVIAL = "at high noise the score's is trivially 1 (both are -x / sigma²):\nthe denoiser's discriminates"


def plot_scores(path, rows):
    """Draws score, denoiser and denoiser from the mean (rows) against sigma, for training and test images (columns).

    The scale shows the share that is not explained. Published numbers are thin and dashed, on training images only.
    """
    figure, axes = plt.subplots(3, 2, figsize=(13, 13), sharex=True, sharey="row", layout="constrained")
    for line, kind in zip(axes, LONG):
        for axis, split in zip(line, SPLITS):
            for number, (name, (sigmas, shares, errors)) in enumerate(curves(rows, split, kind).items()):
                rest, style = 1 - shares, _style(name, number)
                axis.loglog(sigmas, rest, label=name, **style)
                axis.fill_between(
                    sigmas,
                    np.maximum(rest - 2 * errors, 1e-9),
                    rest + 2 * errors,
                    color=style["color"],
                    alpha=0.15,
                    lw=0,
                )
            if split == "train":
                _published(axis, kind)
            axis.set_title(f"{LONG[kind]}, {split} images", fontsize=11)
            _explained_axis(axis, 1e-5 if kind == "score" else 1e-4)
            axis.set_xlabel("sigma" if kind == "centered" else "")
    place = {"transform": axes[0, 0].transAxes, "ha": "right", "va": "bottom"}
    axes[0, 0].text(0.98, 0.03, TRIVIAL, fontsize=9, bbox={"fc": "w"}, **place)
    handles = {}
    for axis in axes[:2, 0]:
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=9)
    save(figure, path)


def plot_sweeps(path, rows):
    """Draws shares against the Gaussian's rank and against the number of components, with a colour per noise level."""
    figure, axes = plt.subplots(2, 2, figsize=(13, 9), sharey="row", layout="constrained")
    sigmas = [sigma for sigma in SHOWN if any(row["sigma"] == sigma for row in rows)] or [rows[0]["sigma"]]
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(sigmas)))
    for line, kind in zip(axes, ("score", "denoiser")):
        for color, sigma in zip(colors, sigmas):
            at = [row for row in rows if row["sigma"] == sigma]
            for split, dashes in zip(SPLITS, ("-", "--")):
                own = [row for row in at if row["images"] == split]
                ranks = sorted((row["rank"], 1 - row[kind]) for row in own if row["family"] == "rank")
                label = f"sigma = {sigma:g}" if split == "train" else None
                line[0].loglog(*zip(*ranks), dashes, color=color, marker="o", ms=3, label=label)
                line[1].loglog(*zip(*_by_components(own, kind)), dashes, color=color, marker="o", ms=3, label=label)
            plain = [row for row in at if row["images"] == "train" and row["family"] == "rank without floor"]
            line[0].loglog(*zip(*sorted((row["rank"], 1 - row[kind]) for row in plain)), ":", color=color)
        for axis, title in zip(line, ("rank of the Gaussian", "components (1: Gaussian, last: the data, delta)")):
            axis.set_title(f"{LONG[kind]}", fontsize=11)
            axis.set_xlabel(title)
            _explained_axis(axis, 1e-4, worst=4)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    figure.suptitle(
        "solid: training images, dashed: test images; dotted: discarded variance set to 0, as published, "
        "instead of its mean",
        fontsize=10,
    )
    save(figure, path)


def plot_table(path, rows):
    """Draws the share of the score that k-means mixtures explain, by components and rank; 1 component: the Gaussian.

    The last column has the highest rank of each mixture, in brackets.
    """
    sigmas = [sigma for sigma in IN_TABLE if any(row["sigma"] == sigma for row in rows)] or [rows[0]["sigma"]]
    size = (3.6 * len(sigmas) + 1, 6.5)
    figure, axes = plt.subplots(len(SPLITS), len(sigmas), figsize=size, squeeze=False, layout="constrained")
    counts = sorted({row["components"] for row in rows if _is_mixture(row)})
    ranks = sorted({row["rank"] for row in rows if row["family"] == "mixture"})
    for line, split in zip(axes, SPLITS):
        for axis, sigma in zip(line, sigmas):
            values, notes = np.full((len(counts), len(ranks) + 1), np.nan), {}
            for row in (row for row in rows if (row["sigma"], row["images"]) == (sigma, split) and _is_mixture(row)):
                line_of = counts.index(row["components"])
                if row["rank"] in ranks:
                    values[line_of, ranks.index(row["rank"])] = row["score"]
                if row["family"] == "main":
                    values[line_of, -1], notes[line_of] = row["score"], f" ({row['rank']})"
            _heat(axis, values, notes)
            axis.set_xticks(range(len(ranks) + 1), [*ranks, "most"])
            axis.set_yticks(range(len(counts)), counts)
            axis.set_title(f"score, sigma = {sigma:g}, {split} images", fontsize=10)
            axis.set_xlabel("rank")
            axis.set_ylabel("components")
    save(figure, path)


def plot_mixture(path, mixture):
    """Draws mean and leading eigenvectors of the heaviest components above, and the variances of all below."""
    shown = np.argsort(-mixture.weights, kind="stable")[:DRAWN]
    vectors = min(DRAWN, mixture.basis.shape[2])
    rows = []
    for index in shown:
        u = mixture.basis[index, :, :vectors].T
        u = u / np.abs(u).max(axis=1, keepdims=True)
        rows.append(pixels.to_uint8(np.concatenate([mixture.means[index][None], u])).reshape(-1, *mixture.shape))
    size = (0.9 * (vectors + 1), 0.9 * len(rows) + 3.2)
    figure, (top, bottom) = plt.subplots(2, figsize=size, height_ratios=(0.9 * len(rows), 3), layout="constrained")
    picture = tile(np.concatenate(rows), vectors + 1)
    top.imshow(picture, interpolation="nearest")
    height, width = picture.shape[0] / len(rows), picture.shape[1] / (vectors + 1)
    top.set_yticks((np.arange(len(rows)) + 0.5) * height, [f"{w:.3f}" for w in mixture.weights[shown]], fontsize=8)
    top.set_xticks((np.arange(vectors + 1) + 0.5) * width, ["mean", *range(1, vectors + 1)], fontsize=8)
    top.xaxis.tick_top()
    top.set_title("weight, mean, eigenvectors by falling variance", fontsize=9)
    top.tick_params(length=0)
    top.spines[:].set_visible(False)
    for index in range(len(mixture.weights)):
        values = mixture.variances[index]
        bottom.loglog(np.arange(1, len(values) + 1), np.maximum(values, 1e-12), lw=1, alpha=0.8)
    bottom.set_xlabel("index of the eigenvector")
    bottom.set_ylabel("variance")
    bottom.grid(alpha=0.3)
    save(figure, path)


def _heat(axis, values, notes):
    axis.imshow(values, cmap="YlGn", aspect="auto")
    middle = np.nanmean([np.nanmin(values), np.nanmax(values)])
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{value:.4f}" + notes.get(i, "") * (j == values.shape[1] - 1)
            axis.text(j, i, text, ha="center", va="center", fontsize=8, color="w" if value > middle else "k")


def _is_mixture(row) -> bool:
    """Whether a form is the Gaussian or from k-means, with a floor: the mean of the variance that it leaves out."""
    return row["name"] == "Gaussian" or row["family"] in ("mixture", "rank") or row["name"].startswith("k-means")


def _by_components(rows, kind):
    main = [row for row in rows if row["family"] == "main" and (_is_mixture(row) or row["name"] == "delta")]
    return sorted((row["components"], 1 - row[kind]) for row in main)


def _published(axis, kind):
    for (data, of), table in explained_shares().items():
        for name in ("Gaussian", "delta") if of == kind else ():
            sigmas, values = zip(*table[name].items())
            rest = 1 - np.array(values)
            rest[rest <= 0] = np.nan  # rounded to 1 in print
            style = {"color": COLORS[name], "ls": (0, (6, 3)) if data == "cifar10" else (0, (1, 2)), "lw": 1.0}
            axis.loglog(sigmas, rest, alpha=0.7, label=f"published, {data.upper()}: {name}", **style)


def _style(name: str, number: int) -> dict:
    """The style of a line: its kind has a colour, and markers tell forms of one kind apart."""
    kind = next(kind for kind in COLORS if name.startswith(kind))
    bold = name in ("Gaussian", "delta")
    color = COLORS[kind]
    if kind == "k-means":  # darker for more components
        color = plt.get_cmap("Blues")(0.35 + 0.13 * np.log2(int(name.split()[1])) / 1.33)
    return {
        "color": color,
        "lw": 2.2 if bold else 1.2,
        "marker": "osD^v<>P"[number % 8],
        "ms": 4 if not bold else 5,
        "alpha": 1.0 if bold else 0.8,
        "ls": ":" if kind == "expansion" else "-",
    }


def _explained_axis(axis, best, worst=20):
    """Makes the axis logarithmic in the share not explained, labelled by the share explained, better upwards."""
    ticks = [rest for rest in (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5) if rest >= best]
    axis.set_ylim(worst, 0.5 * best)
    axis.set_yticks([worst / 2, *ticks], [f"{100 * (1 - rest):g} %" for rest in (worst / 2, *ticks)])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.set_ylabel("explained")
