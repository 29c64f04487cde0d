"""The networks of the papers against the originals: the same weights, the same inputs, the same outputs.

tests/data/networks/make.py wrote the numbers, with weights that tests/seeded.py makes anew here.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from models.convert import edm, guided, score_sde, weights
from tests import seeded
from tests.data.networks.make import SIGMA

FOLDER = Path(__file__).parent / "data/networks"
SMALL = {"resolution": 16, "channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (8,)}
NCSNPP = {"embedding": "fourier", "noise_multiplier": 2, "filter": (1, 3, 3, 1)}
GUIDED = {"resolution": 16, "channels": 128, "multipliers": (1, 2), "blocks": 1, "attention": (8,)}
EDM_CASES = {
    "edm_ddpmpp_vp": (models.SongUNet(**SMALL), {"name": "vp"}),
    "edm_ddpmpp_edm_cond": (models.SongUNet(**SMALL, classes=10), {"name": "edm", "sigma_data": 0.5}),
    "edm_ncsnpp_ve": (models.SongUNet(**SMALL, **NCSNPP, encoder="residual"), {"name": "ve"}),
    "edm_ncsnpp_skip_edm": (
        models.SongUNet(**SMALL, **NCSNPP, encoder="skip", decoder="skip"),
        {"name": "edm", "sigma_data": 0.5},
    ),
    "edm_adm_edm": (models.ADM(**SMALL | {"channels": 64}), {"name": "edm", "sigma_data": 0.5}),
    "edm_adm_iddpm_cond": (models.ADM(**SMALL | {"channels": 64}, classes=7, out_channels=6), {"name": "iddpm"}),
}
OTHERS = {
    "score_sde": (models.SongUNet(**SMALL), score_sde.sources_torch),
    "score_sde_flax": (models.SongUNet(**SMALL), score_sde.sources_flax),
    "jcm_flax": (models.SongUNet(**SMALL, **NCSNPP, encoder="residual"), score_sde.sources_flax),
    "guided": (models.ADM(**GUIDED, out_channels=6), guided.sources),
    "guided_cond_new_order": (
        models.ADM(**GUIDED, out_channels=6, classes=1000),
        lambda net, paths: guided.sources(net, paths, order="3hc"),
    ),
}
UNUSED = lambda name: edm.unused(name) or score_sde.unused(name)  # noqa: E731


def original(name):
    """What make.py wrote, and the tensors that the original had."""
    with np.load(FOLDER / f"{name}.npz") as file:
        found = dict(file)
    shapes = json.loads(str(found.pop("shapes")))
    return found, {key: seeded.weights(key, shape) for key, shape in shapes.items()}


def parameters(net, sources, tensors):
    shapes = weights.shapes_of(net)
    return weights.convert(sources(net, shapes), tensors, shapes, UNUSED)


def close(found, wanted):
    """To 1e-4 of the outputs' size."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", EDM_CASES)
def test_edm(name):
    (net, precondition), (found, tensors) = EDM_CASES[name], original(name)
    params = parameters(net, edm.sources, tensors)
    denoiser = models.denoise(
        lambda *args: net.apply({"params": params}, *args), models.preconditioning({"precondition": precondition})
    )
    out = jax.jit(denoiser)(seeded.inputs(3, 16), SIGMA, found["labels"])
    for i in range(3):  # at each noise level
        close(out[i], found["out"][i])


@pytest.mark.parametrize("name", OTHERS)
def test_score_sde_and_guided_diffusion(name):
    (net, sources), (found, tensors) = OTHERS[name], original(name)
    params = parameters(net, sources, tensors)
    labels = found.get("labels", np.zeros(3, int))
    close(jax.jit(net.apply)({"params": params}, seeded.inputs(3, 16), found["time"], labels), found["out"])


def test_the_noisy_classifier_and_its_gradient():
    net, (found, tensors) = models.ADMClassifier(**GUIDED), original("guided_classifier")
    params = parameters(net, guided.sources, tensors)

    @jax.jit
    def run(x):
        logits = net.apply({"params": params}, x, found["time"])
        return jax.nn.log_softmax(logits)[jnp.arange(3), found["labels"]].sum(), logits

    (_, logits), gradient = jax.value_and_grad(run, has_aux=True)(seeded.inputs(3, 16))
    close(logits, found["out"])
    close(gradient, found["gradient"])
