"""The fit_gaussian experiment on a small data set."""

import json

import numpy as np
import pytest
from matplotlib import image

import gaussian
from configs import default
from experiments.data import datasets, pixels
from experiments.structure import fit as experiment
from experiments.support.errors import ConfigError
from solvers.fingerprint import checksum
from tests.experiments.data.test_data import idx, write_set


@pytest.fixture
def config(tmp_path):
    write_set(tmp_path / "data", train=60)
    noisy = np.random.default_rng(1).integers(0, 256, (60, 28, 28))  # with a spectrum, which boxes have not
    (tmp_path / "data" / "train-images-idx3-ubyte").write_bytes(idx(noisy))
    config = default.get_config()
    config.data.path = str(tmp_path / "data")
    config.gaussian.components, config.gaussian.rank = 2, 5
    return config


def test_writes_the_gaussian_of_the_images(tmp_path, config, capsys):
    experiment.run(config, tmp_path / "run")
    images, labels, *_ = datasets.load("fashion_mnist", config.data.path)
    flat = pixels.to_float(images).reshape(len(images), -1).astype(np.float64)
    found, provenance = gaussian.load_distribution(tmp_path / "run" / "gaussian.npz")
    values = np.linalg.eigvalsh(np.cov(flat.T))[::-1]
    assert found.shape == (28, 28, 1) and found.basis.shape == (1, 784, 5)
    np.testing.assert_allclose(found.means[0], flat.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.variances[0], values[:5], rtol=1e-10)
    assert provenance["data"]["sha256_of_training_images_and_labels"] == checksum(images, labels)
    assert provenance["settings"]["rank"] == 5 and provenance["command"]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["provenance"] == provenance
    np.testing.assert_allclose(results["components"][0]["variance"], values.sum())
    assert "rank 5 from 60 images of 28x28x1" in capsys.readouterr().out
    assert image.imread(tmp_path / "run" / "gaussian.png").std() > 0.05


@pytest.mark.parametrize("kind", ["classes", "kmeans"])
def test_mixtures(tmp_path, config, kind):
    config.gaussian.kind = kind
    config.gaussian.dtype = "float32"
    mixture = experiment.run(config, tmp_path)
    images, labels, *_ = datasets.load("fashion_mnist", config.data.path)
    weights = np.bincount(labels) / len(labels) if kind == "classes" else mixture.weights
    assert len(mixture.weights) == len(weights) and np.isclose(mixture.weights.sum(), 1)
    mean = pixels.to_float(images).reshape(len(images), -1).mean(0)
    np.testing.assert_allclose(mixture.weights @ mixture.means, mean, atol=1e-6)
    assert gaussian.load_distribution(tmp_path / "gaussian.npz")[0].means.shape == mixture.means.shape


def test_directions_are_counted():
    """3 + 1 of a variance of 5 are 80 %; the last fifth is spread over 4 directions of the floor."""
    mixture = gaussian.Mixture(
        np.ones(1), np.zeros((1, 6)), np.eye(6)[None, :, :2], np.array([[3.0, 1.0]]), np.full(1, 0.25), (6,)
    )
    assert experiment.component_rows(mixture) == [
        {"weight": 1.0, "variance": 5.0, "directions_0.9": 4, "directions_0.99": 6}
    ]


def test_errors_are_the_users(tmp_path, config):
    config.gaussian.kind = "mixture"
    with pytest.raises(ConfigError, match="known are gaussian, classes, kmeans"):
        experiment.run(config, tmp_path)
    config.gaussian.kind, config.gaussian.components = "kmeans", 61
    with pytest.raises(ConfigError, match="components must be from 1 to 60"):
        experiment.run(config, tmp_path)
    config.gaussian.kind, config.gaussian.dtype = "gaussian", "float16"
    with pytest.raises(ConfigError, match="float16"):
        experiment.run(config, tmp_path)
