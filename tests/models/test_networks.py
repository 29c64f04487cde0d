"""The networks of the papers against the originals: the same weights, the same inputs, the same outputs.

tests/fixtures/networks/make.py wrote the numbers, with weights that tests/seeded.py makes anew here.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from models import layers
from models.convert import edm, guided, score_sde, weights
from solvers.schedule import VP
from tests.fixtures.networks.make import SIGMA
from tests.helpers import seeded
from tests.helpers.places import FIXTURES

FOLDER = FIXTURES / "networks"
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


@pytest.mark.parametrize("name", ["edm_ncsnpp_ve", "edm_adm_edm"])
def test_bfloat16(name):
    """Products in bfloat16, 2^-9 of round-off each, change outputs by some percent; the state stays in float32."""
    (net, precondition), (found, tensors) = EDM_CASES[name], original(name)
    params = parameters(net, edm.sources, tensors)
    meta = {"network": {"name": {"SongUNet": "song", "ADM": "adm"}[type(net).__name__]}, "precondition": precondition}
    meta["network"] |= {
        key: getattr(net, key) for key in net.__dataclass_fields__ if key not in ("dtype", "parent", "name")
    }
    out = jax.jit(lambda params, *args: models.denoisers(meta, "bfloat16")(params)(*args))(
        params, seeded.inputs(3, 16), SIGMA, found["labels"]
    )
    assert out.dtype == jnp.float32
    error = np.sqrt(np.mean(np.square(out - found["out"])) / np.mean(np.square(found["out"])))
    assert 1e-5 < error < 0.05


def test_a_denoiser_of_score_sde_is_its_noise_prediction():
    """At x = alpha x0 + sigma eps the network sees x itself, and 999 t, whatever coordinates sampling is in."""
    net, sources = OTHERS["score_sde"]
    params = parameters(net, sources, original("score_sde")[1])
    schedule, t = VP(), np.float32(0.3)
    denoiser = models.denoise(lambda *args: net.apply({"params": params}, *args), models.PRECONDITIONINGS["vp"]())
    x, none = seeded.inputs(1, 16)[0], jnp.zeros(1, int)
    model = models.as_prediction(models.bind(denoiser, 0, schedule), schedule, "x0", "eps")
    wanted = jax.jit(net.apply)({"params": params}, x[None], 999 * t[None], none)[0]
    np.testing.assert_allclose(jax.jit(model)(x, t), wanted, atol=1e-3 * np.abs(wanted).max())  # t through log sigma


def test_guided_diffusion_has_the_labels_of_its_discrete_schedule():
    known, betas = models.PRECONDITIONINGS["ddpm"](), np.linspace(1e-4, 0.02, 1000)
    alphas = np.cumprod(1 - betas)
    for label in (0, 1, 500, 998, 999):
        sigma = np.sqrt((1 - alphas[label]) / alphas[label])
        assert abs(known.coefficients(jnp.float32(sigma)).noise - label) < 0.01
    np.testing.assert_allclose([known.low, known.high], np.sqrt((1 - alphas) / alphas)[[0, -1]], rtol=1e-9)


def test_improved_ddpm_rounds_to_the_nearest_level(x64):
    """By brute force, over levels computed from their recursion."""
    known, m = models.PRECONDITIONINGS["iddpm"](), 1000
    abar = np.sin(0.5 * np.pi * np.arange(m + 1) / m / 1.008) ** 2
    levels = [0.0]
    for j in range(m, 0, -1):
        levels.insert(0, np.sqrt((levels[0] ** 2 + 1) / max(abar[j - 1] / abar[j], 0.001) - 1))
    sigma = np.exp(np.random.default_rng(0).uniform(np.log(0.002), np.log(300), 500))
    nearest = np.abs(sigma[:, None] - np.array(levels)).argmin(1)
    np.testing.assert_array_equal(known.coefficients(jnp.asarray(sigma)).noise, m - 1 - nearest)
    np.testing.assert_allclose([known.low, known.high], [levels[m - 1], levels[0]])


@pytest.mark.parametrize("kernel", [(1, 1), (1, 3, 3, 1)])
def test_resampling_is_what_convolution_says(kernel, x64):
    """By a dense matrix: zeros between pixels or every second pixel, and the filter along each axis."""
    x, n, edge = np.random.default_rng(0).normal(size=(1, 6, 6, 2)), 6, (len(kernel) - 1) // 2
    weights_ = np.array(kernel) / np.sum(kernel)
    halve, double = np.zeros((n // 2, n)), np.zeros((2 * n, n))
    for i in range(n // 2):
        for k, w in enumerate(weights_):
            if 0 <= 2 * i + k - edge < n:
                halve[i, 2 * i + k - edge] += w
    for i in range(n):
        for k, w in enumerate(weights_):
            if 0 <= 2 * i + k - edge < 2 * n:
                double[2 * i + k - edge, i] += 2 * w
    for function, matrix in ((layers.down, halve), (layers.up, double)):
        wanted = np.einsum("ai,bj,nijc->nabc", matrix, matrix, x)
        np.testing.assert_allclose(function(jnp.asarray(x), kernel), wanted, rtol=1e-6, atol=1e-7)
