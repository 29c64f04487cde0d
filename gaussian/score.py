"""Exact denoisers of Gaussians and Gaussian mixtures (arXiv 2412.09726).

x = alpha x0 + sigma noise with x0 ~ eq. (1) of distribution.py is again a mixture, with means alpha mu_k and
variances n(v) = alpha^2 v + sigma^2 in the same bases. With d_k = x - alpha mu_k and y_k = U_k^T d_k,

    E[x0 | x] = sum_k r_k [mu_k + U_k g(v_k) y_k + g(floor_k) (d_k - U_k y_k)],   g(v) = alpha v / n(v)      (1)
    log r_k   = log w_k - 1/2 sum_j [log n(v_kj) + y_kj^2 / n(v_kj)] + const                                (2)

where r_k is the probability of component k given x, and the sum in (2) runs over the complement of the basis too.
Nothing is divided by alpha: at alpha = 0 the result is the mean of the data.
"""

from functools import partial

import jax
import jax.numpy as jnp

# Accelerators multiply float32 matrices in fewer bits unless told not to; a score at sigma = 1e-3 needs them all.
_einsum = partial(jnp.einsum, precision="highest")


def posterior_mean(mixture, x, alpha, sigma):
    """E[x0 | x] of one sample x [*D], eq. (1); in the float type of x. alpha and sigma are scalars, sigma > 0."""
    weights, means, basis, variances, floor = (jnp.asarray(a, x.dtype) for a in mixture[:5])
    alpha, sigma = jnp.asarray(alpha, x.dtype), jnp.asarray(sigma, x.dtype)
    dim, rank = basis.shape[1:]
    noisy, noisy_floor = alpha**2 * variances + sigma**2, alpha**2 * floor + sigma**2
    gain, gain_floor = alpha * variances / noisy, alpha * floor / noisy_floor

    d = x.reshape(-1) - alpha * means
    y = _einsum("kdr,kd->kr", basis, d)
    # Sums over hundreds of pixels: ratios to the first component keep the differences that (2) is about in float32.
    log_det = jnp.log(noisy / noisy[0]).sum(1)
    distance = (y**2 / noisy).sum(1)
    if rank == dim:
        mean = means + _einsum("kdr,kr->kd", basis, gain * y)
    else:
        # The residual itself: |d|^2 - |y|^2 would cancel.
        rest = d - _einsum("kdr,kr->kd", basis, y)
        log_det += (dim - rank) * jnp.log(noisy_floor / noisy_floor[0])
        distance += (rest**2).sum(1) / noisy_floor
        mean = means + _einsum("kdr,kr->kd", basis, gain * y) + gain_floor[:, None] * rest
    responsibility = jax.nn.softmax(jnp.log(weights) - 0.5 * (log_det + distance))
    return _einsum("k,kd->d", responsibility, mean).reshape(x.shape)


def denoiser(mixture, schedule):
    """A model(x, t) of prediction "x0": E[x0 | x] for data from `mixture`, x [*D] of the shape of its samples."""

    def model(x, t):
        if x.shape != mixture.shape:
            raise ValueError(f"x has shape {x.shape}, the mixture's samples have {mixture.shape}: vmap over a batch")
        return posterior_mean(mixture, x, schedule.alpha(t), schedule.sigma(t))

    return model
