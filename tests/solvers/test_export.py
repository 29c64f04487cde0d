"""Every program of the product lowers for accelerators, traced on a CPU, without float64 where it is not meant.

Nothing is compiled or run. `jax.export` refuses what a platform has no rule for, and calls of libraries that may
change.
"""

import re
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import gaussian
import models
from configs import toy_gmm
from configs.sections import Ems
from experiments import build, ems
from experiments.data import pixels
from experiments.flows import integrate
from experiments.metrics.spaces import Space
from experiments.networks import feature_network
from experiments.networks import step as updates
from experiments.sampling import draw
from experiments.structure import explained
from models.classifier import Classifier
from models.inception import Inception
from solvers.ems import EMS, moments, sums
from tests.models.test_precision import NETWORKS, SHAPE, seeded_params
from tests.models.test_releases import small_config

PLATFORMS = ("cuda", "tpu")
DOUBLE = re.compile(r"[x<]f64\b")  # a type in the text of a program; digits of constants are capital letters
INDICES = np.arange(2, dtype=np.int32)
LABELS = {"model.labels": "all"}
GUIDED = LABELS | {"guidance.scale": 2.0}
STATISTICS = EMS(np.linspace(-6, 7, 8), *np.full((3, 8, *SHAPE), 0.1), {})  # and so coefficients, one for each value
JUMP = gaussian.AffineMap(
    *(np.zeros(size, np.float32) for size in ((2, 768), (2, 768), (2, 768, 5), (2, 5), (2,)))  # of two components
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A parameter file of every network."""
    path = tmp_path_factory.mktemp("networks")
    for name, network in NETWORKS.items():
        about = {"precondition": {"name": "ddpm"}} if name == "classifier" else {"sigma_data": 0.5}
        models.save_params(path / f"{name}.npz", seeded_params(name), {"network": network, "shape": SHAPE, **about})
    return path


def sampling(config, options=None, statistics=None, jump=None, dtype=np.float32):
    """All of `sample` for a batch, from seeds to samples."""
    problem = build.problem(config)
    network, options = problem.network, {"teleport": None} | (options or {"name": "unipc"})
    table = problem.tables.build(options, 4, statistics).astype(dtype)
    run = draw.make_draw(network.make, network.shape, problem.scale, network.basis is not None)
    return run, (network.params, jump, table, 4, 0, INDICES, INDICES)


def visit(config):
    """One noise level of a model's statistics, for points in two groups."""
    problem = build.problem(config)
    network = problem.network
    plan = ems.make_plan(problem, build.settings(config.ems, Ems), network)._replace(groups=2)
    table, points = moments._table(plan), np.zeros((2, 1, *SHAPE), np.float32)
    number = INDICES[:, None]
    state = jax.eval_shape(moments._batched(partial(moments._start, plan, table), (0, 0)), points, number)
    known = moments.coefficients(plan.schedule, plan.lam, plan.prediction)
    at = jax.tree.map(lambda x: np.asarray(x, np.float32), (known, table))
    visited = moments._batched(partial(moments._visit, plan), (None, None, None, 0, 0, 0))
    return visited, (network.params, at, 0, state, number, (number,))


def of_sums(rule):
    """What is added up of a visit."""
    values, add = (np.zeros((2, 1, *SHAPE), np.float32),) * 5, {"float64": sums._sum, "compensated": sums._add_pairs}
    before = () if rule == "float64" else (None,)
    return lambda *args: add[rule](moments.FACTORS, *before, *args), (values, np.ones((2, 1), bool))


def training(dtype, optimizer):
    module, mesh = models.build(NETWORKS["unet"], dtype), updates.batch_mesh(1, 4)
    optimiser, _ = updates.optimizer(optimizer, 1e-3, 1, 10)
    settings = {"batch": 4, "seed": 0, "ema_images": 100, "label_dropout": 0.5, "p_mean": -1.2, "p_std": 1.2}
    update = updates.make_update(module, optimiser, mesh, 0.5, SimpleNamespace(**settings, uniform_share=0.3))
    state = updates.init_state(optimiser, seeded_params("unet"), mesh)
    return update, (state, np.zeros((4, *SHAPE), np.uint8), np.zeros(4, np.uint8))


def training_of_features():
    module, optimiser = Classifier(channels=4, features=8), optax.adamw(1e-3)
    params = jax.eval_shape(partial(module.init, jax.random.key(0)), np.zeros((2, 8, 8, 1), np.float32))["params"]
    arguments = 0, np.zeros((2, 8, 8, 1), np.uint8), INDICES
    return feature_network.make_step(module, optimiser, 0), (params, jax.eval_shape(optimiser.init, params), *arguments)


def features(name, module, shape):
    """The features of a batch of uint8 images."""
    images = np.zeros(shape, np.uint8)
    prepare = (lambda x: x) if name == "inception" else pixels.to_float
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), prepare(jnp.asarray(images))))["params"]
    return lambda params, images: Space(name, module, params).on_device(images), (params, images)


