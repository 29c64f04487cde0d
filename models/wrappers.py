"""Denoisers as models: `model(x, t) -> x0` of one unbatched sample, the form that solvers evaluate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp


@dataclass(frozen=True)
class Bound:
    """A denoiser with its label (and schedule) fixed: `bound(x [*D], t) -> x0 [*D]`. Made by `bind`."""

    denoiser: Callable
    label: Any
    schedule: Any = None

    def __call__(self, x, t):
        return self.evaluate(x, t, jnp.asarray(self.label)[None])[0]

    def evaluate(self, x, t, labels):
        """All labels [k] at the same x and t, in one call of the denoiser: [k, *D]."""
        sigma = jnp.asarray(t, x.dtype)
        if self.schedule is not None:
            alpha = jnp.asarray(self.schedule.alpha(t), x.dtype)
            x, sigma = x / alpha, jnp.asarray(self.schedule.sigma(t), x.dtype) / alpha
        batch = jnp.broadcast_to(x, labels.shape + x.shape)
        return self.denoiser(batch, jnp.broadcast_to(sigma, labels.shape), labels)


def bind(denoiser, label, schedule=None) -> Bound:
    """Fix the label of `denoiser(x [B, *D], sigma [B], labels [B]) -> x0 [B, *D]`; vmap the result for a batch.

    label is a number (traced or not), in 0..classes with `classes` for "no label". The result predicts x0. Without a
    schedule, t is the noise level sigma (EDM); with one, x_t = alpha x0 + sigma eps is rescaled to x_t / alpha, so
    that a denoiser trained in EDM's coordinates serves every schedule.
    """
    return Bound(denoiser, label, schedule)


def guided(conditional, unconditional, scale):
    """Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): u + scale (c - u), scale 1 is no guidance.

    Both models must predict the same kind of output. Two `bind`s of one denoiser are evaluated as one batch of two;
    other models are called one after the other.
    """
    paired = (
        isinstance(conditional, Bound)
        and isinstance(unconditional, Bound)
        and conditional.denoiser is unconditional.denoiser
        and conditional.schedule == unconditional.schedule
    )

    def model(x, t):
        if paired:
            labels = jnp.stack([jnp.asarray(conditional.label), jnp.asarray(unconditional.label)])
            c, u = conditional.evaluate(x, t, labels)
        else:
            c, u = conditional(x, t), unconditional(x, t)
        return u + scale * (c - u)

    return model
