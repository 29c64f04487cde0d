"""Guidance by a classifier of noisy images, and the scale of any guidance."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import models
from experiments import build
from experiments.sampling import draw as drawing
from experiments.support.errors import ConfigError
from models.convert import weights
from solvers import SOLVERS
from solvers.fingerprint import fingerprint
from solvers.schedule import EDM
from tests.helpers import seeded
from tests.models.test_networks import GUIDED
from tests.models.test_releases import small_config, write_edm


def save(path, network, shapes, **meta):
    """Seeded parameters of these shapes."""
    params = models.checkpoint.unflatten({path: seeded.weights(path, shape) for path, shape in shapes.items()})
    models.save_params(path, params, {"network": network, "shape": [16, 16, 3], **meta})


@pytest.fixture
def classifier(tmp_path):
    """A network of three classes beside a noisy classifier of as many, small ones."""
    network = {"name": "adm_classifier", **GUIDED, "classes": 3}
    shapes = weights.shapes_of(models.build(network))
    save(tmp_path / "classifier.npz", network, shapes, precondition={"name": "ddpm"})
    network = {"name": "unet", "channels": 8, "multipliers": [1], "blocks": 1, "classes": 3}
    fresh = models.checkpoint.flatten(models.init(models.build(network), 0, (16, 16, 3)))
    save(tmp_path / "net.npz", network, {path: leaf.shape for path, leaf in fresh.items()}, sigma_data=0.5)
    return tmp_path


def test_guidance_by_a_noisy_classifier(classifier):
    """eps - scale sigma grad log p(y | x) is x0 + scale sigma^2 / alpha grad log p(y | x)."""
    more = {"schedule.name": "vp_discrete", "schedule.betas": "1e-4,0.02,1000,linear", "model.labels": "all"}
    more |= {"guidance.checkpoint": str(classifier / "classifier.npz")}
    scale, label, t = 2.0, 1, 0.4
    guided, plain = (
        build.problem(small_config(classifier / "net.npz", **more, **{"guidance.scale": value})).network
        for value in (scale, 0.0)
    )
    assert set(guided.params.weights) == {"network", "classifier"} and "classifier" not in plain.params
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
        build.problem(small_config(classifier / "net.npz", **more | {"model.labels": "none"}))
    write_edm(classifier / "net.pkl", "edm_adm_edm")  # without classes: those of the classifier
    more["grid.t_end"] = 0.02
    assert build.problem(small_config(classifier / "net.pkl", **more)).network.classes == 3


@pytest.mark.thin(3)
@pytest.mark.parametrize("by, basis", [("labels", "pixels"), ("labels", "dct"), ("classifier", "pixels")])
def test_a_scale_is_an_argument_and_no_part_of_the_network(classifier, by, basis):
    """One program for all scales; statistics and samples are known by the parameters alone, as they always were."""
    more = {"model.labels": "all", "ems.basis": basis, "grid.t_start": 60.0, "grid.t_end": 0.02}
    params = models.load_params(classifier / "net.npz")[0]
    if by == "classifier":
        more["guidance.checkpoint"] = str(classifier / "classifier.npz")
        params = {"network": params, "classifier": models.load_params(classifier / "classifier.npz")[0]}
    table = SOLVERS["ddim"](EDM(), np.array([60.0, 2.0, 0.02]), prediction="x0").astype(np.float32)
    rest, programs, arguments = (None, table, 2, 0, np.arange(2, dtype=np.int32), np.arange(2, dtype=np.int32)), [], []
    for scale in (1.5, 3.0):
        config = small_config(classifier / "net.npz", **more, **{"guidance.scale": scale})
        problem = build.problem(config)
        network = problem.network
        draw = jax.jit(drawing.make_draw(network.make, network.shape, 60.0, network.basis is not None))
        programs.append(draw.lower(network.params, *rest))
        arguments.append(network.params)
        known = params if basis == "pixels" else {"network": params, "basis": np.float32(network.basis)}
        assert problem.identity["parameters"] == fingerprint(known)
    assert programs[0].as_text() == programs[1].as_text()
    run = programs[0].compile()
    assert np.abs(run(arguments[0], *rest) - run(arguments[1], *rest)).max() > 1e-3


def test_a_classifier_of_other_data_is_refused(classifier):
    params, meta = models.load_params(classifier / "classifier.npz")
    models.save_params(classifier / "classifier.npz", params, meta | {"shape": [32, 32, 3]})
    more = {"guidance.checkpoint": str(classifier / "classifier.npz"), "model.labels": "all"}
    with pytest.raises(ConfigError, match="3 classes of images of .32, 32, 3., the network of 3 of .16, 16, 3."):
        build.problem(small_config(classifier / "net.npz", **more))
    more["guidance.checkpoint"] = str(classifier / "net.npz")
    with pytest.raises(ValueError, match="'unet' is no classifier of noisy images"):
        build.problem(small_config(classifier / "net.npz", **more))


def test_a_classifier_has_a_card_and_is_no_model(classifier):
    config = small_config(classifier / "classifier.npz", experiment="convert")
    main.run_experiment(config, classifier / "run")
    card = json.loads((classifier / "run/card.json").read_text())
    assert card["network"]["classes"] == 3 and card["noise levels"] == "0.0100005 to 157.407"
    with pytest.raises(ConfigError, match="a classifier of noisy images.*it is for guidance"):
        build.problem(small_config(classifier / "classifier.npz", **{"grid.t_end": 0.02}))
