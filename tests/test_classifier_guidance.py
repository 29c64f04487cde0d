"""Guidance by a classifier of noisy images."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import models
from experiments.build import ConfigError
from experiments.build_model import build_model
from models.convert import weights
from tests import seeded
from tests.test_networks import GUIDED
from tests.test_releases import small_config, write_edm


@pytest.fixture
def classifier(tmp_path):
    """A network of three classes beside a noisy classifier of as many, small ones."""
    network = {"name": "adm_classifier", **GUIDED, "classes": 3}
    shapes = weights.shapes_of(models.build(network))
    params = models.checkpoint.unflatten({path: seeded.weights(path, shape) for path, shape in shapes.items()})
    meta = {"network": network, "precondition": {"name": "ddpm"}, "shape": [16, 16, 3]}
    models.save_params(tmp_path / "classifier.npz", params, meta)
    network = {"name": "unet", "channels": 8, "multipliers": [1], "blocks": 1, "classes": 3}
    params = models.init(models.build(network), 0, (16, 16, 3))
    models.save_params(tmp_path / "net.npz", params, {"network": network, "sigma_data": 0.5, "shape": [16, 16, 3]})
    return tmp_path


def test_guidance_by_a_noisy_classifier(classifier):
    """eps - scale sigma grad log p(y | x) is x0 + scale sigma^2 / alpha grad log p(y | x)."""
    more = {"schedule.name": "vp_discrete", "schedule.betas": "1e-4,0.02,1000,linear", "model.labels": "all"}
    more |= {"guidance.checkpoint": str(classifier / "classifier.npz")}
    scale, label, t = 2.0, 1, 0.4
    guided = build_model(small_config(classifier / "net.npz", **more, **{"guidance.scale": scale}))
    plain = build_model(small_config(classifier / "net.npz", **more, **{"guidance.scale": 0.0}))
    assert set(guided.params) == {"network", "classifier"} and "classifier" not in plain.params
    params, meta = models.load_params(classifier / "classifier.npz")
    net, x = models.build(meta["network"]), seeded.inputs(1, 16)[0]

    def log_prob(x):  # in VP coordinates, with the label of t: n at t = (n + 1) / 1000
        return jax.nn.log_softmax(net.apply({"params": params}, x[None], jnp.array([1000 * t - 1]))[0])[label]

    alpha2 = np.interp(t, np.arange(1, 1001) / 1000, np.log(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))))
    alpha, sigma = np.exp(alpha2 / 2), np.sqrt(-np.expm1(alpha2))
    change = scale * sigma**2 / alpha * jax.jit(jax.grad(log_prob))(x)
    out = [jax.jit(network.make(network.params, label))(x, jnp.float32(t)) for network in (guided, plain)]
    np.testing.assert_allclose(out[0] - out[1], change, atol=2e-4 * np.abs(change).max())  # t in float32: its label
    with pytest.raises(ConfigError, match="needs labels"):
        build_model(small_config(classifier / "net.npz", **more | {"model.labels": "none"}))
    write_edm(classifier / "net.pkl", "edm_adm_edm")  # without classes: those of the classifier
    more["grid.t_end"] = 0.02
    assert build_model(small_config(classifier / "net.pkl", **more)).classes == 3


def test_a_classifier_of_other_data_is_refused(classifier):
    params, meta = models.load_params(classifier / "classifier.npz")
    models.save_params(classifier / "classifier.npz", params, meta | {"shape": [32, 32, 3]})
    more = {"guidance.checkpoint": str(classifier / "classifier.npz"), "model.labels": "all"}
    with pytest.raises(ConfigError, match="3 classes of images of .32, 32, 3., the network of 3 of .16, 16, 3."):
        build_model(small_config(classifier / "net.npz", **more))
    more["guidance.checkpoint"] = str(classifier / "net.npz")
    with pytest.raises(ValueError, match="'unet' is no classifier of noisy images"):
        build_model(small_config(classifier / "net.npz", **more))


def test_a_classifier_has_a_card_and_is_no_model(classifier):
    config = small_config(classifier / "classifier.npz", experiment="convert")
    main.run_experiment(config, classifier / "run")
    card = json.loads((classifier / "run/card.json").read_text())
    assert card["network"]["classes"] == 3 and card["noise levels"] == "0.0100005 to 157.407"
    with pytest.raises(ConfigError, match="a classifier of noisy images.*it is for guidance"):
        build_model(small_config(classifier / "classifier.npz", **{"grid.t_end": 0.02}))
