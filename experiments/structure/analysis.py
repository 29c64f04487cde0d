"""How much of a network's score closed forms explain, by noise level, on training and on test images.

What is measured is explained in gaussian/analysis.py and experiments/structure/explained.py, what is written in
configs/score_analysis.py. Every closed form's rows are a file of `parts/` as soon as they are there; a run with the
same settings, network and data reads them.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gaussian
from experiments.build.checkpoints import locate
from experiments.build.network import build_model
from experiments.build.schedules import build_schedule
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.structure import explained
from experiments.structure import plots as plots_of_scores
from experiments.structure import summary as score_summary
from experiments.structure.published import PUBLISHED
from experiments.support import scores as report
from experiments.support.errors import ConfigError, config_errors
from solvers import fingerprint

EXACT = gaussian.posterior_mean
EXPANSIONS = {
    f"expansion {order}{' regularised' * regularised}": partial(
        gaussian.expanded_mean, order=order, regularised=regularised
    )
    for regularised in (False, True)
    for order in (1, 2)
}
BATCH = 256  # of closed forms, which take little memory for a sample but read all of theirs for every batch
COLUMNS = ("images", "name", "family", "components", "rank", "sigma")
COLUMNS += tuple(kind + end for kind in explained.KINDS for end in ("", "_se"))
COLUMNS += tuple(f"published_{name}_{kind}" for name, kind in PUBLISHED)


class Form(NamedTuple):
    """A closed form: its place in the tables, and `build() -> (mixture, function(mixture, x, alpha, sigma))`."""

    name: str
    family: str  # main, rank, rank without floor, mixture
    components: int
    rank: int
    build: Callable


def run(config, workdir) -> dict:
    workdir, c = Path(workdir), config.score_analysis
    report.write_config(workdir / "config.json", config)
    network = build_model(config, guidance=False)
    with config_errors():
        train, labels, test, *_ = datasets.load(config.data.name, config.data.path)
    if train.shape[1:] != network.shape:
        raise ConfigError(f"images are {train.shape[1:]}, the network's {network.shape}: name its data set in data")
    x, parts = (
        explained.aligned(pixels.to_float(train)),
        Parts(workdir / "parts", settings(config, train, labels, test)),
    )
    images = {"train": x[: c.images], "test": pixels.to_float(test[: c.images])}
    mean = x.mean(axis=0, dtype=np.float64)
    rows = measure(config, network, images, mean, closed_forms(c, x, labels), parts)
    found = {"rows": rows, **score_summary.summary(rows, c.share)}
    report.write_csv(workdir / "results.csv", rows, COLUMNS)
    files.write_json(workdir / "results.json", found)
    plots_of_scores.plot_scores(workdir / "scores.png", rows)
    plots_of_scores.plot_sweeps(workdir / "sweeps.png", rows)
    plots_of_scores.plot_table(workdir / "table.png", rows)
    print(score_summary.text(found, c.share))
    return found


class Parts(NamedTuple):
    """The rows of one closed form after the other, a file each, with the settings that they hold for."""

    folder: Path
    settings: dict

    def path(self, name: str) -> Path:
        return self.folder / f"{files.slug(name)}.json"

    def read(self, name: str) -> list[dict] | None:
        path = self.path(name)
        found = json.loads(path.read_text()) if path.is_file() else {}
        return found["rows"] if found.get("settings") == self.settings else None

    def write(self, name: str, rows):
        files.write_json(self.path(name), {"settings": self.settings, "rows": rows})


def settings(config, *arrays) -> dict:
    """All that rows depend on, as JSON holds it."""
    own = {key: config[key].to_dict() for key in ("score_analysis", "schedule", "model", "mixture")}
    if config.model.name != "mixture" and (path := locate(config)).is_file():
        own["parameters"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return json.loads(json.dumps(own | {"seed": config.sample.seed, "data": fingerprint.checksum(*arrays)}))


def closed_forms(c, x, labels) -> list[Form]:
    """All of them, for data x [N, *D] with labels [N]. Nothing is fitted before a form is built."""
    dim, fit = x[0].size, cache(partial(gaussian.fit_gaussian, x))
    kept = {}

    def kmeans(count, rank):
        # Forms of one k-means follow each other: the last fit is kept, and gone before there is the next.
        if count not in kept:
            kept.clear()
            kept[count] = gaussian.fit_mixture(x, count, rank)
        return kept[count]

    def main(name, components, rank, mixture, function=EXACT):
        return Form(name, "main", components, rank, lambda: (mixture(), function))

    def lower(family, name, components, rank, mixture, floor=True):
        return Form(
            f"{name}, rank {rank}{', no floor' * (not floor)}",
            family,
            components,
            rank,
            lambda: (gaussian.truncate(mixture(), rank, floor), EXACT),
        )

    forms = [
        main("isotropic (mean)", 1, 0, lambda: gaussian.isotropic(fit(), variance=False)),
        main("isotropic (mean, std)", 1, 0, lambda: gaussian.isotropic(fit())),
        main("Gaussian", 1, dim, fit),
        main("Gaussian + 1e-4", 1, dim, lambda: gaussian.regularise(fit(), 1e-4)),
        *(main(name, 1, dim, fit, function) for name, function in EXPANSIONS.items()),
        main("classes", int(labels.max()) + 1, dim, lambda: gaussian.fit_classes(x, labels)),
    ]
    for rank in sorted({min(rank, dim) for rank in c.ranks}):
        forms += [
            lower("rank", "Gaussian", 1, rank, fit),
            lower("rank without floor", "Gaussian", 1, rank, fit, floor=False),
        ]
    for count in c.components:
        top = min(dim, max(1, c.directions // count))
        mixture = partial(kmeans, count, top)
        forms.append(main(f"k-means {count}", count, top, mixture))
        for rank in sorted({min(rank, top) for rank in c.mixture_ranks} - {top}):
            forms.append(lower("mixture", f"k-means {count}", count, rank, mixture))
    return [*forms, main("delta", len(x), 0, lambda: gaussian.delta(x))]


def measure(config, network, images: dict, mean, forms, parts: Parts) -> list[dict]:
    """The rows of all forms at images {split: [n, *D]}: those that `parts` has, and the others, kept there now.

    The network is evaluated once for all forms, without label.
    """
    c, schedule = config.score_analysis, build_schedule(config)
    rows = {form.name: parts.read(form.name) for form in forms}
    missing = [form for form in forms if rows[form.name] is None]
    if not missing:
        return [row for found in rows.values() for row in found]
    points = {split: explained.make_points(x, c.sigmas, schedule, config.sample.seed) for split, x in images.items()}
    work = len(c.sigmas) * sum(map(len, images.values())) * (1 + len(missing))
    with Progress(total=work, desc="network", unit="point", unit_scale=True) as bar:
        run = partial(explained.outputs, batch=config.sample.batch, progress=bar.update)
        function = explained.network_function(network, schedule)
        mine = {split: run(function, network.params, at, labels=network.classes) for split, at in points.items()}
        whole = {split: explained.squares(at, mine[split], mean) for split, at in points.items()}
        for form in missing:
            bar.set_description(form.name)
            mixture, function = form.build()
            evaluate, found = explained.closed_form(function), []
            for split, at in points.items():
                # Not in a variable: the outputs of one split are gone when those of the next are made.
                got = explained.compare(
                    at, mine[split], run(evaluate, mixture, at, batch=BATCH), form.name, whole[split]
                )
                found += [described(form, split, row) for row in got]
            parts.write(form.name, found)
            rows[form.name] = found
            del mixture  # before the next is fitted
    return [row for found in rows.values() for row in found]


def described(form: Form, split: str, row: dict) -> dict:
    """The row with what its form is, and on training images with the published numbers of a form of this name."""
    published = {
        f"published_{name}_{kind}": table.get(form.name, {}).get(row["sigma"]) if split == "train" else None
        for (name, kind), table in PUBLISHED.items()
    }
    place = {"images": split, "family": form.family, "components": form.components, "rank": form.rank}
    return place | row | published
