"""The data that a problem's model was trained on."""

from dataclasses import dataclass

import jax
import numpy as np

import gaussian
from experiments.data import datasets, pixels
from experiments.data.arrays import Dataset
from experiments.data.blocks import read_images
from experiments.support.errors import ConfigError


@dataclass(frozen=True)
class Source:
    """The data set `name` in the folder `path`; if `images` (a path) is given, those images instead."""

    name: str
    path: str
    images: str
    seed: int  # for samples of a mixture

    def training(self) -> Dataset:
        return datasets.load(self.name, self.path)

    def points(self, problem, count: int, key: str = "ems.points") -> tuple[np.ndarray, np.ndarray]:
        """`count` samples, float32 [K, *shape] in pixels, and their labels [K] by the rule `model.labels`.

        The samples of a mixture are drawn from it. ConfigError if there are fewer; it names the `key` with the count.
        """
        rule, shape, labels = problem.rule, problem.network.shape, None
        if problem.exact is not None:
            draw = jax.jit(gaussian.sample_data, static_argnums=2)  # without jit: twenty programs
            points = np.asarray(draw(problem.exact, jax.random.key(self.seed), count))
            return points, problem.labels(np.arange(count))
        if self.images:
            images = read_images(self.images)
        else:
            images, labels, *_ = self.training()
        if labels is None or rule == "none":
            labels = problem.labels(np.arange(len(images)))
        elif rule.isdecimal():
            images, labels = images[labels == int(rule)], labels[labels == int(rule)]
        if len(images) < count or images.shape[1:] != shape:
            raise ConfigError(
                f"{key} = {count} samples of shape {shape} are wanted, there are {len(images)} of "
                f"{images.shape[1:]}: lower {key}, or give other images"
            )
        return pixels.to_float(images[:count]), labels[:count].astype(np.int32)
