"""Moments, the Fréchet distance, and the classifier whose features it is measured in."""

import jax
import numpy as np
import pytest
import scipy.linalg

from configs import default
from experiments import classifier as experiment
from experiments import metrics
from models import classifier as classifiers
from tests.test_data import write_set

RNG = np.random.default_rng(0)


def covariance(size, rank):
    root = RNG.normal(size=(size, rank))
    return root @ root.T / rank


def test_frechet_against_a_matrix_square_root():
    m1, m2 = RNG.normal(size=(2, 12))
    c1, c2 = covariance(12, 30), covariance(12, 20)
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    np.testing.assert_allclose(metrics.frechet(m1, c1, m2, c2), expected, rtol=1e-9)
    np.testing.assert_allclose(metrics.frechet(m2, c2, m1, c1), expected, rtol=1e-9)


@pytest.mark.parametrize("zeros", [0, 5])
def test_frechet_of_diagonal_covariances_singular_ones_too(zeros):
    m1, m2 = RNG.normal(size=(2, 9))
    v1, v2 = RNG.uniform(0.1, 3, size=(2, 9))
    v1[:zeros] = 0
    expected = ((m1 - m2) ** 2).sum() + ((np.sqrt(v1) - np.sqrt(v2)) ** 2).sum()
    basis = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    turned = basis @ m1, basis * v1 @ basis.T, basis @ m2, basis * v2 @ basis.T
    np.testing.assert_allclose(metrics.frechet(m1, np.diag(v1), m2, np.diag(v2)), expected, rtol=1e-9)
    np.testing.assert_allclose(metrics.frechet(*turned), expected, rtol=1e-6)


def test_frechet_of_equal_moments_is_zero():
    mean, cov = RNG.normal(size=10), covariance(10, 4)
    assert abs(metrics.frechet(mean, cov, mean, cov)) < 1e-6
    with pytest.raises(ValueError, match="moments of 10 and of 3 features"):
        metrics.frechet(mean, cov, mean[:3], cov[:3, :3])


def test_moments_are_numpys_and_merge():
    rows = RNG.normal(size=(57, 6)) + 100
    mean, cov = metrics.moments(rows)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(rows.T), rtol=1e-10, atol=1e-12)
    merged = metrics.Moments.of(rows[:1]).merge(metrics.Moments.of(rows[1:20])).merge(metrics.Moments.of(rows[20:]))
    assert merged.count == 57
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(), cov, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        metrics.moments(rows[:1])


def test_features_do_not_depend_on_the_batch():
    module = classifiers.Classifier(channels=8)
    params = classifiers.init(module, 0, (8, 8, 1))
    images = RNG.integers(0, 256, (11, 8, 8, 1), dtype=np.uint8)
    whole = metrics.features((module, params), images)
    assert whole.shape == (11, 128) and whole.dtype == np.float32
    np.testing.assert_allclose(metrics.features((module, params), images, batch=4), whole, atol=1e-5)
    with pytest.raises(ValueError, match="uint8"):
        metrics.features((module, params), images / 255.0)


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
    reference = metrics.load_reference(tmp_path / "run/reference.npz")
    assert reference["test_pixel_cov"].shape == (784, 784) and reference["train_feature_mean"].shape == (128,)
    distance = metrics.make_frechet(tmp_path / "run/classifier.npz", tmp_path / "run/reference.npz")
    test = experiment.data.load("fashion_mnist", tmp_path / "data")[2]
    np.testing.assert_allclose(distance(test), results["frechet_of_test_images"]["130"], rtol=1e-4)
    (tmp_path / "run/reference.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="reference.npz is truncated"):
        metrics.load_reference(tmp_path / "run/reference.npz")
