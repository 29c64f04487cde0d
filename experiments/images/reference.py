"""The statistics of a data set that distances are to, in any of the layouts that other codes read.

    python main.py --config=configs/cifar10.py --config.experiment=reference --config.images=cifar-10.zip
    python main.py --config=configs/cifar10.py --config.experiment=reference --config.images=FOLDER \\
        --config.score.layout=pool_3                     # keeps the features, which KID, precision and recall need

images: see experiments/data/images.py; empty: the training set of `data`. Features by `features`, kept in the workdir
in blocks, so that a run that was stopped goes on. Writes reference.npz (.pkl for EDM2's layout), to be named by
`reference`, with a note of what it was made with: a distance to it in other features is refused.
"""

from pathlib import Path

import numpy as np

from experiments.build.checkpoints import find
from experiments.build.scoring import build_space
from experiments.data import fashion_mnist as data
from experiments.data.images import open_images
from experiments.metrics import layouts as statistics
from experiments.metrics.frechet import merged
from experiments.metrics.layouts import LAYOUTS, Statistics
from experiments.metrics.passport import span
from experiments.metrics.prefixes import tallies
from experiments.metrics.spaces import Space
from experiments.sampling.features import gather
from experiments.support import scores as report
from experiments.support.errors import ConfigError, check_known, config_errors

SPATIAL = ("mu_s, sigma_s", "arr_0")


def run(config, workdir) -> Path:
    workdir, layout = Path(workdir), config.score.layout
    check_known(LAYOUTS, layout, "score.layout")
    space = build_space(config)
    if space is None or space.name == "spatial":
        raise ConfigError(f"features={config.features} makes no reference: take inception, classifier or pixels")
    source = find(config.images) if config.images else data.find("train-images-idx3-ubyte", config.data.path)
    report.write_config(workdir / "config.json", config)
    with config_errors():
        images = open_images(source)
        about = space.about() | {"images": len(images), "indices": span(images.indices), "uint8": images.rule}
        found, rows = moments_of(images, source, space, workdir / "features", config, layout == "pool_3")
        spatial = None
        if layout in SPATIAL:
            second = space._replace(name="spatial")
            spatial, _ = moments_of(images, source, second, workdir / "spatial", config)
        made = Statistics(*found, spatial, rows, len(images), about)
        path = workdir / ("reference.pkl" if layout == "edm2" else "reference.npz")
        pixels = images[np.arange(len(images))] if layout == "arr_0" else None
        statistics.write(path, made, layout, images=pixels)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    print(f"moments of {len(found[0])} features: --config.reference={path}")
    return path


def moments_of(images, source, space: Space, folder, config, keep=False) -> tuple[tuple, np.ndarray | None]:
    """(mean, covariance) of the features of all images, and the features themselves, if they are to be kept."""
    if len(images) < 2:
        raise ValueError(f"a covariance is of at least 2 images, {source} has {len(images)}: give more")
    blocks = gather(images, source, space, folder, config.score.batch, config.sample.block)
    total = merged(tallies(blocks, [len(images)], space)[len(images)].parts)
    rows = np.concatenate([block.features for block in blocks]) if keep else None
    return (total.mean, total.covariance()), rows
