"""Builds the feature network and the reference statistics of a config, which score images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from experiments.build.checkpoints import find, locate
from experiments.data.arrays import SAMPLE_RULE
from experiments.data.pixels import to_uint8
from experiments.metrics import distances, layouts
from experiments.metrics.frechet import Frechet, load_reference
from experiments.metrics.passport import passport
from experiments.metrics.spaces import SPACES, Space
from experiments.support.errors import check_known, config_errors
from experiments.support.features import features
from models import classifier as classifiers
from models.convert import inception as inception_files
from models.inception import Inception
from solvers.fingerprint import checksum_of_file

MAKE = "make it with --config.experiment=reference --config.images=IMAGES"


@dataclass(frozen=True)
class Scorer:
    """Scores samples by `frechet`, and writes the passports. labels: the rule for the labels of the samples."""

    frechet: Frechet
    labels: str

    @cached_property
    def about(self) -> dict:
        """What a passport says of the features; it hashes the weights of their network, once."""
        return self.frechet.space.about()

    def row(self, x, origin: Mapping, seed: int) -> dict:
        """The Fréchet distance of samples x [n, H, W, C] in [-1, 1], its standard error, and the passport of both.

        origin: hashes of the solver's table and statistics (Method.origin).
        """
        images = to_uint8(x)
        found = self.frechet.of_rows(features(self.frechet.space, images))
        return found | {"passport": self.passport(len(images), seed, origin)}

    def passport(self, count: int, seed: int, origin: Mapping) -> dict:
        """The passport of a score of the first `count` samples."""
        rules = {"uint8": SAMPLE_RULE, "labels": self.labels, "seed": seed}
        of = self.about, self.frechet.reference
        return passport(*of, np.arange(count), **rules, **{key: origin[key] for key in ("table", "ems")})


def space(config, default: str = "none") -> Space | None:
    """The feature space of `features`; None if samples are not scored. default: for `auto` without a classifier."""
    check_known(("auto", "none", *SPACES), config.features, "features")
    name = config.features
    if name == "auto":
        name = "classifier" if config.classifier else default
    with config_errors():
        if name == "none":
            return None
        if name == "pixels":
            return Space(name)
        if name == "classifier":
            return Space(name, *classifiers.load(find(config.classifier)))
        return Space(name, Inception(), inception_files.load(locate(config, "inception")))


def frechet(config, default: str = "none") -> Frechet | None:
    """The Fréchet distance to `reference` in the config's features; None if either is missing."""
    found = space(config, default) if config.reference else None
    if found is None:
        return None
    with config_errors():
        return read_reference(find(config.reference), found)


def scorer(config) -> Scorer | None:
    """The Scorer of the config; None without a reference or features."""
    found = frechet(config)
    return found and Scorer(found, str(config.model.labels))


def read_reference(path: Path, space: Space) -> Frechet:
    """The distance to the statistics in a file; ValueError unless they belong to this feature space."""
    found = layouts.read(path)
    mean, covariance = (found.spatial or (None, None)) if space.name == "spatial" else (found.mean, found.covariance)
    if space.name == "pixels" and not found.about:
        own = load_reference(path)
        mean, covariance = own["train_pixel_mean"], own["train_pixel_cov"]
    if mean is None:
        raise ValueError(f"{path} has no moments of {space.name} features: {MAKE}")
    mine, its = space.about(), {key: found.about.get(key, value) for key, value in space.about().items()}
    if mine != its:
        other = ", ".join(f"{key} {its[key]}, here {mine[key]}" for key in mine if mine[key] != its[key])
        raise ValueError(f"{path} is of other features: {other}. Take the network that it was made with, or {MAKE}")
    about = "weights not known"
    if found.about:
        about = f"{found.about.get('images')} images, {found.about.get('uint8')}, indices {found.about.get('indices')}"
    digest = checksum_of_file(path)[:16]
    rows = None if space.name in ("spatial", "pixels") else found.features
    return Frechet(space, distances.target(mean, covariance), f"{digest} ({about})", rows)
