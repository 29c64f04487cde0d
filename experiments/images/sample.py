"""Samples any number of images with one solver, in blocks. After a stop at any moment, a new start goes on.

    python main.py --config=configs/fashion_mnist.py --config.experiment=sample --config.nfe=10 \\
        --config.sample.count=50000

Sample i is the same image for any count, batch, devices and processes. Writes samples/*.npz (images uint8 NHWC,
indices, labels, features; see data/blocks.py), statistics.npz (mean and covariance of features, mean and variance of
pixels), grid.png of the first images and results.json. More samples, or other `sample.scored`, add to existing files.
Several processes can share the work, and the first writes: see `distributed` in the config.
"""

from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from configs.sections import Ems, Sampling
from experiments import build, ems
from experiments.data.blocks import SHOWN
from experiments.data.files import write_json
from experiments.data.progress import Progress
from experiments.images.case import Case, first_images, make_case, make_fill, score_all
from experiments.sampling import Blocks
from experiments.support import plots, scores
from experiments.support.errors import ConfigError
from experiments.support.processes import together

COLUMNS = ("solver", "nfe", "teleport", *scores.SCORES, "images", "seconds", "images_per_second", "published")


def run(config, workdir) -> list[dict]:
    workdir, first = Path(workdir), jax.process_index() == 0
    own, own_ems = build.settings(config.sample, Sampling), build.settings(config.ems, Ems)
    counts, problem, published = counts_of(own), build.problem(config), build.published_numbers(config)
    statistics = ems.find_ems(problem, own_ems, workdir, [build.solver(config)])
    case = make_case(problem, build.chosen(config, problem, statistics), build.scorer(config), own)

    blocks, missing = None, np.zeros(own.count, bool)
    with together():
        if first:  # only the first process reads and writes samples
            blocks = Blocks(workdir, case.settings, problem.network.shape, own.keep)
            missing[blocks.missing(own.count)] = True
    missing = np.flatnonzero(multihost_utils.broadcast_one_to_all(missing))
    seconds = draw_missing(case, missing, blocks)
    row = case.method.row() | {"seconds": seconds, "images_per_second": seconds and len(missing) / seconds}
    row |= published.column(build.solver(config)[0], case.method.nfe)

    rows = []
    with together():
        if first:
            rows = [row | score for score in score_all(blocks, counts, case.scorer, workdir)]
            write_json(workdir / "results.json", {"rows": rows, "settings": blocks.settings})
            plot(workdir / "grid.png", case, blocks, own_ems.points)
            table = scores.format_table(rows, COLUMNS, compare=False)
            print(table, *scores.notes(rows), *published.note(rows), sep="\n")
    return rows


def counts_of(own: Sampling) -> list[int]:
    """The numbers n for which the first n samples are scored; the last is the count of all."""
    counts = {own.count, *((own.scored,) if isinstance(own.scored, int) else own.scored)}
    if max(counts) > own.count:
        raise ConfigError(f"sample.scored must be at most sample.count = {own.count}, got {own.scored}: lower it")
    return sorted(counts)


def draw_missing(case: Case, missing, blocks: Blocks | None) -> float | None:
    """Draws samples `missing` into `blocks` (None except on the first process); seconds without compilation."""
    if not len(missing):
        return None
    count, fill = case.own.count, make_fill(case)
    shown = {"desc": "sample", "unit": "image", "hidden": blocks is None}
    with Progress(total=count, initial=count - len(missing), **shown) as bar:
        return fill(missing, blocks, bar.update)


def plot(path, case: Case, blocks: Blocks, points: int) -> None:
    """Draws the first images. Samples that are not images are drawn as points over `points` points of the data."""
    if len(case.problem.network.shape) == 3:
        plots.plot_samples(path, first_images(blocks, SHOWN))
        return
    panel = [("data", case.problem.source.points(case.problem, points)[0])]
    panel.append((case.method.label, first_images(blocks, 10_000)))
    plots.plot_scatter(path, {f"{case.method.nfe} network evaluations": panel})
