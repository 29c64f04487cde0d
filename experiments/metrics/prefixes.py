"""Running sums over the first n samples, for several n, with one block in memory at a time."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from experiments.data.blocks import Block
from experiments.metrics.frechet import bounds, merged
from experiments.metrics.moments import Moments


class Tally(NamedTuple):
    """Sums over the first `count` samples.

    parts: the moments of the features of consecutive parts, for the jackknife; empty without features. sums [2, *D]:
    of values and of squares, None if they are not known.
    """

    count: int
    parts: Sequence[Moments] = ()
    sums: np.ndarray | None = None

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean and variance (divided by N - 1) of every value [*D], float64; uint8 is scaled to [-1, 1] first."""
        total, squares = self.sums.astype(np.float64)
        scale, shift = (127.5, 1) if self.sums.dtype.kind == "i" else (1, 0)
        variance = (squares - total**2 / self.count) / max(self.count - 1, 1)
        return total / self.count / scale - shift, variance / scale**2

    def arrays(self) -> dict:
        """All known statistics by name; mean and covariance of the features are mu and sigma."""
        found = {"count": np.int64(self.count)}
        if self.parts and self.count > 1:
            features = merged(self.parts)
            found |= {"mu": features.mean, "sigma": features.covariance()}
        if self.sums is not None:
            found |= dict(zip(("pixel_mean", "pixel_variance"), self.pixels()))
        return found


def tallies(blocks: Iterable[Block], counts: Sequence[int], network: str | None, features=None) -> dict[int, Tally]:
    """{count: Tally of the samples below `count`}, from blocks in the order of their indices, without gaps.

    network: the hash of the feature network, None for no features. If a block has features of another network,
    features(images) -> [n, F] computes them again; ValueError if its images were not kept.
    """
    last = max(counts)
    cuts = list(pairwise(sorted(set().union(*map(bounds, counts)))))
    moments, sums = {}, {}
    for block in blocks:
        begin, end = int(block.indices[0]), min(int(block.indices[-1]) + 1, last)
        if begin >= last:
            break
        for count in (count for count in counts if begin < count):
            more = block.first(min(count, end) - begin).sums
            before = sums.get(count, 0)
            sums[count] = None if more is None or before is None else before + more
        rows = None if network is None else _rows(block.first(end - begin), network, features)
        for start, stop in () if rows is None else cuts:
            more = rows[max(start - begin, 0) : max(stop - begin, 0)]
            if len(more):
                more = Moments.of(more)
                moments[start] = moments[start].merge(more) if start in moments else more
    return {count: Tally(count, _parts(moments, bounds(count)), sums[count]) for count in counts}


def _parts(moments: dict, edges: Sequence[int]) -> list[Moments]:
    """Merges moments of finer intervals, {lower edge: moments}, into those between `edges`."""
    return [merged([moments[at] for at in moments if a <= at < b]) for a, b in pairwise(edges)] if moments else []


def _rows(block: Block, network, features) -> np.ndarray:
    if str(block.network) == network:
        return block.features
    if not block.has_images():
        raise ValueError(
            "the samples have no features of this network, and their images were not kept: score them with the "
            "features they were drawn with, or draw them again with sample.keep=npz in another --workdir"
        )
    return features(block.images)
