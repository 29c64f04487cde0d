"""Where images that are scored come from, with their features: a run of `sample`, any other images, a data set."""

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
    """Images to be scored, `count` of them in `blocks` with their features; passport(n): of a score of the first n."""

    path: Path
    blocks: Iterable[Block]
    count: int
    passport: Callable


def open_source(path: Path, frechet: Frechet, folder: Path, own: Score, samples: Sampling) -> Source:
    """A run of `sample` with the features that it has, if they are of this space; else with those taken now."""
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
    """The training set of a data set that is called `name`."""
    count, *shape = data.train.shape
    return Images(name, [Part(count, tuple(shape), lambda: data.train.__getitem__, data.rule, labels=data.labels)])
