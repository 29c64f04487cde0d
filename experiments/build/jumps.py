"""From a config to the jump that takes the place of a solver's first steps (gaussian/flow.py)."""

import jax
import numpy as np

import gaussian
from experiments.build.checkpoints import find
from experiments.build.network import Network
from experiments.build.schedules import build_schedule, is_guided, sampling_range
from experiments.support.errors import ConfigError, config_errors


def build_gaussian(config, network: Network) -> gaussian.Mixture:
    """What the model's score is taken for at high noise: one Gaussian, or one per class where labels are given."""
    if is_guided(config):
        raise ConfigError(
            f"teleport.sigma is for models without guidance, got guidance.scale = {config.guidance.scale}: the guided "
            "score is of no Gaussian; set one of them back"
        )
    if config.model.name == "mixture":
        params = network.params if network.basis is None else network.params["network"]
        return gaussian.as_gaussian(params)
    if not config.teleport.gaussian:
        raise ConfigError(
            "teleport.sigma needs the data's Gaussian: set teleport.gaussian to a file that "
            "--config.experiment=fit_gaussian has written"
        )
    with config_errors():
        mixture, _ = gaussian.load_distribution(find(config.teleport.gaussian))
    if tuple(mixture.shape) != network.shape:
        raise ConfigError(
            f"{config.teleport.gaussian} is of data of shape {tuple(mixture.shape)}, the model's samples have "
            f"{network.shape}: fit one with --config.experiment=fit_gaussian"
        )
    components = len(mixture.weights)
    if config.model.labels == "none":
        return gaussian.as_gaussian(mixture)
    if components not in (1, network.classes):
        raise ConfigError(
            f"{config.teleport.gaussian} has {components} components, the model has {network.classes} classes: fit it "
            "with gaussian.kind=classes, or set model.labels=none"
        )
    return mixture


def build_jumps(config, network: Network, starts: dict) -> dict:
    """From {key: sigma / alpha where a table starts, or None} to {key: the jump there from where sampling starts}.

    None where there is nothing to jump over.
    """
    sigmas = set(starts.values()) - {None}
    mixture = build_gaussian(config, network) if sigmas else None
    jumps = {None: None} | {sigma: build_jump(config, mixture, sigma) for sigma in sigmas}
    return {key: jumps[sigma] for key, sigma in starts.items()}


def build_jump(config, mixture, sigma: float) -> gaussian.AffineMap | None:
    """The jump by `mixture` from where sampling starts to sigma / alpha = `sigma`, float32; None if that is no way."""
    schedule = build_schedule(config)
    (t_from, _), (t_to, _) = sampling_range(config, schedule), sampling_range(config, schedule, sigma)
    if np.isclose(t_from, t_to, rtol=1e-9):
        return None
    return jax.tree.map(np.float32, gaussian.teleport(mixture, schedule, t_from, t_to))
