"""Pictures and plots, each written under a temporary name and renamed."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.data.files import replacing


def tile(images, columns):
    """uint8 [n, H, W, C] as one picture [rows (H + 1), columns (W + 1), 3], with white lines and missing images."""
    images = np.asarray(images)
    images = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
    n, height, width = len(images), images.shape[1] + 1, images.shape[2] + 1
    rows = -(-n // columns)
    canvas = np.full((rows * columns, height, width, 3), 255, np.uint8)
    canvas[:n, :-1, :-1] = images
    return canvas.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def plot_samples(path, images, columns=None):
    """A grid of images, near a square."""
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    picture = tile(images, columns)
    scale = max(1, round(1000 / picture.shape[1]))  # whole pixels: nearest neighbour stays sharp
    with replacing(path) as temporary:
        plt.imsave(temporary, picture.repeat(scale, axis=0).repeat(scale, axis=1))


def plot_grid(path, panels):
    """panels: {title: [(label, images uint8 [n, H, W, C]), ...]}; one panel each, one labelled row per entry."""
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    rows = max(len(panel) for panel in panels.values())
    count = max(len(images) for panel in panels.values() for _, images in panel)
    size = (across * (0.55 * count + 2.0), down * (0.55 * rows + 0.5))
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.ravel()[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, panel) in zip(axes.ravel(), panels.items()):
        picture = np.concatenate([tile(images, count) for _, images in panel])
        height = picture.shape[0] / len(panel)
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.set_yticks([(i + 0.5) * height for i in range(len(panel))], [label for label, _ in panel], fontsize=10)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    save(figure, path)


def plot_scatter(path, panels):
    """panels: {title: [(label, points [n, D]), ...]}: the first two coordinates; the first entry, exact, in grey."""
    columns = max(len(panel) for panel in panels.values()) - 1
    size = (2.4 * columns, 2.0 * len(panels))
    figure, axes = plt.subplots(
        len(panels), columns, figsize=size, squeeze=False, sharex=True, sharey=True, layout="constrained"
    )
    for line, (title, panel) in zip(axes, panels.items()):
        exact = np.asarray(panel[0][1]).reshape(len(panel[0][1]), -1)
        for axis, (label, points) in zip(line, panel[1:]):
            points = np.asarray(points).reshape(len(points), -1)
            axis.scatter(exact[:, 0], exact[:, 1], s=9, color="0.75", label="exact")
            axis.scatter(points[:, 0], points[:, 1], s=3, color="C3", label="solver")
            axis.set_title(f"{label}\n{title}", fontsize=9)
            axis.set_aspect("equal")
    axes[0, 0].legend(fontsize=7, loc="best")
    save(figure, path)


def plot_ems(path, ems):
    """l, s, b [G + 1, *D] against lam: mean over the elements, bands of 25-75 % and 5-95 %; standard errors below.

    Their root mean square over the elements is drawn on a scale of its own; files of other projects have none.
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


def plot_health(path, found):
    """The three looks of networks/health.py: order of Heun, the Gaussian part against sigma, s against lam."""
    figure, (order, part, s) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    n, rmse = np.array(found["order"]["intervals"], float), np.array(found["order"]["rmse"])
    order.loglog(n, rmse, "o-", label="Heun, median RMSE")
    order.loglog(n, rmse[0] * (n / n[0]) ** -2, "k:", label="slope 2")
    order.set_xlabel("intervals")
    order.legend(fontsize=9)
    sigma = [row["sigma"] for row in found["gaussian"]]
    for name in ("score", "denoiser"):
        share = np.array([row[name] for row in found["gaussian"]])
        part.loglog(sigma, np.maximum(1 - share, 1e-6), "o-", ms=3, label=f"share of the {name} not explained")
    for name, text in (("rmse", "denoiser"), ("l", "l")):
        part.loglog(sigma, [row[name] for row in found["gaussian"]], "s--", ms=3, label=f"rms difference of {text}")
    part.axhline(0.01, color="0.5", lw=0.8)
    part.set_xlabel("sigma")
    part.set_title("network beside the Gaussian of the data", fontsize=10)
    part.legend(fontsize=9)
    for name in ("max", "rms", "median") if found["s"] else ():
        s.plot([row["lam"] for row in found["s"]], [row[name] for row in found["s"]], label=f"{name} of |s|")
    s.set_xlabel("lam")
    s.set_yscale("symlog", linthresh=1)
    s.legend(*s.get_legend_handles_labels(), fontsize=9)
    for axis in (order, part, s):
        axis.grid(alpha=0.3)
    save(figure, path)


def save(figure, path):
    """Write the figure, whole or not at all, and close it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
    plt.close(figure)
