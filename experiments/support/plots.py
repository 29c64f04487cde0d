"""Writes pictures and plots, each under a temporary name that is then renamed."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.data.files import replacing


def tile(images, columns):
    """One picture [rows (H + 1), columns (W + 1), 3] of images uint8 [n, H, W, C]; lines and empty places are white."""
    images = np.asarray(images)
    images = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
    n, height, width = len(images), images.shape[1] + 1, images.shape[2] + 1
    rows = -(-n // columns)
    canvas = np.full((rows * columns, height, width, 3), 255, np.uint8)
    canvas[:n, :-1, :-1] = images
    return canvas.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def plot_samples(path, images, columns=None):
    """Writes images as a grid, nearly square by default."""
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    picture = tile(images, columns)
    scale = max(1, round(1000 / picture.shape[1]))  # whole pixels: nearest neighbour stays sharp
    with replacing(path) as temporary:
        plt.imsave(temporary, picture.repeat(scale, axis=0).repeat(scale, axis=1))


def plot_grid(path, panels):
    """Draws panels {title: [(label, images uint8 [n, H, W, C]), ...]}, with a labelled row for each entry."""
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
    """Draws the first two coordinates of panels {title: [(label, points [n, D]), ...]}; the first entry is exact."""
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


def panels(count, lines):
    """A figure with `count` axes, two in a row, larger for many lines."""
    across = min(2, count)
    down = -(-count // across)
    width, height = (5.2, 3.9) if lines <= 10 else (8.0, 6.0)
    size = width * across, height * down
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.ravel()[count:]:
        axis.set_axis_off()
    return figure, axes.ravel()[:count]


def line_style(number, points=1):
    """The colour, dashes and marker of line `number`; they repeat after 40 lines. About eight points have a marker."""
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


def one_legend(figure, axes):
    """Adds grids to all panels, and one legend from the lines of the first."""
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)


def save(figure, path):
    """Writes the figure, whole or not at all, and closes it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
    plt.close(figure)
