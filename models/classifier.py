"""A small convolutional classifier; its last hidden layer is the feature space of a Fréchet distance."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.checkpoint import load_params
from models.precision import rounded


def max_pool(x):
    """[B, H, W, C] -> [B, H / 2, W / 2, C]; by reshaping, whose gradient is fast on a CPU."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


class Classifier(nn.Module):
    """`__call__(x [B, H, W, C], key=None) -> (features [B, features], logits [B, classes])`.

    H and W are multiples of 4. With a `key`, in training, a share of `dropout` of the inputs of the dense layers is
    dropped.
    """

    channels: int = 32
    features: int = 128
    classes: int = 10
    dropout: float = 0.4

    @nn.compact
    def __call__(self, x, key=None):
        x = max_pool(nn.relu(nn.Conv(self.channels, (3, 3), name="conv0")(x)))
        x = max_pool(nn.relu(nn.Conv(2 * self.channels, (3, 3), name="conv1")(x)))
        x = nn.relu(nn.Conv(2 * self.channels, (3, 3), name="conv2")(x))
        x = self._drop(x.reshape(len(x), -1), key, 0)
        features = nn.relu(nn.Dense(self.features, name="features")(x))
        return features, nn.Dense(self.classes, name="logits")(self._drop(features, key, 1))

    def _drop(self, x, key, layer):
        if key is None:
            return x
        kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - self.dropout, x.shape)
        return jnp.where(kept, x / (1 - self.dropout), 0)


def noisy(module, preconditioning, schedule):
    """`make(params) -> log_prob(label, x [*D], t)` of a classifier of noisy data, module(x / r, time), r^2 = alpha^2 +
    sigma^2. Rounds the parameters to the module's dtype.

    It takes the time that a network of this preconditioning takes; `solvers.classifier_guidance` guides by it.
    """

    def make(params):
        variables = {"params": rounded(params, module.dtype)}

        def log_prob(label, x, t):
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            scaled = x / jnp.sqrt(jnp.square(alpha) + jnp.square(sigma)).astype(x.dtype)
            time = preconditioning.coefficients(jnp.asarray(sigma / alpha, x.dtype)).noise
            logits = module.apply(variables, scaled[None], time[None])[0]
            return jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))[label]

        return log_prob

    return make


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
