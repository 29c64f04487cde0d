"""The feature network: what its training does to images, that it learns, and what its experiment leaves."""

import jax
import numpy as np
import pytest

from configs import default
from experiments.data import datasets
from experiments.metrics import distances
from experiments.metrics.frechet import load_reference
from experiments.metrics.moments import moments
from experiments.metrics.spaces import Space
from experiments.networks import classifier, feature_network
from experiments.support.features import features
from models import classifier as classifiers
from tests.experiments.data.test_data import write_set

RNG = np.random.default_rng(0)


def test_shifts_are_whole_pixels_and_bounded():
    x = np.full((64, 12, 12, 1), -1.0, np.float32)
    x[:, 5, 6] = 1
    moved = np.asarray(feature_network.shifted(jax.random.key(0), x))
    at = np.argwhere(moved[..., 0] == 1)[:, 1:] - [5, 6]
    assert len(at) == 64 and np.abs(at).max() == feature_network.SHIFT
    assert len(np.unique(at, axis=0)) == (2 * feature_network.SHIFT + 1) ** 2
    assert (np.sort(moved, axis=None) == np.sort(x, axis=None)).all()


def test_the_classifier_learns():
    """Bright left half or bright right half: told apart after a few steps."""
    labels = RNG.integers(0, 2, 256)
    images = RNG.integers(0, 100, (256, 8, 8, 1), dtype=np.uint8)
    images[labels == 0, :, :4] += 120
    images[labels == 1, :, 4:] += 120
    module = classifiers.Classifier(channels=8, features=16, classes=2)
    params = feature_network.fit(module, images, labels, epochs=5, batch=32)
    assert (feature_network.predict(module, params, images) == labels).mean() > 0.95


def test_the_experiment_leaves_classifier_and_reference(tmp_path):
    write_set(tmp_path / "data", train=140, test=130)
    config = default.get_config()
    config.data.path, config.train.classifier_epochs = str(tmp_path / "data"), 1.0
    results = classifier.run(config, tmp_path / "run")
    assert set(results["frechet_of_test_images"]) == {"130"}
    reference = load_reference(tmp_path / "run/reference.npz")
    assert reference["test_pixel_cov"].shape == (784, 784) and reference["train_feature_mean"].shape == (128,)
    target = distances.target(reference["train_feature_mean"], reference["train_feature_cov"])
    space = Space("classifier", *classifiers.load(tmp_path / "run/classifier.npz"))
    found = moments(features(space, datasets.load("fashion_mnist", tmp_path / "data").test))
    expected = distances.distance(*found, target)
    np.testing.assert_allclose(results["frechet_of_test_images"]["130"], expected, rtol=1e-4)
    (tmp_path / "run/reference.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="reference.npz is truncated"):
        load_reference(tmp_path / "run/reference.npz")
