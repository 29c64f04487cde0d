"""EDM preconditioning and its training loss (Karras et al. 2022, arXiv 2206.00364, section 5, table 1).

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)                                  (1)
    c_skip = sd^2 / (sigma^2 + sd^2)          c_out = sigma sd / sqrt(sigma^2 + sd^2)
    c_in = 1 / sqrt(sigma^2 + sd^2)           c_noise = log(sigma) / 4                 (2)
    loss = (sigma^2 + sd^2) / (sigma sd)^2 |D(x0 + sigma z; sigma) - x0|^2             (3)

with sd = sigma_data, the standard deviation of the data. By (1), loss (3) has the scale 1 at every noise level.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Coefficients(NamedTuple):
    skip: jax.Array
    out: jax.Array
    inner: jax.Array
    noise: jax.Array


def coefficients(sigma, sigma_data: float) -> Coefficients:
    """Equation (2), of the shape of sigma."""
    total = jnp.square(sigma) + sigma_data**2
    root = jax.lax.rsqrt(total)
    return Coefficients(sigma_data**2 / total, sigma * sigma_data * root, root, jnp.log(sigma) / 4)


def denoise(apply, sigma_data: float):
    """Equation (1): `apply(x [B, ...], c_noise [B], labels [B])` becomes a denoiser.

    Returns `denoiser(x [B, ...], sigma [B], labels [B]) -> x0 [B, ...]` in the precision of x, float32 at least,
    whatever the precision the network computes in.
    """

    def denoiser(x, sigma, labels):
        c = coefficients(sigma.reshape(sigma.shape + (1,) * (x.ndim - 1)), sigma_data)
        out = apply(c.inner * x, c.noise.reshape(sigma.shape), labels)
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
    """Equation (3): one number per sample [B], the mean over pixels."""
    level = sigma.reshape(sigma.shape + (1,) * (x0.ndim - 1))
    weight = (jnp.square(sigma) + sigma_data**2) / jnp.square(sigma * sigma_data)
    error = jnp.square(denoiser(x0 + level * noise, sigma, labels) - x0)
    return weight * error.mean(tuple(range(1, x0.ndim)))
