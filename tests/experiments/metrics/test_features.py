"""Moments, features, and the classifier that features are of."""

import jax
import numpy as np
import pytest

from configs import default
from experiments.data import datasets
from experiments.metrics import distances as metrics
from experiments.metrics.frechet import Frechet, load_reference
from experiments.metrics.moments import Moments, moments
from experiments.metrics.spaces import Space
from experiments.networks import classifier as experiment
from experiments.support.features import features
from models import classifier as classifiers
from tests.experiments.data.test_data import write_set

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


def test_shifts_are_whole_pixels_and_bounded():
    x = np.full((64, 12, 12, 1), -1.0, np.float32)
    x[:, 5, 6] = 1
    moved = np.asarray(experiment.shifted(jax.random.key(0), x))
    at = np.argwhere(moved[..., 0] == 1)[:, 1:] - [5, 6]
    assert len(at) == 64 and np.abs(at).max() == experiment.SHIFT
    assert len(np.unique(at, axis=0)) == (2 * experiment.SHIFT + 1) ** 2
    assert (np.sort(moved, axis=None) == np.sort(x, axis=None)).all()


def test_the_classifier_learns():
    """Bright left half or bright right half: told apart after a few steps."""
    labels = RNG.integers(0, 2, 256)
    images = RNG.integers(0, 100, (256, 8, 8, 1), dtype=np.uint8)
    images[labels == 0, :, :4] += 120
    images[labels == 1, :, 4:] += 120
    module = classifiers.Classifier(channels=8, features=16, classes=2)
    params = experiment.fit(module, images, labels, epochs=5, batch=32)
    assert (experiment.predict(module, params, images) == labels).mean() > 0.95


def test_the_experiment_leaves_classifier_and_reference(tmp_path):
    write_set(tmp_path / "data", train=140, test=130)
    config = default.get_config()
    config.data.path, config.train.classifier_epochs = str(tmp_path / "data"), 1.0
    results = experiment.run(config, tmp_path / "run")
    assert set(results["frechet_of_test_images"]) == {"130"}
    reference = load_reference(tmp_path / "run/reference.npz")
    assert reference["test_pixel_cov"].shape == (784, 784) and reference["train_feature_mean"].shape == (128,)
    target = metrics.target(reference["train_feature_mean"], reference["train_feature_cov"])
    distance = Frechet(Space("classifier", *classifiers.load(tmp_path / "run/classifier.npz")), target)
    test = datasets.load("fashion_mnist", tmp_path / "data")[2]
    np.testing.assert_allclose(
        distance.of_rows(features(distance.space, test))["frechet"], results["frechet_of_test_images"]["130"], rtol=1e-4
    )
    (tmp_path / "run/reference.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="reference.npz is truncated"):
        load_reference(tmp_path / "run/reference.npz")


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
