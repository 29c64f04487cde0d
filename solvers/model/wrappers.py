"""Wrappers: a wrapped model is again a pure `model(x [*D], t) -> out [*D]` of one unbatched sample.

`bind` makes a batched denoiser such a model. The others take and return models, with x_t = alpha x0 + sigma eps:

    static threshold      x0 <- clip(x0, -bound, bound)                                            (1)
    dynamic threshold     s = max(quantile of |x0|, least),  x0 <- clip(x0, -s, s) / s             (2)
    classifier guidance   eps <- eps - scale sigma grad_x log p(y | x)                             (3)
    two-model guidance    out <- scale conditional + (1 - scale) unconditional                     (4)
    basis                 y = U^T x,  out <- U^T model(U y, t)                                     (5)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from solvers.prediction import convert, translate


@dataclass(frozen=True)
class Bound:
    """A denoiser with its label (and schedule) fixed: `bound(x [*D], t) -> x0 [*D]`. Made by `bind`."""

    denoiser: Callable
    label: Any
    schedule: Any = None

    def __call__(self, x, t):
        return self.evaluate(x, t, jnp.asarray(self.label)[None])[0]

    def evaluate(self, x, t, labels):
        """The predictions [k, *D] for all labels [k] at the same x and t, from one call of the denoiser."""
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
    that a denoiser trained in EDM's coordinates serves every schedule (where alpha > 0).
    """
    return Bound(denoiser, label, schedule)


def guided(conditional, unconditional, scale) -> Callable:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), eq. (4); at scale 1 and 0 exactly one of them.

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
        return scale * c + (1 - scale) * u

    return model


def classifier_guidance(model, schedule, prediction: str, log_prob, scale) -> Callable:
    """Guidance by a classifier of noisy data (Dhariwal and Nichol 2021, arXiv 2105.05233), eq. (3), for any prediction.

    `log_prob(x [*D], t) -> scalar` is log p(y | x_t) up to a constant. The output keeps the model's prediction. Where
    alpha = 0 only eps and score can be guided; the others are NaN.
    """
    convert(1.0, 1.0, "eps", prediction)  # an unknown name is refused here, not at the first call

    def guided_model(x, t):
        alpha, sigma = schedule.alpha(t), jnp.asarray(schedule.sigma(t), x.dtype)
        change = -scale * sigma * jax.grad(log_prob)(x, t)
        # predictions are affine in eps: at x = 0 what remains is the factor of eps
        return model(x, t) + translate(jnp.zeros_like(x), change, alpha, sigma, "eps", prediction)

    return guided_model


def as_prediction(model, schedule, source: str, target: str) -> Callable:
    """A model of prediction `source` as one of prediction `target`: any of eps, x0, v, score, flow.

    NaN where the source does not determine the target: x0, v and flow from eps or score where alpha = 0; eps, v, score
    and flow from x0, and the score from anything else, where sigma = 0.
    """
    convert(1.0, 1.0, source, target)  # an unknown name is refused here, not at the first call
    return lambda x, t: translate(x, model(x, t), schedule.alpha(t), schedule.sigma(t), source, target)


def static_threshold(model, schedule, prediction: str, bound=1.0) -> Callable:
    """Eq. (1): the model as one of x0, clipped. Build its table with prediction="x0"."""
    x0 = as_prediction(model, schedule, prediction, "x0")
    return lambda x, t: jnp.clip(x0(x, t), -bound, bound)


def dynamic_threshold(model, schedule, prediction: str, ratio=0.995, least=1.0) -> Callable:
    """Eq. (2) (Imagen, Saharia et al. 2022, arXiv 2205.11487): the model as one of x0. Build its table with "x0".

    The quantile is over all entries of the sample, interpolated linearly. As in the published DPM-Solver++ the result
    is always divided by s, whose least value is `least` (`max_val` there): it lies in [-1, 1], is x0 itself where
    |x0| stays below least = 1, and x0 / least there for another `least`. For pixels in [-1, 1], not for latents.
    """
    if not 0 < ratio <= 1 or not least > 0:
        raise ValueError(f"dynamic_threshold needs 0 < ratio <= 1 and least > 0, got {ratio} and {least}: 0.995 and 1")
    x0 = as_prediction(model, schedule, prediction, "x0")

    def model_x0(x, t):
        y = x0(x, t)
        s = jnp.maximum(jnp.quantile(jnp.abs(y), ratio), least)
        return jnp.clip(y, -s, s) / s

    return model_x0


def in_basis(model, basis) -> Callable:
    """Eq. (5): the model in the coordinates y = U^T x of an orthogonal `basis` U [D, D] (columns: axes, flattened).

    y has the shape of x. Noise and the schedule are the same in both, so the same tables apply to y; so does every
    prediction. Large bases belong among the arguments of the jitted function, like parameters.
    """

    def turned(y, t):
        if basis.shape != (y.size, y.size):
            raise ValueError(f"a sample of shape {y.shape} needs a basis {(y.size, y.size)}, got {basis.shape}")
        u = jnp.asarray(basis, y.dtype)
        # accelerators multiply float32 matrices in fewer bits unless told not to
        out = model(jnp.matmul(u, y.reshape(-1), precision="highest").reshape(y.shape), t)
        return jnp.matmul(u.T, out.reshape(-1).astype(y.dtype), precision="highest").reshape(y.shape)

    return turned


def _steps(schedule) -> int:
    """N, the number of noise levels of training: 1000 unless the schedule is a discrete one that knows."""
    return len(getattr(schedule, "alphas_cumprod", range(1000)))


# What networks take for time, as functions of schedule and t. Label n is at t = (n + 1) / N; in between, fractions.
TIME_UNITS = {
    "label": lambda schedule, t: _steps(schedule) * t - 1,  # 0 .. N - 1: DDPM, Stable Diffusion
    "label_1000": lambda schedule, t: 1000 * (t - 1 / _steps(schedule)),  # labels rescaled to 1000: IDDPM, ADM
    "score_sde": lambda schedule, t: 999 * t,  # the VP networks of Song et al. 2021
    "sigma": lambda schedule, t: schedule.sigma(t) / schedule.alpha(t),  # VE networks, EDM denoisers
    "log_sigma": lambda schedule, t: -schedule.lam(t) / 4,  # c_noise of EDM
}


def time_units(network, schedule, unit) -> Callable:
    """`network(x [*D], time) -> out [*D]` that takes its time in `unit` as a model of the schedule's t.

    unit: a name of TIME_UNITS, or a function t -> time (with jnp.round for a network that needs whole labels; EMS
    then lack the derivative in t). A VE or EDM network also expects x / alpha: see `bind`.
    """
    if isinstance(unit, str) and unit not in TIME_UNITS:
        raise ValueError(f"unknown unit {unit!r} of time: choose one of {', '.join(TIME_UNITS)}, or give a function")
    to = unit if callable(unit) else lambda t: TIME_UNITS[unit](schedule, t)
    return lambda x, t: network(x, to(t))


def mean_only(network, channels: int, axis=-1) -> Callable:
    """The mean, the first `channels` along `axis`, of a network that also returns a variance (IDDPM, ADM)."""

    def model(x, t):
        out = network(x, t)
        if out.shape[axis] != 2 * channels:
            raise ValueError(
                f"mean_only expects {2 * channels} channels on axis {axis}, got an output of shape {out.shape}: "
                "give the number of channels of a sample, and the axis they are on"
            )
        return jax.lax.slice_in_dim(out, 0, channels, axis=axis)

    return model
