"""Moments and features."""

import numpy as np
import pytest

from experiments.metrics import distances as metrics
from experiments.metrics.moments import Moments, moments
from experiments.metrics.spaces import Space
from experiments.support.features import features
from models import classifier as classifiers

RNG = np.random.default_rng(0)


def test_moments_are_numpys_and_merge():
    rows = RNG.normal(size=(57, 6)) + 100
    mean, cov = moments(rows)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(rows.T), rtol=1e-10, atol=1e-12)
    merged = Moments.of(rows[:1]).merge(Moments.of(rows[1:20])).merge(Moments.of(rows[20:]))
    assert merged.count == 57
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(), cov, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        moments(rows[:1])


def test_features_do_not_depend_on_the_batch():
    module = classifiers.Classifier(channels=8)
    params = classifiers.init(module, 0, (8, 8, 1))
    images = RNG.integers(0, 256, (11, 8, 8, 1), dtype=np.uint8)
    whole = features(Space("classifier", module, params), images)
    assert whole.shape == (11, 128) and whole.dtype == np.float32
    np.testing.assert_allclose(features(Space("classifier", module, params), images, batch=4), whole, atol=1e-5)
    with pytest.raises(ValueError, match="uint8"):
        features(Space("classifier", module, params), images / 255.0)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_split_of_moments_gives_the_same_distance(seed):
    """To 1e-9: parts of random sizes, merged in a random order, two by two; features of a mean far from zero."""
    rng = np.random.default_rng(seed)
    rows, target = rng.normal(size=(400, 12)) + 30, metrics.target(np.full(12, 29.5), 2 * np.eye(12))
    whole = Moments.of(rows)
    edges = np.sort(rng.choice(np.arange(1, 400), size=int(rng.integers(1, 40)), replace=False))
    parts = [Moments.of(part) for part in np.split(rng.permutation(rows), edges)]
    while len(parts) > 1:
        first, second = (parts.pop(int(rng.integers(len(parts)))) for _ in range(2))
        parts.append(first.merge(second))
    (merged,) = parts
    expected = metrics.distance(whole.mean, whole.covariance(), target)
    assert merged.count == 400
    assert metrics.distance(merged.mean, merged.covariance(), target) == pytest.approx(expected, rel=1e-9)
