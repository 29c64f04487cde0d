"""Parameters are rounded once, ahead of a loop of evaluations, to the numbers that the network itself would take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from models.precision import rounded
from solvers import SOLVERS, advance
from solvers.grid import GRIDS
from solvers.schedule import EDM
from tests.models.test_networks import NCSNPP, SMALL

SHAPE = (16, 16, 3)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile
NETWORKS = {
    "unet": {"name": "unet", "channels": 16, "multipliers": (1, 2), "blocks": 1, "classes": 3},
    "ddpmpp": {"name": "song", **SMALL, "classes": 3},
    "ncsnpp residual": {"name": "song", **SMALL, **NCSNPP, "encoder": "residual", "classes": 0},
    "ncsnpp skip": {"name": "song", **SMALL, **NCSNPP, "encoder": "skip", "decoder": "skip", "classes": 0},
    "adm": {"name": "adm", **SMALL, "channels": 64, "classes": 3},
    "classifier": {"name": "adm_classifier", **SMALL, "channels": 64, "classes": 3},
}


def seeded_params(name):
    """Parameters of a network at which nothing vanishes."""
    net, x = models.build(NETWORKS[name]), np.zeros((2, *SHAPE), np.float32)
    args = (x, np.ones(2, np.float32)) + (() if name == "classifier" else (np.zeros(2, np.int32),))
    like, rng = jax.eval_shape(lambda: net.init(jax.random.key(0), *args)["params"]), np.random.default_rng(0)
    scale = lambda shape: np.sqrt(shape[-1] / np.prod(shape)) if len(shape) > 1 else 1.0  # noqa: E731
    return jax.tree.map(lambda a: np.float32(scale(a.shape) * rng.normal(size=a.shape)), like)


def made(name, params, dtype="bfloat16"):
    """A model(x, t) of one sample, of a denoiser or guided by a classifier, from what is public."""
    meta, schedule = {"network": NETWORKS[name], "precondition": {"name": "ddpm"}}, EDM()
    if name != "classifier":
        return models.bind(models.denoisers(meta, dtype)(params), 1)
    log_prob = models.noisy_classifier(meta, schedule, dtype)(params)
    return models.classifier_guidance(lambda x, t: 0.1 * x, schedule, "x0", lambda x, t: log_prob(1, x, t), 2.0)


def casts_in_the_loop(name, params):
    """How many parameters are rounded in each evaluation of a sampling."""
    table = SOLVERS["unipc"](EDM(), GRIDS["karras"](EDM(), 4, 80.0, 0.02), prediction="x0").astype(np.float32)
    program = jax.make_jaxpr(lambda params, x: advance(made(name, params), table, x, 4))(params, np.zeros(SHAPE, "f"))
    (loop,) = (e for e in program.eqns if "body_jaxpr" in e.params or e.primitive.name == "scan")
    body = loop.params["body_jaxpr" if "body_jaxpr" in loop.params else "jaxpr"].jaxpr
    casts = [e for e in body.eqns if e.primitive.name == "convert_element_type" and e.invars[0] in body.invars]
    return sum(e.params["new_dtype"] == jnp.bfloat16 for e in casts)


def unrounded(monkeypatch):
    for module in ("models", "models.classifier"):
        monkeypatch.setattr(f"{module}.rounded", lambda params, dtype: params)


@pytest.mark.thin(3)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_evaluation_rounds_parameters(name, monkeypatch):
    params = seeded_params(name)
    assert casts_in_the_loop(name, params) == 0
    of_products = [a for a in jax.tree.leaves(rounded(params, jnp.bfloat16)) if a.dtype == jnp.bfloat16]
    unrounded(monkeypatch)
    assert casts_in_the_loop(name, params) >= len(of_products)  # the network rounds these, each time


@pytest.mark.thin(3)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_the_same_bit_by_bit(name, monkeypatch):
    """And derivatives: of the network that statistics of are embedded; the classifier guides by its gradient."""
    params, x = seeded_params(name), np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    out = lambda params, x, t: made(name, params)(x, t)  # noqa: E731
    both = lambda params, *at: jax.jvp(lambda *at: out(params, *at), at, at)  # noqa: E731
    found = []
    for _ in range(2):
        run = jax.jit(lambda *args: (both if name == "unet" else out)(*args), compiler_options=QUICK)
        found.append(np.asarray(run(params, x, np.float32(0.7))))
        unrounded(monkeypatch)
    assert np.std(found[0]) > 0
    np.testing.assert_array_equal(*found)


def test_what_is_not_rounded():
    """Norms, and the frequencies of an embedding; nothing at all in float32, where the tree is the one that came."""
    params = seeded_params("ncsnpp skip")
    found = rounded(params, jnp.bfloat16)
    kept = {jax.tree_util.keystr(path[-1:]) for path, a in jax.tree.leaves_with_path(found) if a.dtype == jnp.float32}
    assert kept == {"['scale']", "['bias']", "['freqs']"}
    assert found["enc_16x16_conv"]["bias"].dtype == jnp.bfloat16
    assert found["enc_16x16_block0"]["norm0"]["bias"].dtype == jnp.float32
    assert rounded(params, None) is params
