"""Exact denoisers and scores of Gaussians, Gaussian mixtures and the data themselves (arXiv 2412.09726).

x = alpha x0 + sigma noise with x0 ~ eq. (1) of distribution.py is again a mixture, with means alpha mu_k and
variances n(v) = alpha^2 v + sigma^2 in the same bases. With d_k = x - alpha mu_k and y_k = U_k^T d_k,

    E[x0 | x] = sum_k r_k [mu_k + U_k g(v_k) y_k + g(floor_k) (d_k - U_k y_k)],   g(v) = alpha v / n(v)      (1)
    score     = sum_k r_k [the same without mu_k],                                g(v) = -1 / n(v)           (2)
    log r_k   = log w_k - 1/2 sum_j [log n(v_kj) + y_kj^2 / n(v_kj)] + const                                (3)

where r_k is the probability of component k given x, and the sum in (3) runs over the complement of the basis too.
Nothing is divided by alpha: at alpha = 0 the result is the mean of the data.

Components are visited in chunks, with a running logarithm of the sum of (3), so memory does not grow with their
number: 60,000 images of 784 pixels as components of rank 0 (`distribution.delta`) need a few MB beside the images.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

# Accelerators multiply float32 matrices in fewer bits unless told not to; a score at sigma = 1e-3 needs them all.
_einsum = partial(jnp.einsum, precision="highest")

# The size of a chunk of components, in numbers. Each sample of a batch needs chunk x D numbers with a basis, and chunk
# without one. LEAST_RANK keeps chunk x D small when the rank is low.
CHUNK = 2**20
LEAST_RANK = 64


def posterior_mean(mixture, x, alpha, sigma) -> jax.Array:
    """E[x0 | x] of one sample x [*D], eq. (1); in the float type of x. alpha and sigma are scalars, sigma > 0.

    A mixture of rank 0 compares distances by |m|^2 - 2 m x, a matrix product under vmap, with x and the means m counted
    from the mean of the data: in float32 log r_k is wrong by some 1e-7 (|x| + |m|)^2 / (sigma^2 + floor), which
    matters only where two images are as near to x as that.
    """
    return _expectation(mixture, x, alpha, sigma, 1.0, lambda v, a, s: a * v / (a**2 * v + s**2))


def posterior_score(mixture, x, alpha, sigma) -> jax.Array:
    """grad log p(x) of one sample x [*D], eq. (2): without the cancellation of (alpha E[x0 | x] - x) / sigma^2."""
    return _expectation(mixture, x, alpha, sigma, 0.0, lambda v, a, s: -1 / (a**2 * v + s**2))


def expanded_mean(gaussian, x, alpha, sigma, order=1, regularised=False) -> jax.Array:
    """E[x0 | x] by a score expanded in the covariance S of a Gaussian: for high noise, without an inverse.

        score = -(1/rho) [I - alpha^2 S / rho  (+ alpha^4 S^2 / rho^2 for order 2)] (x - alpha mu)             (4)

    rho = sigma^2 (converges for sigma^2 > alpha^2 times the largest variance), or with `regularised`
    sigma^2 + alpha^2 tr S / 2: of order 1, softmax weights of the data linearised in x. ValueError for a mixture of
    several components and for other orders.
    """
    if len(gaussian.weights) != 1 or order not in (1, 2):
        raise ValueError(
            f"expansions are of one Gaussian, to order 1 or 2, got {len(gaussian.weights)} components and order "
            f"{order}: take as_gaussian(mixture)"
        )
    basis, variances, floor = (jnp.asarray(a, x.dtype) for a in gaussian[2:5])
    half = 0.5 * (variances.sum() + (basis.shape[1] - basis.shape[2]) * floor[0]) if regularised else 0.0

    def gain(v, a, s):
        # (x + sigma^2 score) / alpha, written so that nothing is divided by alpha.
        rho = s**2 + a**2 * half
        first = v * (s**2 / rho)
        return a / rho * (half + (first if order == 1 else first * (1 - a**2 * v / rho)))

    return _expectation(gaussian, x, alpha, sigma, 1.0, gain)


def denoiser(mixture, schedule) -> Callable:
    """A model(x, t) of prediction "x0": E[x0 | x] for data from `mixture`, x [*D] of the shape of its samples.

    Large mixtures belong among the arguments of the jitted function, like parameters.
    """
    return _model(posterior_mean, mixture, schedule)


def score(mixture, schedule) -> Callable:
    """A model(x, t) of prediction "score", as `denoiser`."""
    return _model(posterior_score, mixture, schedule)


def expansion(gaussian, schedule, order=1, regularised=False) -> Callable:
    """A model(x, t) of prediction "x0", by eq. (4) of `expanded_mean`; as `denoiser`."""
    return _model(partial(expanded_mean, order=order, regularised=regularised), gaussian, schedule)


def _model(function, mixture, schedule):
    def model(x, t):
        if x.shape != mixture.shape:
            raise ValueError(f"x has shape {x.shape}, the mixture's samples have {mixture.shape}: vmap over a batch")
        return function(mixture, x, schedule.alpha(t), schedule.sigma(t))

    return model


def _expectation(mixture, x, alpha, sigma, of_mean, gain):
    """sum_k r_k [of_mean mu_k + U_k gain(v_k) y_k + gain(floor_k) (d_k - U_k y_k)]; gain(v, alpha, sigma)."""
    alpha, sigma = jnp.asarray(alpha, x.dtype), jnp.asarray(sigma, x.dtype)
    count, dim, rank = mixture.basis.shape
    chunk = min(count, max(1, CHUNK // (dim * (max(rank, LEAST_RANK) if rank else 1))))
    terms = _terms_without_basis if rank == 0 else _terms_with_basis
    terms = terms(mixture, x.reshape(-1), alpha, sigma, of_mean, lambda v: gain(v, alpha, sigma))

    def visit(carry, first):
        peak, total, vector = carry
        # The last chunk starts earlier if it would reach beyond the end, and skips what the chunk before has seen.
        start = jnp.minimum(first, count - chunk)
        logits, combine = terms(_part(mixture, start, chunk, x.dtype))
        logits = jnp.where(start + jnp.arange(chunk) < first, -jnp.inf, logits)
        top = jax.lax.stop_gradient(jnp.maximum(peak, logits.max()))
        likely, fade = jnp.exp(logits - top), jnp.exp(peak - top)
        return (top, fade * total + likely.sum(), fade * vector + combine(likely)), None

    # Not -inf: exp(-inf - -inf) would be nan while all weights so far are 0.
    carry = jnp.finfo(x.dtype).min, jnp.zeros((), x.dtype), jnp.zeros(dim, x.dtype)
    carry = jax.tree.map(lambda value: jnp.asarray(value, x.dtype), carry)
    if chunk == count:
        (_, total, vector), _ = visit(carry, 0)
    else:
        (_, total, vector), _ = jax.lax.scan(visit, carry, jnp.arange(0, count, chunk))
    return (vector / total).reshape(x.shape)


def _part(mixture, start, size, dtype):
    """weights, means, basis, variances, floor of `size` components from `start` on, in this type."""
    return tuple(jax.lax.dynamic_slice_in_dim(jnp.asarray(leaf), start, size).astype(dtype) for leaf in mixture[:5])


def _terms_with_basis(mixture, x, alpha, sigma, of_mean, gain):
    """A function of c components: (log r_k up to a constant [c], a function that sums their terms by weights [c])."""
    _, _, _, *first = _part(mixture, 0, 1, x.dtype)
    dim, rank = mixture.basis.shape[1:]

    def terms(part):
        weights, means, basis, variances, floor = part
        noisy, noisy_floor = (alpha**2 * v + sigma**2 for v in (variances, floor))
        d = x - alpha * means
        y = _einsum("kdr,kd->kr", basis, d)
        # Sums over hundreds of pixels: as ratios to the first component, they keep the differences in (3) in float32.
        log_det = jnp.log(noisy / (alpha**2 * first[0] + sigma**2)).sum(1)
        distance = (y**2 / noisy).sum(1)
        if rank < dim:
            # From the residual itself: |d|^2 - |y|^2 would cancel.
            rest = d - _einsum("kdr,kr->kd", basis, y)
            log_det += (dim - rank) * jnp.log(noisy_floor / (alpha**2 * first[1] + sigma**2))
            distance += (rest**2).sum(1) / noisy_floor

        def combine(likely):
            inside = _einsum("kdr,kr->d", basis, likely[:, None] * gain(variances) * y)
            total = _einsum("k,kd->d", of_mean * likely, means) + inside
            return total if rank == dim else total + _einsum("k,kd->d", likely * gain(floor), rest)

        return jnp.log(weights) - 0.5 * (log_det + distance), combine

    return terms


def _terms_without_basis(mixture, x, alpha, sigma, of_mean, gain):
    """`_terms_with_basis` for components with one variance, `floor`, in all directions."""
    first = alpha**2 * jnp.asarray(mixture.floor, x.dtype)[0] + sigma**2
    center = _einsum("k,kd->d", *(jnp.asarray(leaf, x.dtype) for leaf in mixture[:2]))
    d = x - alpha * center

    def terms(part):
        weights, means, _, _, floor = part
        noisy, m = alpha**2 * floor + sigma**2, alpha * (means - center)
        # |d|^2 counts only if variances differ: a term that all components share would round off their differences.
        distance = ((m**2).sum(1) - 2 * _einsum("kd,d->k", m, d)) / noisy + (d**2).sum() * (1 / noisy - 1 / first)
        log_det = x.size * jnp.log(noisy / first)

        def combine(likely):
            g = gain(floor)
            return _einsum("k,kd->d", likely * (of_mean - alpha * g), means) + (likely * g).sum() * x

        return jnp.log(weights) - 0.5 * (log_det + distance), combine

    return terms
