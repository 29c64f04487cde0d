"""The Gaussian that replaces a solver's first steps (gaussian/flow.py)."""

import gaussian
from experiments.build.checkpoints import find
from experiments.build.schedules import is_guided
from experiments.support.errors import ConfigError, config_errors


def data_gaussian(config, network, exact) -> gaussian.Mixture:
    """The Gaussian that stands for the data at high noise; with labels, one per class.

    exact: the mixture of a closed-form model, or None.
    """
    if is_guided(config):
        raise ConfigError(
            f"teleport.sigma is for models without guidance, got guidance.scale = {config.guidance.scale}: the guided "
            "score is of no Gaussian; set one of them back"
        )
    if exact is not None:
        return gaussian.as_gaussian(exact)
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
