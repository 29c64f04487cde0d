"""Measures what a network learns first: the share of its score that closed forms explain, in snapshots of training.

    python main.py --config=configs/fashion_mnist.py --config.experiment=train --config.train.snapshots=40 \
        --workdir=runs/snapshots
    python main.py --config=configs/learning.py --config.learning.run=runs/snapshots

It compares the network (without label) with a Gaussian, a mixture with a Gaussian for each class, a k-means mixture and
the training data themselves ("delta"), on noised training and test images, at the noise levels `learning.sigmas` (arXiv
2412.09726; "explained" as in gaussian/analysis.py). All snapshots see the same noised images. The result of each is a
file of `measured/`, so a run after a kill, or after more training, measures only what is new. Writes results.csv (a row
per snapshot, images, sigma and closed form), summary.csv, results.json and learning.png.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

import gaussian
import models
from configs.sections import Learning, Sampling
from experiments import build
from experiments.data import files, pixels
from experiments.data.progress import Progress
from experiments.metrics.threads import one_thread
from experiments.structure import course, curves, explained
from experiments.structure.course import DELTA, GAUSSIAN, Course
from experiments.support.errors import ConfigError, config_errors
from experiments.support.kept import Kept
from experiments.support.scores import write_csv
from solvers.fingerprint import checksum, checksum_of_file

COLUMNS = ("step", "images_seen", "split", "sigma", "name", *(k + end for k in explained.KINDS for end in ("", "_se")))


def run(config, workdir) -> dict:
    workdir, own = Path(workdir), build.settings(config.learning, Learning)
    snapshots, config = find_snapshots(own.run), config.copy_and_resolve_references()
    config.model.checkpoint = str(next(iter(snapshots.values())))  # one network for all: it is compiled once
    with config_errors():
        problem = build.problem(config, guidance=False, basis="pixels")
        batch = build.settings(config.sample, Sampling).batch
        found = measure_all(problem, own, snapshots, workdir / "measured", batch)

    rows, summary, verdicts = course.rows(found), course.curves(found), course.verdicts(found)
    write_csv(workdir / "results.csv", rows, COLUMNS)
    write_csv(workdir / "summary.csv", summary, tuple(summary[0]))
    results = {"verdicts": verdicts, "summary": summary, "rows": rows}
    files.write_json(workdir / "results.json", results)
    curves.plot_learning(workdir / "learning.png", rows)
    print(course.text(verdicts))
    return results


def find_snapshots(folder) -> dict[int, Path]:
    """{step: file} of a training run that kept snapshots, in the order of steps; ConfigError if there are none."""
    command = "train with --config.experiment=train --config.train.snapshots=40"
    if not folder:
        raise ConfigError(f"learning.run is empty: give the workdir of a training run with snapshots; {command}")
    paths = sorted((build.find(folder) / "snapshots").glob("*.npz"))
    if len(paths) < 2:
        raise ConfigError(f"{build.find(folder)} holds {len(paths)} snapshots, a course of training needs 2: {command}")
    return {int(path.stem): path for path in paths}


def measure_all(problem, own, snapshots: dict[int, Path], folder: Path, batch: int) -> Course:
    """The course of training: parts in `folder` are read; the rest is measured and kept there."""
    data = problem.source.training()
    used = {key: value for key, value in asdict(own).items() if key != "run"}
    used |= {"schedule": repr(problem.schedule), "dtype": problem.dtype, "seed": problem.seed}
    used |= {"data": checksum(data.train, data.labels, data.test)}
    kept = {step: Kept(folder, used | {"snapshot": checksum_of_file(path)}) for step, path in snapshots.items()}
    found = {step: kept[step].read(f"{step:08d}") for step in snapshots}
    if missing := {step: path for step, path in snapshots.items() if found[step] is None}:
        closed = closed_forms(data.train, data.labels, own.components, own.rank)
        points = explained.make_splits(problem, data, own.sigmas, own.images)
        for step, values, seen in measure(problem, closed, points, missing, batch):
            kept[step].write(f"{step:08d}", values, [seen])
            found[step] = values, [seen]
    values = {split: np.stack([arrays[split] for arrays, _ in found.values()]) for split in explained.SPLITS}
    return Course(list(found), [seen for _, (seen,) in found.values()], [float(s) for s in own.sigmas], values)


def closed_forms(images, labels, components: int, rank: int | None) -> dict:
    """{name: mixture} fitted to uint8 images [n, *shape] and their labels [n], in the order of a Course."""
    x = pixels.to_float(images)
    fits = {
        GAUSSIAN: lambda: gaussian.fit_gaussian(x),
        "classes": lambda: gaussian.fit_classes(x, labels),
        "kmeans": lambda: gaussian.fit_mixture(x, components, rank),
        DELTA: lambda: gaussian.delta(x),
    }
    with one_thread(x[0].size):
        return {name: fit() for name, fit in Progress(fits.items(), desc="fit")}


def measure(problem, closed: dict, points: dict, snapshots: dict, batch: int) -> Iterator[tuple[int, dict, int]]:
    """Yields (step, {split: values as in a Course}, images seen) of each snapshot {step: file}.

    points: {split: Points}. Closed forms {name: mixture} are evaluated once for all snapshots.
    """
    network, mean = problem.network, closed[GAUSSIAN].means[0].reshape(closed[GAUSSIAN].shape)
    work = sum(len(at.sigmas) * len(at.images) for at in points.values()) * (len(closed) + len(snapshots))
    with Progress(total=work, desc="explained variance", unit="point") as bar:
        outputs = partial(explained.outputs, batch=batch, progress=bar.update)
        form = explained.closed_form(gaussian.posterior_mean)
        function = explained.network_function(network, problem.schedule)
        theirs = {split: [outputs(form, mixture, at) for mixture in closed.values()] for split, at in points.items()}
        for step, path in snapshots.items():
            (params, meta), values = models.load_params(path), {}
            for split, at in points.items():
                mine = outputs(function, params, at, labels=network.classes)
                whole = explained.squares(at, mine, mean)
                shares = [explained.shares(at, mine, other, whole) for other in theirs[split]]
                values[split] = np.stack(shares).astype(np.float32)
            yield step, values, int(meta["images"])
