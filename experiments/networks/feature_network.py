"""The small convolutional network whose features images are compared in, and its training.

AdamW with cosine decay, dropout, images shifted by up to a pixel (no flips: all shoes point left).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.data import pixels
from experiments.data.progress import Progress
from experiments.metrics.spaces import Space
from experiments.networks.loop import batch_indices
from experiments.support.features import features
from models import classifier as classifiers

SHIFT = 1  # pixels of augmentation in each direction
BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 1.5e-3, 0.01


def shifted(key, images):
    """Each image of [B, H, W, C] moved by -SHIFT..SHIFT pixels, the border filled with black (-1)."""
    b, h, w, c = images.shape
    padded = jnp.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), constant_values=-1)
    offsets = jax.random.randint(key, (b, 2), 0, 2 * SHIFT + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (h, w, c)))(padded, offsets)


def make_step(module, optimiser, seed: int):
    """step(params, opt_state, number, images uint8, labels) -> (params, opt_state, loss)."""

    def batch_loss(params, key, images, labels):
        logits = module.apply({"params": params}, images, key)[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(params, opt_state, number, images, labels):
        shift, dropout = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
        images = shifted(shift, pixels.to_float(images))
        loss, gradient = jax.value_and_grad(batch_loss)(params, dropout, images, labels)
        change, opt_state = optimiser.update(gradient, opt_state, params)
        return optax.apply_updates(params, change), opt_state, loss

    return jax.jit(step, donate_argnums=(0, 1))


def fit(module, images, labels, *, epochs: float, seed: int = 0, batch: int = BATCH) -> dict:
    """Parameters after `epochs` passes over images uint8 [N, H, W, C] and labels [N]."""
    steps = max(1, round(epochs * len(images) / batch))
    rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, steps // 10, steps)
    optimiser = optax.adamw(rate, weight_decay=WEIGHT_DECAY)
    params = classifiers.init(module, seed, images.shape[1:])
    opt_state, step = optimiser.init(params), make_step(module, optimiser, seed)
    bar = Progress(range(steps), desc="classifier", unit="step")
    for number in bar:
        index = batch_indices(len(images), batch, range(number, number + 1), seed)[0]
        params, opt_state, loss = step(params, opt_state, number, images[index], labels[index])
        if number % 100 == 99 or number == steps - 1:
            if not np.isfinite(loss):
                raise FloatingPointError(f"the classifier's loss is {loss} at step {number}: use another train.seed")
            bar.set_postfix_str(f"loss={loss:.3f}")
    return params


def predict(module, params, images, batch: int = 250) -> np.ndarray:
    """Classes [N] of images uint8 [N, H, W, C]."""
    head = params["logits"]
    return (features(Space("classifier", module, params), images, batch) @ head["kernel"] + head["bias"]).argmax(-1)
