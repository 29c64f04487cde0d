"""Any number of images with one solver, in blocks: stopped at any moment and started again, it goes on where it was.

    python main.py --config=configs/fashion_mnist.py --config.experiment=sample --config.nfe=10 \\
        --config.sample.count=50000

Sample i is the same image whatever the count, the batch, the devices and the processes. Writes samples/*.npz (images
uint8 NHWC, indices, labels, features; see blocks.py), statistics.npz (mean and covariance of features, mean and
variance of pixels), grid.png of the first images and results.json. More samples, or other `sample.scored`, add to
what is there. Several processes, of which the first writes: see `distributed` in configs/default.py.
"""

from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.build.published import published_column, published_note
from experiments.build.schedules import build_indices, build_solver
from experiments.data import files
from experiments.data.blocks import SHOWN
from experiments.data.progress import Progress
from experiments.ems.points import load_data
from experiments.images.case import build_case, make_fill, passport_of
from experiments.metrics.prefixes import tallies
from experiments.sampling.store import Blocks
from experiments.support import plots
from experiments.support import scores as report
from experiments.support.errors import ConfigError
from experiments.support.processes import together
from solvers import npz


def run(config, workdir) -> list[dict]:
    workdir, first = Path(workdir), jax.process_index() == 0
    counts, case = build_counts(config), build_case(config, workdir)
    blocks, missing = None, np.zeros(counts[-1], bool)
    with together():
        if first:  # of several processes, it alone reads and writes samples
            blocks = Blocks(workdir, case.settings, case.network.shape, config.sample.keep)
            missing[blocks.missing(counts[-1])] = True
            report.write_config(workdir / "config.json", config)
    missing = np.flatnonzero(multihost_utils.broadcast_one_to_all(missing))
    seconds = draw_missing(case, missing, blocks)
    row = {"solver": case.solver, "nfe": case.rows, "teleport": case.start, "seconds": seconds}
    row["images_per_second"] = seconds and len(missing) / seconds
    row |= published_column(config, build_solver(config)[0], case.rows)
    rows = []
    with together():
        if first:
            rows = [row | score for score in score_all(blocks, counts, case.frechet, workdir)]
            write(workdir, rows, blocks, config, case.network)
    return rows


def build_counts(config) -> list[int]:
    """The numbers of samples that are scored: the first so many; at last, of all that are wanted."""
    count = len(build_indices(config))
    scored = config.sample.scored
    counts = {count, *((scored,) if isinstance(scored, int) else scored)}
    if min(counts) < 1 or max(counts) > count:
        raise ConfigError(f"sample.scored must be from 1 to sample.count = {count}, got {scored}")
    return sorted(counts)


def draw_missing(case, missing, blocks) -> float | None:
    """Draws samples `missing` into `blocks`, which only the first process has; seconds without compilation."""
    if not len(missing):
        return None
    count, fill = case.config.sample.count, make_fill(case)
    shown = {"desc": "sample", "unit": "image", "hidden": blocks is None}
    with Progress(total=count, initial=count - len(missing), **shown) as bar:
        return fill(missing, blocks, bar.update)


def score_all(blocks, counts, frechet, workdir) -> list[dict]:
    """For each of `counts`, how far the first so many samples are from the data; statistics.npz of all."""
    found = tallies(blocks, counts, frechet and frechet.space)
    npz.write(workdir / "statistics.npz", found[counts[-1]].arrays())
    rows = [{"images": count} for count in counts]
    for row, tally in zip(rows, map(found.get, counts)) if frechet else ():
        row |= frechet.score(tally.parts) | {"passport": passport_of(frechet, blocks.settings, tally.count)}
    return rows


def write(workdir: Path, rows, blocks, config, network) -> None:
    """results.json, grid.png, and the rows on the screen; points, not images, are drawn over the data."""
    files.write_json(workdir / "results.json", {"rows": rows, "settings": blocks.settings})
    if len(network.shape) == 3:
        plots.plot_samples(workdir / "grid.png", first_images(blocks, SHOWN))
    else:
        panel = [("data", load_data(config, network, config.ems.points)[0])]
        panel.append((rows[-1]["solver"], first_images(blocks, 10_000)))
        plots.plot_scatter(workdir / "grid.png", {f"{rows[-1]['nfe']} network evaluations": panel})
    columns = ("solver", "nfe", "teleport", *report.SCORES, "images", "seconds", "images_per_second", "published")
    print(report.format_table(rows, columns, compare=False))
    for line in (*report.notes(rows), *published_note(config, rows)):
        print(line)


def first_images(blocks, count: int) -> np.ndarray:
    parts = []
    for block in blocks:
        parts.append(block.images)
        if sum(map(len, parts)) >= count:
            break
    return np.concatenate(parts)[:count]
