"""How far images, whatever made them, are from a reference: FID and its relatives, each with a passport.

    python main.py --config=configs/cifar10.py --config.experiment=score --config.images=DIR --config.reference=FILE

images: a run of `sample`, a folder or zip of images, .npz, idx or CIFAR files (experiments/data/images.py); several,
with commas between them, are scored side by side, and of each also the first `sample.scored`. Features by `features`;
those that a run of `sample` has are used, others are kept in the workdir, in blocks, so that a run that was stopped
goes on. Writes results.json and results.csv.

`score.metrics`, beside the Fréchet distance and its standard error:
    inception_score       of Inception's 1008 classes, without the head's bias, as is usual
    kid                   the unbiased kernel distance      these three need a reference that keeps its features:
    precision_recall      by the third neighbour            make it with --config.score.layout=pool_3
    sliced_wasserstein    between features
    rmse                  to the images of `score.solution`, index by index
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.build.checkpoints import find
from experiments.build.scoring import MAKE, build_frechet
from experiments.data import files
from experiments.data.blocks import Block, finished
from experiments.data.images import open_images
from experiments.data.pixels import to_float
from experiments.images.case import passport_of
from experiments.metrics import distances as metrics
from experiments.metrics.frechet import Frechet, merged
from experiments.metrics.passport import UNKNOWN, passport
from experiments.metrics.prefixes import tallies
from experiments.sampling.features import gather
from experiments.support import scores as report
from experiments.support.errors import ConfigError, check_known, config_errors
from models import inception

OF_FEATURES = ("kid", "precision_recall", "sliced_wasserstein")
METRICS = ("inception_score", *OF_FEATURES, "rmse")
COLUMNS = ("scored", *report.SCORES, "extrapolated", "images", *report.ABOUT)


class Source(NamedTuple):
    """Images to be scored, `count` of them in `blocks` with their features; passport(n): of a score of the first n."""

    path: Path
    blocks: Iterable[Block]
    count: int
    passport: Callable


def run(config, workdir) -> list[dict]:
    workdir, wanted = Path(workdir), several(config.score.metrics)
    if not config.images:
        raise ConfigError("`score` needs images: --config.images=DIR, a run of `sample`, a folder, a zip or a file")
    frechet = build_frechet(config)
    check(wanted, frechet, config)
    report.write_config(workdir / "config.json", config)
    rows = []
    for number, path in enumerate(several(config.images)):
        with config_errors():
            source = open_source(find(path), frechet, workdir / f"features-{number}", config)
            rows += score(source, frechet, wanted, config)
    lines = report.notes(rows)
    files.write_json(workdir / "results.json", {"rows": rows, "notes": lines})
    report.write_csv(workdir / "results.csv", rows, COLUMNS)
    print("\n".join([report.format_table(rows, COLUMNS[:-3], compare=False), *lines]))
    return rows


def several(names) -> list[str]:
    """From names with commas between them, or a tuple of such."""
    text = names if isinstance(names, str) else ",".join(names)
    return [name.strip() for name in text.split(",") if name.strip()]


def check(wanted, frechet: Frechet, config) -> None:
    """ConfigError for metrics that this reference or these features do not have."""
    for metric in wanted:
        check_known(METRICS, metric, "metric of score.metrics")
        if metric in OF_FEATURES and frechet.rows is None:
            more = f"{MAKE} --config.score.layout=pool_3"
            raise ConfigError(f"{metric} compares features one by one, and the reference keeps none: {more}")
    if "inception_score" in wanted and frechet.space.name != "inception":
        raise ConfigError(f"inception_score is of Inception's classes, not of {frechet.space.name}: features=inception")
    if "rmse" in wanted and not config.score.solution:
        raise ConfigError("rmse is to a solution: name its images in score.solution, or leave rmse out")


def open_source(path: Path, frechet: Frechet, folder: Path, config) -> Source:
    """A run of `sample` with the features that it has, if they are of this space; else with those taken now."""
    space, run = frechet.space, finished(path)
    if run and run.networks == {space.network}:
        return Source(path, run, run.count, lambda count: passport_of(frechet, run.settings, count))
    images = open_images(path)
    blocks = gather(images, path, space, folder, config.score.batch, config.sample.block)
    if run:
        return Source(path, blocks, run.count, lambda count: passport_of(frechet, run.settings, count))
    rules = {"labels": UNKNOWN if images.labels is None else "as stored", "uint8": images.rule}
    rules |= {"table": UNKNOWN, "ems": UNKNOWN}
    about = space.about(), frechet.reference
    return Source(path, blocks, len(images), lambda count: passport(*about, images.indices[:count], **rules))


def score(source: Source, frechet: Frechet, wanted, config) -> list[dict]:
    """A row for each count of first images that is wanted; the last is of all."""
    counts = sorted({source.count, *(n for n in counts_in(config.sample.scored) if n < source.count)})
    found, rows = tallies(source.blocks, counts, frechet.space), []
    features = np.concatenate([block.features for block in source.blocks]) if set(wanted) - {"rmse"} else None
    for count in counts:
        parts = found[count].parts
        row = {"scored": str(source.path)} | frechet.score(parts)
        if config.score.extrapolate:
            row["extrapolated"] = extrapolated(frechet, parts)
        row |= more(wanted, None if features is None else features[:count], frechet)
        if "rmse" in wanted:
            row |= rmse(source.path, find(config.score.solution), count)
        rows.append(row | {"images": count, "passport": source.passport(count)})
    return rows


def counts_in(scored) -> tuple:
    return (scored,) if isinstance(scored, int) else tuple(scored)


def extrapolated(frechet: Frechet, parts) -> float:
    """The distance of infinitely many images, from those of the first half of the parts, and of more of them."""
    firsts = [merged(parts[:n]) for n in range(len(parts) // 2 or 1, len(parts) + 1)]
    return metrics.extrapolate([first.count for first in firsts], [frechet.distance(first) for first in firsts])


def more(wanted, features, frechet: Frechet) -> dict:
    """The metrics of features [N, F] beyond their moments, with standard errors where they have any."""
    row = {}
    if "inception_score" in wanted:
        found = metrics.inception_score(np.asarray(inception.logits(frechet.space.params, features)))
        row |= dict(zip(("inception_score", "inception_score_se"), found))
    if "kid" in wanted:
        row |= dict(zip(("kid", "kid_se"), metrics.kid(features, frechet.rows)))
    if "precision_recall" in wanted:
        row |= dict(zip(("precision", "recall"), metrics.precision_recall(frechet.rows, features)))
    if "sliced_wasserstein" in wanted:
        row["sliced_wasserstein"] = metrics.sliced_wasserstein(features, frechet.rows)
    return row


def rmse(path: Path, solution: Path, count: int) -> dict:
    """Root mean square over the first `count` images of the difference to a solution's, of pixels in [-1, 1]."""
    ours, theirs = open_images(path), open_images(solution)
    if ours.shape != theirs.shape or not np.array_equal(ours.indices[:count], theirs.indices[:count]):
        there, here = (f"{len(images)} images of {images.shape}" for images in (theirs, ours))
        raise ValueError(f"{solution} has {there}, {path} {here}: rmse is of the same samples by another solver")
    total = 0.0
    for start in range(0, count, 256):
        rows = np.arange(start, min(start + 256, count))
        total += np.square(to_float(ours[rows]).astype(np.float64) - to_float(theirs[rows])).sum()
    return {"rmse_to_solution": float(np.sqrt(total / count / np.prod(ours.shape)))}
