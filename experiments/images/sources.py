"""Sources of images to score, with their features: a run of `sample`, any other images, a data set."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from configs.sections import Sampling, Score
from experiments.build import Scorer
from experiments.data.arrays import Dataset, Part
from experiments.data.blocks import Block, finished
from experiments.data.images import Images, open_images
from experiments.metrics.frechet import Frechet
from experiments.metrics.passport import UNKNOWN, passport
from experiments.sampling import gather, stamp


class Source(NamedTuple):
    """`count` images to score, in `blocks` with their features; passport(n): the passport for the first n images."""

    path: Path
    blocks: Iterable[Block]
    count: int
    passport: Callable


def open_source(path: Path, frechet: Frechet, folder: Path, own: Score, samples: Sampling) -> Source:
    """Opens images as a Source. Features of a run of `sample` are used if they are in this space, else computed."""
    space, run = frechet.space, finished(path)
    if run and run.networks == {space.network}:
        blocks, images = run, None
    else:
        images = open_images(path)
        blocks = gather(images, stamp(path), space, folder, own.batch, samples.block)
    if run:
        scorer = Scorer(frechet, run.settings["labels"])
        return Source(path, blocks, run.count, partial(scorer.passport, seed=run.settings["seed"], origin=run.settings))
    rules = {"labels": UNKNOWN if images.labels is None else "as stored", "uint8": images.rule}
    rules |= {"table": UNKNOWN, "ems": UNKNOWN}
    about = space.about(), frechet.reference
    return Source(path, blocks, len(images), lambda count: passport(*about, images.indices[:count], **rules))


def training_images(data: Dataset, name: str) -> Images:
    """The training set of the data set `name` as Images."""
    count, *shape = data.train.shape
    return Images(name, [Part(count, tuple(shape), lambda: data.train.__getitem__, data.rule, labels=data.labels)])
