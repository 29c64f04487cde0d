"""What a network learns first: how much of its score closed forms explain, snapshot by snapshot of its training.

    python main.py --config=configs/fashion_mnist.py --config.experiment=train --config.train.snapshots=40 \
        --workdir=runs/snapshots
    python main.py --config=configs/learning.py --config.learning.run=runs/snapshots

Beside the network (without label) stand a Gaussian, a mixture with a Gaussian for each class, a k-means mixture and the
training data themselves ("delta"), on noised training images and on noised test images, at the noise levels
`learning.sigmas` (arXiv 2412.09726; "explained" as in gaussian/analysis.py). All snapshots see the same noised images.
What is measured of each is a file of `measured/`: a run that is killed, or started again when training has gone on,
measures what is new only. Writes results.csv (a row per snapshot, images, sigma and closed form), summary.csv,
results.json and learning.png.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np

import gaussian
import models
from experiments.build.checkpoints import find
from experiments.build.network import build_model
from experiments.build.schedules import build_schedule
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.metrics.threads import one_thread
from experiments.structure import course as learning_summary
from experiments.structure import curves as plots_of_learning
from experiments.structure import explained
from experiments.structure.course import DELTA, GAUSSIAN, Course
from experiments.support import scores as report
from experiments.support.errors import ConfigError, config_errors
from solvers import fingerprint
from solvers.npz import write as write_npz

COLUMNS = ("step", "images_seen", "split", "sigma", "name", *(k + end for k in explained.KINDS for end in ("", "_se")))


def run(config, workdir) -> dict:
    workdir, c = Path(workdir), config.learning
    report.write_config(workdir / "config.json", config)
    with config_errors():
        course = measure(config, workdir / "measured", find_snapshots(c.run))
    rows, summary = learning_summary.rows(course), learning_summary.curves(course)
    found = {"verdicts": learning_summary.verdicts(course), "summary": summary, "rows": rows}
    report.write_csv(workdir / "results.csv", rows, COLUMNS)
    report.write_csv(workdir / "summary.csv", summary, tuple(summary[0]))
    files.write_json(workdir / "results.json", found)
    plots_of_learning.plot_learning(workdir / "learning.png", rows)
    print(learning_summary.text(found["verdicts"]))
    return found


def find_snapshots(folder) -> dict[int, Path]:
    """{step: file} of a training run that kept snapshots, in the order of steps; ConfigError if there are none."""
    command = "train with --config.experiment=train --config.train.snapshots=40"
    if not folder:
        raise ConfigError(f"learning.run is empty: give the workdir of a training run with snapshots; {command}")
    paths = sorted((find(folder) / "snapshots").glob("*.npz"))
    if len(paths) < 2:
        raise ConfigError(f"{find(folder)} holds {len(paths)} snapshots, a course of training needs 2: {command}")
    return {int(path.stem): path for path in paths}


def measure(config, folder: Path, snapshots: dict[int, Path]) -> Course:
    """The course of training: what `folder` has of it is read, the rest measured and kept there."""
    c, (train, labels, test, *_) = config.learning, datasets.load(config.data.name, config.data.path)
    settings = settings_of(config, fingerprint.checksum(train, labels, test))
    known = {step: settings | {"snapshot_sha256": checksum(path)} for step, path in snapshots.items()}
    missing = {step: path for step, path in snapshots.items() if read(folder, step, known[step]) is None}
    if missing:
        closed = closed_forms(train, labels, c.components, c.rank)
        for step, found in compare(config, closed, {"train": train[: c.images], "test": test[: c.images]}, missing):
            notes = np.frombuffer(json.dumps(known[step]).encode(), np.uint8)
            write_npz(folder / f"{step:08d}.npz", found | {"settings": notes})
    found = [read(folder, step, known[step]) for step in snapshots]
    values = {split: np.stack([arrays[split] for arrays in found]) for split in ("train", "test")}
    return Course(list(snapshots), [int(f["images_seen"]) for f in found], [float(s) for s in c.sigmas], values)


def settings_of(config, data_sha256: str) -> dict:
    """What is measured depends on this, and on the snapshot; as JSON holds it."""
    own = {key: value for key, value in config.learning.items() if key != "run"}
    own |= {"schedule": config.schedule.to_dict(), "seed": config.sample.seed, "data_sha256": data_sha256}
    return json.loads(json.dumps(own))


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(folder: Path, step: int, settings: dict) -> dict | None:
    """The arrays measured at a snapshot with these settings, or None."""
    path = folder / f"{step:08d}.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        return dict(file) if json.loads(file["settings"].tobytes()) == settings else None


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


def compare(config, closed: dict, images: dict, snapshots: dict):
    """Yields (step, {split: values as in a Course, images_seen}). Closed forms are evaluated once for all snapshots."""
    schedule, seed = build_schedule(config), config.sample.seed
    work = len(config.learning.sigmas) * sum(map(len, images.values())) * (len(closed) + len(snapshots))
    with Progress(total=work, desc="explained variance", unit="point") as bar:
        run = partial(explained.outputs, batch=config.sample.batch, progress=bar.update)
        points, theirs, form = {}, {}, explained.closed_form(gaussian.posterior_mean)
        for split, x in images.items():
            points[split] = explained.make_points(pixels.to_float(x), config.learning.sigmas, schedule, seed)
            theirs[split] = [run(form, mixture, points[split]) for mixture in closed.values()]
        mean = closed[GAUSSIAN].means[0].reshape(closed[GAUSSIAN].shape)
        for step, params, network, meta in load(config, snapshots):
            function, found = explained.network_function(network, schedule), {"images_seen": np.array(meta["images"])}
            for split, at in points.items():
                mine = run(function, params, at, labels=network.classes)
                whole = explained.squares(at, mine, mean)
                own = [explained.shares(at, mine, other, whole) for other in theirs[split]]
                found[split] = np.stack(own).astype(np.float32)
            yield step, found


def load(config, snapshots: dict):
    """Yields (step, parameters, network, notes). One network for all, so that its programs are compiled once."""
    network = None
    for step, path in snapshots.items():
        params, meta = models.load_params(path)
        if network is None:
            own = config.copy_and_resolve_references()
            own.model.checkpoint = str(path)
            network = build_model(own, guidance=False)
        yield step, params, network, meta
