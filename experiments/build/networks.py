"""Builds the network of a config, with guidance, in the solver's coordinates."""

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
from experiments.build.mixtures import mixture
from experiments.build.schedules import has_classifier, span
from experiments.support.errors import ConfigError, choose, config_errors

LEEWAY = 1e-3  # relative, for noise levels: the ends of schedules are given in few digits


class Network(NamedTuple):
    """`make(params, label)` returns model(x, t) for one sample [*shape]; params are arguments of jit, never constants.

    label: an integer, `classes` for "no label". `prediction`: the kind of the model's output. `basis` [D, D]: U if x is
    in the coordinates y = U^T x (bases.py), None if x is in pixels.
    """

    params: Any
    make: Callable
    prediction: str
    shape: tuple
    classes: int
    basis: np.ndarray | None = None


class Guided(NamedTuple):
    """The params of a guided network: those of its parts and `guidance.scale`, all arguments of jit."""

    weights: Any
    scale: float


def weights_of(params):
    """The params without the guidance scale. They identify a network at any scale."""
    guided = lambda node: isinstance(node, Guided)  # noqa: E731
    return jax.tree.map(lambda node: node.weights if guided(node) else node, params, is_leaf=guided)


def network(config, schedule, *, guided: bool, basis: str) -> Network:
    """The network of `model` for times of `schedule`, guided or not, in the coordinates `basis`."""
    kinds = {"unet": _load_network, "mixture": _mixture_network}
    with config_errors():
        found = choose(kinds, config.model.name, "model")(config, schedule)
    return turn(config, _guide(config, found, schedule) if guided else found, basis)


def _guide(config, network: Network, schedule) -> Network:
    guide = _guide_by_classifier if has_classifier(config) else _guide_by_labels
    guided = guide(config, network, schedule)
    if config.model.labels == "none" or not guided.classes:
        raise ConfigError(
            f"guidance.scale = {config.guidance.scale} needs labels: set model.labels to all or to a class number"
        )
    return guided._replace(params=Guided(guided.params, float(config.guidance.scale)))


def _guide_by_labels(config, network: Network, schedule) -> Network:
    def make(params, label):
        conditional = network.make(params.weights, label)
        return models.guided(conditional, replace(conditional, label=network.classes), params.scale)

    return network._replace(make=make)


def _guide_by_classifier(config, network: Network, schedule) -> Network:
    """Guides by the classifier of `guidance`. The network itself may have no classes."""
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


def _load_network(config, schedule) -> Network:
    params, meta = load_checkpoint(config)
    make_denoiser, known = models.denoisers(meta, config.model.dtype), models.preconditioning(meta)
    check_levels(span(config.grid, schedule), schedule, known)
    shape = meta.get("shape", (28, 28, 1))  # files of the first version do not have it: Fashion-MNIST
    shift = None if isinstance(schedule, schedules.EDM) else schedule

    def make(params, label):
        return models.bind(make_denoiser(params), label, shift)

    return Network(params, make, "x0", tuple(shape), meta["network"]["classes"])


def check_levels(times, schedule, known) -> None:
    """ConfigError if sampling leaves the noise levels sigma / alpha that the network was published for."""
    high, low = (float(np.exp(-schedule.lam(t))) for t in times)
    if high > known.high * (1 + LEEWAY) or low < known.low * (1 - LEEWAY):
        raise ConfigError(
            f"the network is for noise levels sigma / alpha from {known.low:.6g} to {known.high:.6g}, sampling goes "
            f"from {high:.6g} to {low:.6g}: set grid.t_start and grid.t_end within"
        )


def _mixture_network(config, schedule) -> Network:
    def make(params, label):
        return gaussian.denoiser(params, schedule)

    return Network(mixture(config), make, "x0", tuple(config.mixture.shape), 0)
