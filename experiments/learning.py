"""What a network learns first: how much of its score closed forms explain, snapshot by snapshot of its training.

    python main.py --config=configs/fashion_mnist.py --config.experiment=train --config.train.snapshots=40 \
        --workdir=runs/snapshots
    python main.py --config=configs/learning.py --config.learning.run=runs/snapshots

Beside the network (without label) stand a Gaussian, a mixture with a Gaussian for each class, a k-means mixture and the
training data themselves ("delta"), on noised training images and on noised test images, at the noise levels
`learning.sigmas` (arXiv 2412.09726; "explained" as in gaussian/analysis.py). All snapshots see the same noised images.
The rows of each are a file of `measured/`: a run that is killed, or started again when training has gone on, measures
what is new only. Writes results.csv (a row per snapshot, images, sigma and closed form), summary.csv, results.json and
learning.png.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

from tqdm import tqdm

import gaussian
import models
from experiments import data, explained, learning_summary, plots_of_learning, report
from experiments.build import ConfigError, build_schedule, config_errors, find
from experiments.build_model import build_model

COLUMNS = ("step", "images_seen", "split", "sigma", "name", *learning_summary.MEASURES)
COLUMNS += tuple(f"{name}_se" for name in learning_summary.MEASURES)


def run(config, workdir) -> dict:
    workdir, c = Path(workdir), config.learning
    report.write_config(workdir / "config.json", config)
    with config_errors():
        snapshots = find_snapshots(c.run)
        rows = measure(config, workdir / "measured", snapshots)
    rows.sort(key=lambda row: (row["split"], row["sigma"], row["name"], row["step"]))
    summary, verdicts = learning_summary.curves(rows), learning_summary.verdicts(rows)
    report.write_csv(workdir / "results.csv", rows, COLUMNS)
    report.write_csv(workdir / "summary.csv", summary, tuple(summary[0]))
    found = {"verdicts": verdicts, "summary": summary, "rows": rows}
    report.write_json(workdir / "results.json", found)
    plots_of_learning.plot_learning(workdir / "learning.png", rows)
    print(learning_summary.text(verdicts))
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


def measure(config, folder: Path, snapshots: dict[int, Path]) -> list[dict]:
    """A row per snapshot, images, sigma and closed form; those that `folder` has are read."""
    train, labels, test, _ = data.load(config.data.name, config.data.path)
    settings = settings_of(config, data.checksum(train, labels, test))
    missing = {step: path for step, path in snapshots.items() if read(folder, step, settings | identity(path)) is None}
    if missing:
        closed = closed_forms(train, labels, config.learning.components, config.learning.rank)
        images = {"train": train[: config.learning.images], "test": test[: config.learning.images]}
        for step, rows in compare(config, closed, images, missing):
            known = settings | identity(missing[step])
            report.write_json(folder / f"{step:08d}.json", {"settings": known, "rows": rows})
    return [row for step, path in snapshots.items() for row in read(folder, step, settings | identity(path))]


def settings_of(config, checksum: str) -> dict:
    """What rows depend on beside the snapshot, as JSON holds it."""
    own = {key: value for key, value in config.learning.items() if key != "run"}
    own |= {"schedule": config.schedule.to_dict(), "seed": config.sample.seed, "data_sha256": checksum}
    return json.loads(json.dumps(own))


def identity(path: Path) -> dict:
    return {"snapshot_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def read(folder: Path, step: int, settings: dict) -> list[dict] | None:
    """The rows of a snapshot measured with these settings, or None."""
    path = folder / f"{step:08d}.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return found["rows"] if found.get("settings") == settings else None


def closed_forms(images, labels, components: int, rank: int | None) -> dict:
    """{name: mixture} fitted to uint8 images [n, *shape] and their labels [n]."""
    x = data.to_float(images)
    fits = {
        learning_summary.GAUSSIAN: lambda: gaussian.fit_gaussian(x),
        "classes": lambda: gaussian.fit_classes(x, labels),
        "kmeans": lambda: gaussian.fit_mixture(x, components, rank),
        learning_summary.DELTA: lambda: gaussian.delta(x),
    }
    return {name: fit() for name, fit in tqdm(fits.items(), desc="fit", disable=None)}


def compare(config, closed: dict, images: dict, snapshots: dict):
    """Yields (step, rows). What closed forms say of the noised images is computed once, for all snapshots."""
    schedule, sigmas = build_schedule(config), config.learning.sigmas
    mean = closed[learning_summary.GAUSSIAN].means[0].reshape(next(iter(images.values())).shape[1:])
    points = {
        split: explained.make_points(data.to_float(x), sigmas, schedule, config.sample.seed)
        for split, x in images.items()
    }
    work = len(sigmas) * sum(map(len, images.values())) * (len(closed) + len(snapshots))
    with tqdm(total=work, desc="explained variance", unit="point", disable=None) as bar:
        run = partial(explained.outputs, batch=config.sample.batch, progress=bar.update)
        form = explained.closed_form(gaussian.posterior_mean)
        theirs = {(split, name): run(form, closed[name], points=points[split]) for split in points for name in closed}
        for step, params, network, meta in load(config, snapshots):
            function, rows = explained.network_function(network, schedule), []
            for split, at in points.items():
                mine = run(function, params, points=at, labels=network.classes)
                for name in closed:
                    found = explained.compare(at, mine, theirs[split, name], name, mean)
                    rows += [{"step": step, "images_seen": meta["images"], "split": split} | row for row in found]
            yield step, rows


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
