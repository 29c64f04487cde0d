"""The Fréchet distance to a reference, in the features of one network, with its standard error."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.metrics import distances as metrics
from experiments.metrics.moments import Moments
from experiments.metrics.spaces import Space
from experiments.metrics.threads import one_thread

PARTS = 10  # blocks of indices; the jackknife leaves out one at a time


class Frechet(NamedTuple):
    """The Fréchet distance to `target` in the features of `space`; `reference` describes the target in a passport.

    rows: the features [M, F] of the reference, for metrics that need more than moments; None if they were not kept.
    """

    space: Space
    target: metrics.Target
    reference: str = "not known"
    rows: np.ndarray | None = None

    def of_rows(self, rows) -> dict:
        """The `score` of features [N, F]."""
        return self.score([Moments.of(rows[start:stop]) for start, stop in pairwise(bounds(len(rows)))])

    def score(self, parts: Sequence[Moments]) -> dict:
        """{metric: value, metric_se: its standard error}, None if there are too few images.

        parts: the moments of the features of consecutive blocks of indices. The error is the jackknife's, from the
        distances with one block left out: blocks are independent, and few images bias all these distances alike.
        """
        name, total = self.space.metric, merged(parts)
        if total.count < 2:
            return {name: None, f"{name}_se": None}
        rest = [[part for part in parts if part is not left] for left in parts] if len(parts) > 1 else []
        rest = [others for others in rest if sum(part.count for part in others) > 1]
        # One distance per thread: threads that share one matrix would wait for each other.
        with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
            value, *values = pool.map(lambda parts: self.distance(merged(parts)), [parts, *rest])
        return {name: value, f"{name}_se": metrics.jackknife(values) if len(values) > 1 else None}

    def distance(self, moments: Moments) -> float:
        """The distance for the moments of features."""
        return metrics.distance(moments.mean, moments.covariance(), self.target)


def bounds(count: int) -> list[int]:
    """The bounds of consecutive parts of `count` rows, nearly equal and none empty."""
    parts = min(PARTS, count)
    return [count * part // parts for part in range(parts + 1)]


def merged(parts: Sequence[Moments]) -> Moments:
    """The moments of the rows of all parts together (Chan et al. 1979, for any number of parts)."""
    counts, means = np.array([part.count for part in parts]), np.stack([part.mean for part in parts])
    steps = means - means[0]
    step = counts @ steps / counts.sum()
    steps = np.sqrt(counts)[:, None] * (steps - step)
    scatter = steps.T @ steps
    for part in parts:
        scatter += part.scatter
    return Moments(int(counts.sum()), means[0] + step, scatter)


def load_reference(path) -> dict:
    """The arrays of reference.npz: {train,test}_{feature,pixel}_{mean,cov}; see experiments/networks/classifier.py."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no reference moments {path}: write them with --config.experiment=classifier")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        arrays["train_feature_mean"], arrays["train_feature_cov"]
    except Exception as error:
        raise ValueError(
            f"{path} is truncated or holds no reference moments ({error}): write it anew with "
            "--config.experiment=classifier"
        ) from error
    return arrays
