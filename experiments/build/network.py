"""From a config to a network: the half of build.py that knows kinds of models."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

import gaussian
import models
import solvers.schedule as schedules
from experiments.build.bases import turn
from experiments.build.checkpoints import load_checkpoint
from experiments.build.schedules import build_schedule, has_classifier, is_guided, sampling_range
from experiments.data.fashion_mnist import SHAPES
from experiments.support import keys
from experiments.support.errors import ConfigError, choose, config_errors

TELEPORTING = ("benchmark", "sample", "speed", "throughput")  # the experiments that take teleport.sigma
LEEWAY = 1e-3  # of the noise levels of a network: ends of schedules are given in few digits


class Network(NamedTuple):
    """`make(params, label) -> model(x, t)` of one sample [*shape]; params are arguments of jit, never constants.

    label: an integer, `classes` for "no label". `prediction`: what the model's output is. `basis` [D, D]: U where
    x is in the coordinates y = U^T x (bases.py), None where it is in pixels.
    """

    params: Any
    make: Callable
    prediction: str
    shape: tuple
    classes: int
    basis: np.ndarray | None = None


class Guided(NamedTuple):
    """The params of a guided network: those of its parts, and `guidance.scale`, an argument of jit as they are."""

    weights: Any
    scale: float


def weights_of(params):
    """Without the scale of guidance: what a network is known by, whatever it is guided with."""
    guided = lambda node: isinstance(node, Guided)  # noqa: E731
    return jax.tree.map(lambda node: node.weights if guided(node) else node, params, is_leaf=guided)


def build_model(config, guidance=True) -> Network:
    """The network of `model`, in `ems.basis`; with classifier-free guidance where `guidance.scale` is not 1."""
    if config.teleport.sigma is not None and config.experiment not in TELEPORTING:
        raise ConfigError(
            f"teleport.sigma is set, but {config.experiment} does not teleport: leave it at None, or take one of "
            f"{', '.join(TELEPORTING)}"
        )
    kinds = {"unet": _load_network, "mixture": _mixture_network}
    with config_errors():
        network = choose(kinds, config.model.name, "model")(config)
    return turn(config, _guide(config, network) if guidance else network)


def _guide(config, network: Network) -> Network:
    if not is_guided(config):
        return network
    guided = (_guide_by_classifier if has_classifier(config) else _guide_by_labels)(config, network)
    if config.model.labels == "none" or not guided.classes:
        raise ConfigError(
            f"guidance.scale = {config.guidance.scale} needs labels: set model.labels to all or to a class number"
        )
    return guided._replace(params=Guided(guided.params, float(config.guidance.scale)))


def _guide_by_labels(config, network: Network) -> Network:
    def make(params, label):
        conditional = network.make(params.weights, label)
        return models.guided(conditional, replace(conditional, label=network.classes), params.scale)

    return network._replace(make=make)


def _guide_by_classifier(config, network: Network) -> Network:
    """By the classifier of `guidance`: with its parameters beside those of the network, which may have no classes."""
    schedule = build_schedule(config)
    params, meta = load_checkpoint(config, "guidance")
    make_log_prob = models.noisy_classifier(meta, schedule, config.model.dtype)
    classes = meta["network"]["classes"]
    if meta.get("shape") != list(network.shape) or network.classes not in (0, classes):
        raise ConfigError(
            f"the classifier is of {classes} classes of images of {meta.get('shape')}, the network "
            f"of {network.classes} of {list(network.shape)}: set guidance.checkpoint to one of the same data"
        )

    def make(params, label):
        model = network.make(params.weights["network"], label)
        log_prob = partial(make_log_prob(params.weights["classifier"]), label)
        return models.classifier_guidance(model, schedule, network.prediction, log_prob, params.scale)

    return network._replace(params={"network": network.params, "classifier": params}, make=make, classes=classes)


def _load_network(config) -> Network:
    schedule = build_schedule(config)
    params, meta = load_checkpoint(config)
    make_denoiser, known = models.denoisers(meta, config.model.dtype), models.preconditioning(meta)
    check_levels(sampling_range(config, schedule), schedule, known)
    shape = meta.get("shape", (*SHAPES["train-images-idx3-ubyte"][1:], 1))
    shift = None if isinstance(schedule, schedules.EDM) else schedule

    def make(params, label):
        return models.bind(make_denoiser(params), label, shift)

    return Network(params, make, "x0", tuple(shape), meta["network"]["classes"])


def check_levels(times, schedule, known) -> None:
    """Sampling must stay within the noise levels sigma / alpha that a network was published for."""
    high, low = (float(np.exp(-schedule.lam(t))) for t in times)
    if high > known.high * (1 + LEEWAY) or low < known.low * (1 - LEEWAY):
        raise ConfigError(
            f"the network is for noise levels sigma / alpha from {known.low:.6g} to {known.high:.6g}, sampling goes "
            f"from {high:.6g} to {low:.6g}: set grid.t_start and grid.t_end within"
        )


def _mixture_network(config) -> Network:
    schedule = build_schedule(config)

    def make(mixture, label):
        return gaussian.denoiser(mixture, schedule)

    return Network(build_mixture(config), make, "x0", tuple(config.mixture.shape), 0)


def build_mixture(config) -> gaussian.Mixture:
    """A random mixture of `config.mixture`, the same for the same seed: unequal weights, tilted covariances."""
    c = config.mixture
    rng, dimension = np.random.default_rng(c.seed), int(np.prod(c.shape))
    means = rng.normal(size=(c.components, dimension))
    means *= c.radius / np.linalg.norm(means, axis=1, keepdims=True)
    basis = np.linalg.qr(rng.normal(size=(c.components, dimension, dimension)))[0]
    low, high = np.log(c.deviations)
    variances = np.exp(2 * rng.uniform(low, high, (c.components, dimension)))
    weights = rng.dirichlet(np.full(c.components, 8.0))
    covariances = np.einsum("kij,kj,klj->kil", basis, variances, basis)
    return gaussian.from_covariances(weights, means.reshape(-1, *c.shape), covariances)


def build_labels(config, network: Network, indices, seed=None) -> np.ndarray:
    """The class of each sample, int32 [n], a function of its index alone; `network.classes` is "no label".

    seed: of the rule `random`, by default sample.seed.
    """
    wanted, classes = str(config.model.labels), network.classes
    if wanted == "none":
        return np.full(len(indices), classes, np.int32)
    if wanted == "all" and classes:
        return (np.asarray(indices) % classes).astype(np.int32)
    if wanted == "random" and classes:
        seed = config.sample.seed if seed is None else seed
        return np.asarray(keys.random_labels(seed, np.asarray(indices, np.int32), classes))
    if not wanted.isdigit() or int(wanted) >= classes:
        raise ConfigError(f"model.labels must be none, all, random, or a class below {classes}, got {wanted!r}")
    return np.full(len(indices), int(wanted), np.int32)
