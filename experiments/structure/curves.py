"""Explained variance against training steps."""

import numpy as np

from experiments.support.plots import plt, save

TITLES = {"score": "score", "centered": "denoiser, counted from the data's mean"}
LABELS = {"gaussian": "Gaussian", "classes": "class mixture", "kmeans": "k-means mixture", "delta": "delta"}
SPLITS = {"train": ("-", "training images"), "test": ("--", "test images")}
TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)
WORST, BEST = 2.0, 1e-5  # of the share that is not explained: where axes begin, and the least that is drawn


def plot_learning(path, rows):
    """A panel per sigma and kind, shares on an axis logarithmic in what is not explained; bands: 2 standard errors.

    Solid: noised training images, dashed: noised test images. Step 0 stands left of the first step.
    """
    sigmas = sorted({row["sigma"] for row in rows})
    size = (2.7 * len(sigmas), 3.0 * len(TITLES) + 0.5)
    figure, axes = plt.subplots(
        len(TITLES), len(sigmas), figsize=size, squeeze=False, sharex=True, layout="constrained"
    )
    for line, (kind, title) in zip(axes, TITLES.items()):
        for axis, sigma in zip(line, sigmas):
            draw(axis, [row for row in rows if row["sigma"] == sigma], kind)
            axis.set_title(f"sigma = {sigma:g}", fontsize=10)
        line[0].set_ylabel(f"explained variance of the\n{title}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("training step")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    save(figure, path)


def draw(axis, rows, kind):
    steps = sorted({row["step"] for row in rows if row["step"] > 0})
    before = steps[0] / 2  # where step 0 stands
    end = 1.0
    for number, (name, label) in enumerate(LABELS.items()):
        for split, (dashes, images) in SPLITS.items():
            curve = sorted((r for r in rows if r["name"] == name and r["split"] == split), key=lambda r: r["step"])
            step = [row["step"] or before for row in curve]
            share, error = (np.array([row[key] for row in curve]) for key in (kind, f"{kind}_se"))
            missing, *band = (np.maximum(1 - share + k * error, BEST) for k in (0, -2, 2))
            end = min(end, missing.min() / 1.3)
            axis.loglog(step, missing, dashes, color=f"C{number}", lw=1.3, label=f"{label}, {images}")
            axis.fill_between(step, *band, color=f"C{number}", alpha=0.15, lw=0)
    axis.set_ylim(WORST, end)
    ticks = [tick for tick in TICKS if 1 - tick > end]
    axis.set_yticks([1 - tick for tick in ticks], [f"{tick:g}" for tick in ticks], fontsize=8)
    axis.minorticks_off()
    decades = [10**k for k in range(12) if steps[0] <= 10**k <= steps[-1]]
    axis.set_xticks([before, *decades], ["0", *(f"{d:g}" for d in decades)], fontsize=8)
    axis.grid(alpha=0.3)
