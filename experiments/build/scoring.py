"""From a config to what images are scored with: the features, and the reference that distances are to."""

import hashlib
from pathlib import Path

from experiments.build.checkpoints import find, locate
from experiments.metrics import distances as metrics
from experiments.metrics import layouts as statistics
from experiments.metrics.frechet import Frechet, load_reference
from experiments.metrics.spaces import SPACES, Space
from experiments.support.errors import ConfigError, check_known, config_errors
from models import classifier as classifiers
from models.convert import inception as inception_files
from models.inception import Inception

SCORING = ("score", "reference")  # the experiments that need features
MAKE = "make it with --config.experiment=reference --config.images=IMAGES"


def build_space(config) -> Space | None:
    """The features of `features`; None where samples are not scored."""
    check_known(("auto", "none", *SPACES), config.features, "features")
    name = config.features
    if name == "auto":
        name = "classifier" if config.classifier else "inception" if config.experiment in SCORING else "none"
    with config_errors():
        if name == "none":
            return None
        if name == "pixels":
            return Space(name)
        if name == "classifier":
            return Space(name, *classifiers.load(find(config.classifier)))
        return Space(name, Inception(), inception_files.load(locate(config, "inception")))


def build_frechet(config) -> Frechet | None:
    """The Fréchet distance to `reference` in the features of the config; None without one of them."""
    if not config.reference:
        if config.experiment == "score":
            raise ConfigError(f"`score` compares with a reference: name its file in --config.reference=, or {MAKE}")
        return None
    space = build_space(config)
    if space is None:
        return None
    with config_errors():
        return read_reference(find(config.reference), space)


def read_reference(path: Path, space: Space) -> Frechet:
    """The distance to the statistics in a file; ValueError unless they are of this space."""
    found = statistics.read(path)
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
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    rows = None if space.name in ("spatial", "pixels") else found.features
    return Frechet(space, metrics.target(mean, covariance), f"{digest} ({about})", rows)
