"""Preconditionings (Karras et al. 2022, arXiv 2206.00364, table 1), and EDM's training loss (section 5).

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)                                  (1)

            c_skip                  c_out                       c_in                c_noise
    edm     sd^2 / (s^2 + sd^2)     s sd / sqrt(s^2 + sd^2)     1 / sqrt(s^2 + sd^2)  log(s) / 4               (2)
    vp      1                       -s                          1 / sqrt(s^2 + 1)     (M - 1) t(s)             (3)
    ve      1                       s                           1                     log(s / 2)               (4)
    iddpm   1                       -s                          1 / sqrt(s^2 + 1)     M - 1 - nearest j, u_j = s (5)
    ddpm    1                       -s                          1 / sqrt(s^2 + 1)     N t(s) - 1               (6)

    loss = (sigma^2 + sd^2) / (sigma sd)^2 |D(x0 + sigma z; sigma) - x0|^2             (7)

with s = sigma, sd = sigma_data, the standard deviation of the data. By (1), loss (7) has the scale 1 at every noise
level. (3) is ScoreSDE's, with the time t(s) of its schedule; (5) rounds the label to one of improved DDPM's, (6) has
the labels of a discrete schedule, and what lies between them: guided diffusion's networks with DPM-Solver's times.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from solvers.schedule import VP, VPDiscrete


class Coefficients(NamedTuple):
    skip: jax.Array
    out: jax.Array
    inner: jax.Array
    noise: jax.Array


class Preconditioning(NamedTuple):
    """`coefficients(sigma) -> Coefficients` of the shape of sigma; `low` and `high`: the noise it was published for."""

    coefficients: Callable
    low: float
    high: float


def edm(sigma_data: float = 0.5) -> Preconditioning:
    """Equation (2)."""

    def coefficients(sigma):
        total = jnp.square(sigma) + sigma_data**2
        root = jax.lax.rsqrt(total)
        return Coefficients(sigma_data**2 / total, sigma * sigma_data * root, root, jnp.log(sigma) / 4)

    return Preconditioning(coefficients, 0.0, np.inf)


def vp(beta_d: float = 19.9, beta_min: float = 0.1, M: int = 1000, least: float = 1e-5) -> Preconditioning:
    """Equation (3); least: the smallest time of training."""
    schedule = VP(beta_min, beta_min + beta_d)
    low, high = (float(np.exp(-schedule.lam(t))) for t in (least, 1.0))
    return _variance_preserving(lambda sigma: (M - 1) * schedule.t_of_lam(-jnp.log(sigma)), low, high)


def ve(sigma_min: float = 0.02, sigma_max: float = 100.0) -> Preconditioning:
    """Equation (4)."""

    def coefficients(sigma):
        return Coefficients(jnp.ones_like(sigma), sigma, jnp.ones_like(sigma), jnp.log(0.5 * sigma))

    return Preconditioning(coefficients, sigma_min, sigma_max)


def iddpm(C_1: float = 0.001, C_2: float = 0.008, M: int = 1000) -> Preconditioning:
    """Equation (5): u_M = 0, u_(j-1) = sqrt((u_j^2 + 1) / max(abar_(j-1) / abar_j, C_1) - 1)."""
    alpha_bar = np.sin(0.5 * np.pi * np.arange(M + 1) / M / (C_2 + 1)) ** 2
    levels = np.zeros(M + 1)
    for j in range(M, 0, -1):
        levels[j - 1] = np.sqrt((levels[j] ** 2 + 1) / max(alpha_bar[j - 1] / alpha_bar[j], C_1) - 1)
    edges = (0.5 * (levels[1:] + levels[:-1]))[::-1]  # between neighbours, increasing

    def label(sigma):
        return jnp.searchsorted(jnp.asarray(edges, sigma.dtype), sigma).astype(sigma.dtype) - 1

    return _variance_preserving(label, levels[M - 1], levels[0])


def ddpm(first: float = 1e-4, last: float = 0.02, count: int = 1000) -> Preconditioning:
    """Equation (6), for betas that grow linearly from first to last."""
    schedule = VPDiscrete(np.cumprod(1 - np.linspace(first, last, count)))
    low, high = (float(np.exp(-schedule.lam(t))) for t in (1 / count, 1.0))
    return _variance_preserving(lambda sigma: count * schedule.t_of_lam(-jnp.log(sigma)) - 1, low, high)


def _variance_preserving(label, low, high) -> Preconditioning:
    """The preconditioning of a network that predicts the noise in x / sqrt(sigma^2 + 1)."""

    def coefficients(sigma):
        return Coefficients(jnp.ones_like(sigma), -sigma, jax.lax.rsqrt(jnp.square(sigma) + 1), label(sigma))

    return Preconditioning(coefficients, float(low), float(high))


PRECONDITIONINGS: dict[str, Callable[..., Preconditioning]] = {
    "edm": edm,
    "vp": vp,
    "ve": ve,
    "iddpm": iddpm,
    "ddpm": ddpm,
}


def denoise(apply, preconditioning: Preconditioning) -> Callable:
    """Equation (1): `apply(x [B, ...], c_noise [B], labels [B])` becomes a denoiser.

    Returns `denoiser(x [B, ...], sigma [B], labels [B]) -> x0 [B, ...]` in the precision of x, float32 at least,
    whatever the precision the network computes in. What a network returns beyond x's channels, a variance, is dropped.
    """

    def denoiser(x, sigma, labels):
        c = preconditioning.coefficients(sigma.reshape(sigma.shape + (1,) * (x.ndim - 1)))
        out = apply(c.inner * x, c.noise.reshape(sigma.shape), labels)[..., : x.shape[-1]]
        return c.skip * x + c.out * out.astype(x.dtype)

    return denoiser


def noise_levels(key, count: int, *, p_mean: float, p_std: float, uniform_share: float, low: float, high: float):
    """Training noise [count]: log-normal(p_mean, p_std), with a share drawn log-uniform over [low, high] instead.

    The log-normal of EDM puts 2e-6 of its mass above sigma = 80 and little below 0.01: without the uniform part a
    small network is not trained at the ends of the range that sampling uses.
    """
    choice, normal, uniform = jax.random.split(key, 3)
    log_normal = p_mean + p_std * jax.random.normal(normal, (count,))
    log_uniform = jax.random.uniform(uniform, (count,), minval=jnp.log(low), maxval=jnp.log(high))
    return jnp.exp(jnp.where(jax.random.uniform(choice, (count,)) < uniform_share, log_uniform, log_normal))


def loss(denoiser, x0, labels, sigma, noise, sigma_data: float):
    """Equation (7): one number per sample [B], the mean over pixels."""
    level = sigma.reshape(sigma.shape + (1,) * (x0.ndim - 1))
    weight = (jnp.square(sigma) + sigma_data**2) / jnp.square(sigma * sigma_data)
    error = jnp.square(denoiser(x0 + level * noise, sigma, labels) - x0)
    return weight * error.mean(tuple(range(1, x0.ndim)))
