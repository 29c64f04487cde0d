"""A small convolutional classifier, whose last hidden layer serves as feature space of a Fréchet distance."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.checkpoint import load_params
from models.unet import GroupNorm, space_to_depth


class Classifier(nn.Module):
    """`__call__(x [B, H, W, C]) -> (features [B, features], logits [B, classes])`; H and W are multiples of 4."""

    channels: int = 32
    features: int = 128
    classes: int = 10

    @nn.compact
    def __call__(self, x):
        wide = 3 * self.channels
        x = nn.silu(GroupNorm(name="norm0")(nn.Conv(self.channels, (3, 3), name="conv0")(space_to_depth(x, 2))))
        x = nn.silu(GroupNorm(name="norm1")(nn.Conv(self.channels, (3, 3), name="conv1")(x)))
        x = nn.silu(GroupNorm(name="norm2")(nn.Dense(wide, name="down")(space_to_depth(x, 2))))
        x = nn.silu(GroupNorm(name="norm3")(nn.Conv(wide, (3, 3), name="conv2")(x)))
        x = nn.silu(GroupNorm(name="norm4")(nn.Conv(wide, (3, 3), name="conv3")(x)))
        features = nn.silu(nn.Dense(self.features, name="features")(x.mean((1, 2))))
        return features, nn.Dense(self.classes, name="logits")(features)


def init(module: Classifier, seed: int, shape) -> dict:
    """Fresh parameters for images of `shape` [H, W, C]."""
    return jax.jit(lambda: module.init(jax.random.key(seed), jnp.zeros((1, *shape)))["params"])()


def load(path) -> tuple[Classifier, dict]:
    """(module, params) of a parameter file that `experiment=classifier` wrote; ValueError for another network's."""
    params, meta = load_params(path)
    network = dict(meta["network"])
    if network.pop("name", None) != "classifier":
        raise ValueError(
            f"{path} holds the network {meta['network'].get('name')!r}, expected a classifier: train one "
            "with --config.experiment=classifier"
        )
    return Classifier(**network), params
