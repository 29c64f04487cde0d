"""What is summed over samples, of any first part of them, without having them all in memory."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments import metrics
from experiments.blocks import Block
from experiments.build import ConfigError


class Tally(NamedTuple):
    """Of `count` samples: moments of their features, and sums [2, *D] of values and squares; either may be unknown."""

    count: int = 0
    features: metrics.Moments | None = None
    sums: np.ndarray | None = None

    def merge(self, other: "Tally") -> "Tally":
        if not self.count:
            return other
        features = self.features.merge(other.features) if self.features and other.features else None
        known = self.sums is not None and other.sums is not None
        return Tally(self.count + other.count, features, self.sums + other.sums if known else None)

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (divided by N - 1) of every value [*D], float64, in [-1, 1] where images are uint8."""
        total, squares = self.sums.astype(np.float64)
        scale, shift = (127.5, 1) if self.sums.dtype.kind == "i" else (1, 0)
        variance = (squares - total**2 / self.count) / max(self.count - 1, 1)
        return total / self.count / scale - shift, variance / scale**2

    def arrays(self) -> dict:
        """What is known, by name; of features mean and covariance, as mu and sigma."""
        found = {"count": np.int64(self.count)}
        if self.features and self.count > 1:
            found |= {"mu": self.features.mean, "sigma": self.features.covariance()}
        if self.sums is not None:
            found |= dict(zip(("pixel_mean", "pixel_variance"), self.pixels()))
        return found


def tallies(blocks: Iterable[Block], counts, frechet: metrics.Frechet | None, network: str) -> dict[int, Tally]:
    """{count: of the samples below `count`} from blocks in the order of their indices, none of which is missing.

    network: the hash of the feature network of `frechet`. Features of another one are taken anew from the images;
    ConfigError where these were not kept.
    """
    found, total = {}, Tally()
    for block in blocks:
        begin = block.indices[0]
        for count in counts:
            if begin < count <= block.indices[-1] + 1:
                found[count] = total.merge(_tally(block.first(count - begin), frechet, network))
        total = total.merge(_tally(block, frechet, network))
    return found


def _tally(block: Block, frechet, network) -> Tally:
    if frechet is None:
        return Tally(len(block.indices), None, block.sums)
    features = block.features
    if str(block.network) != network:
        if not block.has_images():
            raise ConfigError(
                "the samples have no features of this classifier, and their images were not kept: score them with the "
                "classifier they were drawn with, or draw them again with sample.keep=npz in another --workdir"
            )
        features = metrics.features(frechet.classifier, block.images)
    return Tally(len(block.indices), metrics.Moments.of(features), block.sums)
