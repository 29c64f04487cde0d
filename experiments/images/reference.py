"""Computes the reference statistics of a data set, for distances, in any of the layouts that other codes read.

    python main.py --config=configs/cifar10.py --config.experiment=reference --config.images=cifar-10.zip
    python main.py --config=configs/cifar10.py --config.experiment=reference --config.images=FOLDER \\
        --config.score.layout=pool_3                     # keeps the features, which KID, precision and recall need

images: see experiments/data/images.py; empty: the training set of the data set `data`. `features` chooses the features.
They are kept in the workdir in blocks, so a stopped run goes on. Writes reference.npz (.pkl for EDM2's layout), the
value for `reference`. A note in it names the features, and a distance to it in other features is refused.
"""

from functools import partial
from pathlib import Path

import numpy as np

from configs.sections import Sampling, Score
from experiments import build
from experiments.data import datasets
from experiments.data.images import Images, open_images
from experiments.images.sources import training_images
from experiments.metrics import layouts
from experiments.metrics.frechet import merged
from experiments.metrics.layouts import LAYOUTS, Statistics
from experiments.metrics.passport import span
from experiments.metrics.prefixes import tallies
from experiments.metrics.spaces import Space
from experiments.sampling import Blocks, gather, stamp
from experiments.support.errors import ConfigError, check_known, config_errors
from solvers.fingerprint import fingerprint

SPATIAL = ("mu_s, sigma_s", "arr_0")  # the layouts that also have moments of spatial features


def run(config, workdir) -> Path:
    workdir, own, samples = Path(workdir), build.settings(config.score, Score), build.settings(config.sample, Sampling)
    check_known(LAYOUTS, own.layout, "score.layout")
    space = build.space(config, "inception")
    if space is None or space.name == "spatial":
        raise ConfigError(f"features={config.features} makes no reference: take inception, classifier or pixels")
    with config_errors():
        images, source = find_images(config.images, config.data.name, config.data.path)
        about = space.about() | {"images": len(images), "indices": span(images.indices), "uint8": images.rule}
        features = partial(gather, images, source, batch=own.batch, block=samples.block)
        blocks, spatial = features(space, workdir / "features"), None
        moments = moments_of(blocks, len(images), space)
        if own.layout in SPATIAL:
            second = space._replace(name="spatial")
            spatial = moments_of(features(second, workdir / "spatial"), len(images), second)
        rows = np.concatenate([block.features for block in blocks]) if own.layout == "pool_3" else None
        path = workdir / ("reference.pkl" if own.layout == "edm2" else "reference.npz")
        pixels = images[np.arange(len(images))] if own.layout == "arr_0" else None
        layouts.write(path, Statistics(*moments, spatial, rows, len(images), about), own.layout, images=pixels)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    print(f"moments of {len(moments[0])} features: --config.reference={path}")
    return path


def find_images(path: str, name: str, folder: str) -> tuple[Images, str]:
    """The images at `path`, else the training set of the data set `name`; and a text that identifies them."""
    if path:
        found = build.find(path)
        images, source = open_images(found), stamp(found)
    else:
        data = datasets.load(name, folder)
        images, source = training_images(data, name), fingerprint(data.train)
    if len(images) < 2:
        raise ValueError(f"a covariance is of at least 2 images, {path or name} has {len(images)}: give more")
    return images, source


def moments_of(blocks: Blocks, count: int, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """The mean and covariance of the features of all images."""
    total = merged(tallies(blocks, [count], space.network)[count].parts)
    return total.mean, total.covariance()
