"""Measures how much of a network's score closed forms explain, by noise level, on training and on test images.

gaussian/analysis.py and experiments/structure/explained.py define the measures, configs/score_analysis.py lists the
outputs. The rows of each closed form go into a file of `parts/` at once, and a run with the same settings, network and
data reads them.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from configs.sections import Sampling, ScoreAnalysis
from experiments import build
from experiments.data import files, pixels
from experiments.data.progress import Progress
from experiments.structure import explained, plots, summary
from experiments.structure.forms import closed_forms
from experiments.structure.published import explained_shares
from experiments.support.errors import ConfigError, config_errors
from experiments.support.kept import Kept
from experiments.support.scores import write_csv
from solvers.fingerprint import checksum

BATCH = 256  # for closed forms: they need little memory per sample, but read all their parameters for every batch
COLUMNS = ("images", "name", "family", "components", "rank", "sigma")
COLUMNS += tuple(kind + end for kind in explained.KINDS for end in ("", "_se"))


def run(config, workdir) -> dict:
    workdir, own = Path(workdir), build.settings(config.score_analysis, ScoreAnalysis)
    problem = build.problem(config, guidance=False, basis="pixels")
    with config_errors():
        data = problem.source.training()
    if data.train.shape[1:] != problem.network.shape:
        raise ConfigError(
            f"images are {data.train.shape[1:]}, the network's {problem.network.shape}: name its data set in data"
        )
    x = explained.aligned(pixels.to_float(data.train))
    points = explained.make_splits(problem, data, own.sigmas, own.images)
    kept = Kept(workdir / "parts", identity(problem, own, data))
    batch, mean = build.settings(config.sample, Sampling).batch, x.mean(axis=0, dtype=np.float64)
    rows = measure_all(problem, points, mean, closed_forms(own, x, data.labels), kept, batch)

    found = {"rows": rows, **summary.summarise(rows, own.share)}
    published = tuple(f"published_{name}_{kind}" for name, kind in explained_shares())
    write_csv(workdir / "results.csv", rows, COLUMNS + published)
    files.write_json(workdir / "results.json", found)
    plots.plot_scores(workdir / "scores.png", rows)
    plots.plot_sweeps(workdir / "sweeps.png", rows)
    plots.plot_table(workdir / "table.png", rows)
    print(summary.text(found, own.share))
    return found


def identity(problem, own, data) -> dict:
    """Everything the rows depend on."""
    used = {key: value for key, value in asdict(own).items() if key != "share"}
    used |= problem.identity | {"dtype": problem.dtype, "seed": problem.seed}
    return used | {"data": checksum(data.train, data.labels, data.test)}


def measure_all(problem, points: dict, mean, forms, kept: Kept, batch: int) -> list[dict]:
    """The rows of all forms at points {split: Points}; rows that are not kept yet are measured and kept."""
    found = {form.name: kept.read(form.name) for form in forms}
    missing = [form for form in forms if found[form.name] is None]
    for form, rows in measure(problem, points, mean, missing, batch) if missing else ():
        kept.write(form.name, rows=rows)
        found[form.name] = {}, rows
    return [row for _, rows in found.values() for row in rows]


def measure(problem, points: dict, mean, forms, batch: int):
    """Yields (form, its rows). The network is evaluated once for all, without label; mean [*D]: of the data."""
    network, schedule = problem.network, problem.schedule
    work = sum(len(at.sigmas) * len(at.images) for at in points.values()) * (1 + len(forms))
    with Progress(total=work, desc="network", unit="point", unit_scale=True) as bar:
        outputs = partial(explained.outputs, progress=bar.update)
        own = partial(outputs, explained.network_function(network, schedule), network.params)
        mine = {split: own(at, labels=network.classes, batch=batch) for split, at in points.items()}
        whole = {split: explained.squares(at, mine[split], mean) for split, at in points.items()}
        for form in forms:
            bar.set_description(form.name)
            (mixture, function), rows = form.build(), []
            function = explained.closed_form(function)
            for split, at in points.items():
                # No variable holds the outputs, so those of one split are freed before the next are made.
                got = explained.compare(
                    at, mine[split], outputs(function, mixture, at, batch=BATCH), form.name, whole[split]
                )
                rows += [form.row(split, row) for row in got]
            del mixture  # before the next is fitted
            yield form, rows
