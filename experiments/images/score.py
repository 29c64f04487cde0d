"""Scores any images against a reference: FID and related metrics, each with a passport.

    python main.py --config=configs/cifar10.py --config.experiment=score --config.images=DIR --config.reference=FILE

images: a run of `sample`, a folder or zip of images, .npz, idx or CIFAR files (experiments/data/images.py). Several,
separated by commas, are scored side by side, each also for its first `sample.scored` images. `features` chooses the
features. Those stored by a run of `sample` are used; others are kept in the workdir in blocks, so a stopped run goes
on. Writes results.json and results.csv.

`score.metrics`: more metrics than the Fréchet distance, by names of experiments/metrics/registry.py. kid,
precision_recall and sliced_wasserstein need a reference that keeps its features: make it with
--config.score.layout=pool_3.
"""

from pathlib import Path

import numpy as np

from configs.sections import Sampling, Score
from experiments import build
from experiments.build import MAKE
from experiments.data.files import write_json
from experiments.data.images import open_images
from experiments.images.sources import Source, open_source
from experiments.metrics.distances import extrapolate
from experiments.metrics.frechet import Frechet, merged
from experiments.metrics.prefixes import tallies
from experiments.metrics.registry import METRICS, Scored
from experiments.support import scores
from experiments.support.errors import ConfigError, check_known, config_errors

COLUMNS = ("scored", *scores.SCORES, "extrapolated", "images", *scores.ABOUT)


def run(config, workdir) -> list[dict]:
    workdir, own, samples = Path(workdir), build.settings(config.score, Score), build.settings(config.sample, Sampling)
    paths, wanted = several(config.images), several(own.metrics)
    if not paths:
        raise ConfigError("`score` needs images: --config.images=DIR, a run of `sample`, a folder, a zip or a file")
    frechet = build.frechet(config, "inception")
    check(wanted, frechet, own.solution)
    rows = []
    for number, path in enumerate(paths):
        with config_errors():
            source = open_source(build.find(path), frechet, workdir / f"features-{number}", own, samples)
            rows += score(source, frechet, wanted, own, samples.scored)
    lines = scores.notes(rows)
    write_json(workdir / "results.json", {"rows": rows, "notes": lines})
    scores.write_csv(workdir / "results.csv", rows, COLUMNS)
    print(scores.format_table(rows, COLUMNS[:-3], compare=False), *lines, sep="\n")
    return rows


def several(names) -> list[str]:
    """Splits names separated by commas, or a tuple of such texts."""
    text = names if isinstance(names, str) else ",".join(names)
    return [name.strip() for name in text.split(",") if name.strip()]


def check(wanted, frechet: Frechet | None, solution: str) -> None:
    """Raises ConfigError without a reference, and for metrics that the reference or the features do not allow."""
    if frechet is None:
        raise ConfigError(f"`score` compares with a reference: name its file in --config.reference=, or {MAKE}")
    missing = {}  # {need of a metric: why it is missing}
    if frechet.rows is None:
        remedy = f"{MAKE} --config.score.layout=pool_3"
        missing["reference"] = f"compares features one by one, and the reference keeps none: {remedy}"
    if frechet.space.name != "inception":
        missing["inception"] = f"is of Inception's classes, not of {frechet.space.name}: features=inception"
    if not solution:
        missing["solution"] = "is to a solution: name its images in score.solution, or leave rmse out"
    for name in wanted:
        check_known(METRICS, name, "metric of score.metrics")
        for need in METRICS[name].needs:
            if need in missing:
                raise ConfigError(f"{name} {missing[need]}")


def score(source: Source, frechet: Frechet, wanted, own: Score, scored) -> list[dict]:
    """A row of scores for each wanted count of first images; the last is for all."""
    firsts = (scored,) if isinstance(scored, int) else scored
    counts = sorted({source.count, *(count for count in firsts if count < source.count)})
    found = tallies(source.blocks, counts, frechet.space.network)
    measured, rows = measures(source, frechet, wanted, own.solution), []
    for count in counts:
        row = {"scored": str(source.path)} | frechet.score(found[count].parts)
        if own.extrapolate:
            row["extrapolated"] = extrapolated(frechet, found[count].parts)
        row |= measured(count) | {"images": count, "passport": source.passport(count)}
        rows.append(row)
    return rows


def measures(source: Source, frechet: Frechet, wanted, solution: str):
    """Makes row(count), the metrics `wanted` for the first `count` images. It reads only what they need."""
    needs = {need for name in wanted for need in METRICS[name].needs}
    given = {"params": frechet.space.params, "reference": frechet.rows}
    features = np.concatenate([block.features for block in source.blocks]) if "features" in needs else None
    if "solution" in needs:
        given |= {"images": open_images(source.path), "solution": open_images(build.find(solution))}

    def row(count: int) -> dict:
        scored = Scored(count, features=None if features is None else features[:count], **given)
        return {column: value for name in wanted for column, value in METRICS[name].row(scored).items()}

    return row


def extrapolated(frechet: Frechet, parts) -> float:
    """The distance for infinitely many images, extrapolated from those of the first half of the parts and more."""
    firsts = [merged(parts[:n]) for n in range(len(parts) // 2 or 1, len(parts) + 1)]
    return extrapolate([first.count for first in firsts], [frechet.distance(first) for first in firsts])
