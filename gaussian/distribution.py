"""Data distributions whose score is known: Gaussian and Gaussian mixture, one type.

    p(x0) = sum_k w_k N(x0; mu_k, U_k diag(v_k) U_k^T + floor_k (I - U_k U_k^T))                             (1)

A Gaussian has one component; a covariance kept to rank r < D has `floor` as the variance of all other directions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Mixture(NamedTuple):
    """Eq. (1); D is the number of pixels of a sample. A pytree: the arrays are its leaves, `shape` is static.

    weights    [k], sum 1
    means      [k, D]
    basis      [k, D, r], orthonormal columns
    variances  [k, r], descending
    floor      [k], variance of the complement of the basis; of no effect when r = D
    shape      of a sample, its product is D
    """

    weights: np.ndarray
    means: np.ndarray
    basis: np.ndarray
    variances: np.ndarray
    floor: np.ndarray
    shape: tuple


jax.tree_util.register_pytree_node(
    Mixture, lambda m: (tuple(m[:5]), m.shape), lambda shape, leaves: Mixture(*leaves, shape)
)


def from_covariances(weights, means, covariances, rank=None):
    """Mixture with the given weights [k], means [k, *D] and covariances [k, D, D] (numpy, float64).

    With `rank` the leading eigenpairs are kept and the others share their mean variance as the floor.
    ValueError if the shapes disagree, a weight is negative or the weights do not sum to 1 within 1e-6.
    """
    weights, means, covariances = (np.asarray(a, np.float64) for a in (weights, means, covariances))
    k, shape, dim = len(weights), means.shape[1:], int(np.prod(means.shape[1:]))
    if means.shape[0] != k or covariances.shape != (k, dim, dim):
        raise ValueError(
            f"{k} weights with means {means.shape} need covariances {(k, dim, dim)}, got {covariances.shape}: "
            f"give weights [k], means [k, *D] and covariances [k, prod(D), prod(D)]"
        )
    if weights.min() < 0 or abs(weights.sum() - 1) > 1e-6:
        raise ValueError(f"weights must be >= 0 with sum 1, got {weights} with sum {weights.sum()}: divide by the sum")
    rank = dim if rank is None else rank
    if not 1 <= rank <= dim:
        raise ValueError(f"rank must be from 1 to {dim}, the number of pixels, got {rank}: leave it out for full rank")
    variances, basis = np.linalg.eigh(covariances)
    # A singular covariance has eigenvalues of -1e-17 instead of 0.
    variances, basis = np.maximum(variances[:, ::-1], 0), basis[:, :, ::-1]
    floor = variances[:, rank:].mean(axis=1) if rank < dim else np.zeros(k)
    return Mixture(weights, means.reshape(k, dim), basis[:, :, :rank].copy(), variances[:, :rank].copy(), floor, shape)


def fit_gaussian(data, rank=None, chunk=4096):
    """Gaussian with the mean and covariance (N - 1) of data [N, *D], any real dtype, summed in float64 in two passes.

    ValueError for fewer than 2 samples, for integers (scale images to [-1, 1] first) and for values not finite.
    """
    data = np.asarray(data)
    n = len(data)
    if n < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {n}: give data [N, *D]")
    if not np.issubdtype(data.dtype, np.floating):
        raise ValueError(f"data must be floating point, got {data.dtype}: scale images with x / 127.5 - 1 first")
    flat = data.reshape(n, -1)
    parts = [slice(i, i + chunk) for i in range(0, n, chunk)]
    mean = sum(flat[part].sum(axis=0, dtype=np.float64) for part in parts) / n
    if not np.isfinite(mean).all():
        raise ValueError(f"{int((~np.isfinite(mean)).sum())} of {mean.size} pixels hold values that are not finite")
    scatter = np.zeros((mean.size, mean.size))
    for part in parts:
        centered = flat[part] - mean
        scatter += centered.T @ centered
    return from_covariances([1.0], mean.reshape(1, *data.shape[1:]), scatter[None] / (n - 1), rank)


def sample_data(mixture, key, n):
    """n samples of eq. (1), [n, *D], in JAX's default float type; sample i depends on fold_in(key, i) only."""
    dtype = jnp.result_type(float)
    weights, means, basis, variances, floor = (jnp.asarray(a, dtype) for a in mixture[:5])

    def draw(i):
        component, noise = jax.random.split(jax.random.fold_in(key, i))
        return (
            jax.random.categorical(component, jnp.log(weights)),
            jax.random.normal(noise, means.shape[1:], dtype),
        )

    chosen, z = jax.vmap(draw)(jnp.arange(n))

    def add(total, component):
        index, mean, basis, variances, floor = component
        # U^T z and (I - U U^T) z are independent: one draw serves both.
        y = jnp.matmul(z, basis, precision="highest")
        inside = jnp.matmul((jnp.sqrt(variances) - jnp.sqrt(floor)) * y, basis.T, precision="highest")
        sample = mean + inside + jnp.sqrt(floor) * z
        return jnp.where((chosen == index)[:, None], sample, total), None

    components = (jnp.arange(len(weights)), means, basis, variances, floor)
    samples, _ = jax.lax.scan(add, jnp.zeros_like(z), components)
    return samples.reshape(n, *mixture.shape)