def denoising(config):
    """What explained variance, and the analysis of scores, evaluate."""
    problem = build.problem(config)
    network, function = problem.network, explained.network_function(problem.network, problem.schedule)
    work = partial(explained._denoise, function)
    return work, (network.params, np.ones(3, np.float32), 0, np.zeros((2, *SHAPE), np.float32), INDICES, INDICES)


def trajectories(config):
    problem = build.problem(config)
    schedule, network = problem.schedule, problem.network
    table = integrate.fine_table(schedule, np.array([80.0, 5.0, 1.0, 0.1])).astype(np.float32)
    work = partial(integrate._trace, explained.network_function(network, schedule), schedule)
    return work, (network.params, table, np.zeros((2, *SHAPE), np.float32), INDICES)


def mixtures(double=False):
    """Closed forms in place of a network; in float64, orders of convergence are measured on them."""
    config = toy_gmm.get_config("smoke")
    run, arguments = sampling(config, dtype=np.float64 if double else np.float32)
    if not double:
        return run, arguments
    network, table = build.problem(config).network, arguments[2]
    return lambda m, table, x: draw.advance(network.make(m, 0), table, x, 4), (network.params, table, np.zeros(2))


def finished():
    """What becomes of samples on the devices: are they finite, and as uint8."""
    return lambda x: (draw.finite_samples(x), pixels.to_uint8(x)), (np.zeros((2, *SHAPE), np.float32),)


def of_network(name, dtype):
    """Sampling with a network of NETWORKS, guided or not."""
    network, changes = ("unet", GUIDED) if name.startswith("by ") else (name, {})

    def build(folder):
        more = {"guidance.checkpoint": str(folder / "classifier.npz")} if name == "by a classifier" else {}
        return sampling(small_config(folder / f"{network}.npz", **{"model.dtype": dtype}, **changes, **more))

    return build


def of_unet(function, *args, **changes):
    """function(config, *args) for the network `unet`."""
    return lambda folder: function(small_config(folder / "unet.npz", **LABELS | changes), *args)


FAMILIES = (*(name for name in NETWORKS if name != "classifier"), "by labels", "by a classifier")
HALF, PATH = {"model.dtype": "bfloat16"}, {"ems.derivative": "path"}
PROGRAMS = {
    **{f"{name}, {dtype}": of_network(name, dtype) for name in FAMILIES for dtype in models.DTYPES},
    "stochastic table": of_unet(sampling, {"name": "sde_dpmpp_2m"}),
    "table of the shape of samples": of_unet(sampling, {"name": "dpm_v3"}, STATISTICS),
    "in a basis": of_unet(sampling, **{"ems.basis": "dct"}),
    "teleport": of_unet(sampling, {"name": "unipc", "teleport": 10.0}, None, JUMP),
    "mixture": lambda folder: mixtures(),
    "statistics": of_unet(visit),
    "sums of statistics": lambda folder: of_sums("compensated"),
    "statistics, bfloat16": of_unet(visit, **HALF, **PATH),
    "statistics, guided": of_unet(visit, **GUIDED, **PATH),
    "training": lambda folder: training("float32", "muon"),
    "training, bfloat16": lambda folder: training("bfloat16", "adam"),
    "training of features": lambda folder: training_of_features(),
    "features": lambda folder: features("classifier", Classifier(channels=4, features=8), (2, 8, 8, 1)),
    "features of Inception": lambda folder: features("inception", Inception(), (2, 32, 32, 3)),
    "explained variance": of_unet(denoising),
    "trajectories": of_unet(trajectories),
    "finished samples": lambda folder: finished(),
}
# float64 is meant in these: sums of moments, in which products of float32 numbers are exact (TPUs take the compensated
# ones above), and orders of convergence
MEANT = {
    "sums of statistics": lambda folder: of_sums("float64"),
    "mixture, float64": lambda folder: mixtures(double=True),
}


def text_of(build, folder) -> str:
    """The program for both platforms, in StableHLO."""
    function, arguments = build(folder)
    program = export.export(jax.jit(lambda *args: function(*args)), platforms=PLATFORMS)(*arguments)
    assert set(program.platforms) == set(PLATFORMS)
    return program.mlir_module()


@pytest.mark.thin(3)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_lowers_for_accelerators_without_float64(name, folder):
    text = text_of(PROGRAMS[name], folder)
    assert not DOUBLE.search(text)
    assert ("xbf16>" in text) == ("bfloat16" in name)


@pytest.mark.parametrize("name", MEANT)
def test_where_float64_is_meant(name, folder, x64):
    assert DOUBLE.search(text_of(MEANT[name], folder))
