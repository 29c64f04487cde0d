"""The metrics other than the Fréchet distance: each with its function, needs, columns and meaning."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.data.images import Images
from experiments.data.pixels import to_float
from experiments.metrics import distances

BATCH = 256  # images at a time


class Scored(NamedTuple):
    """The input of a metric. Everything that the metric `needs` is given; the rest may be None.

    features: [N, F] of the first `count` of `images`, from the network with `params`. reference: features [M, F] of
    other images. solution: the same samples drawn by another solver.
    """

    count: int
    images: Images | None = None
    params: Any = None
    features: np.ndarray | None = None
    reference: np.ndarray | None = None
    solution: Images | None = None


class Metric(NamedTuple):
    """function(Scored) returns a number (or None) for each of `columns`; NAME_se is the standard error of NAME.

    needs: some of "features", "inception" (the features are Inception's), "reference" and "solution".
    """

    function: Callable
    needs: tuple[str, ...]
    columns: tuple[str, ...]
    meaning: str

    @property
    def scores(self) -> tuple[str, ...]:
        """The columns without those of standard errors."""
        return tuple(column for column in self.columns if not column.endswith("_se"))

    def row(self, scored: Scored) -> dict:
        return dict(zip(self.columns, self.function(scored), strict=True))


def _inception_score(scored: Scored):
    from models import inception

    return distances.inception_score(np.asarray(inception.logits(scored.params, scored.features)))


def _rmse(scored: Scored) -> tuple[float]:
    """The root mean square difference to the solution's images, for pixels in [-1, 1], index by index."""
    ours, theirs, count, total = scored.images, scored.solution, scored.count, 0.0
    if ours.shape != theirs.shape or not np.array_equal(ours.indices[:count], theirs.indices[:count]):
        there, here = (f"{images.path} has {len(images)} images of {images.shape}" for images in (theirs, ours))
        raise ValueError(f"{there}, {here}: rmse is of the same samples by another solver")
    for start in range(0, count, BATCH):
        rows = np.arange(start, min(start + BATCH, count))
        total += np.square(to_float(ours[rows]).astype(np.float64) - to_float(theirs[rows])).sum()
    return (float(np.sqrt(total / count / np.prod(ours.shape))),)


METRICS = {
    "inception_score": Metric(
        _inception_score,
        ("features", "inception"),
        ("inception_score", "inception_score_se"),
        "of Inception's 1008 classes, without the head's bias, as is usual",
    ),
    "kid": Metric(
        lambda scored: distances.kid(scored.features, scored.reference),
        ("features", "reference"),
        ("kid", "kid_se"),
        "the unbiased kernel distance of features, below zero at times",
    ),
    "precision_recall": Metric(
        lambda scored: distances.precision_recall(scored.reference, scored.features),
        ("features", "reference"),
        ("precision", "recall"),
        "shares of the images near the reference, and of the reference near the images, by the third neighbour",
    ),
    "sliced_wasserstein": Metric(
        lambda scored: (distances.sliced_wasserstein(scored.features, scored.reference),),
        ("features", "reference"),
        ("sliced_wasserstein",),
        "the Wasserstein-2 distance of features along random directions",
    ),
    "rmse": Metric(
        _rmse, ("solution",), ("rmse_to_solution",), "to the images of `score.solution`, pixels in [-1, 1], by index"
    ),
}
