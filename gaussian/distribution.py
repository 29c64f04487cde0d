"""Data distributions whose score is known: Gaussian, Gaussian mixture and the data themselves, one type.

    p(x0) = sum_k w_k N(x0; mu_k, U_k diag(v_k) U_k^T + floor_k (I - U_k U_k^T))                             (1)

A Gaussian has one component; a covariance kept to rank r < D has `floor` as the variance of all other directions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gaussian.eigen import eigenpairs


class Mixture(NamedTuple):
    """Eq. (1); D is the number of pixels of a sample. A pytree: the arrays are its leaves, `shape` is static.

    weights    [k], sum 1
    means      [k, D]
    basis      [k, D, r], orthonormal columns
    variances  [k, r], descending
    floor      [k], variance of the complement of the basis; of no effect when r = D
    shape      of a sample, its product is D

    With r = 0 the components are isotropic, with floor 0 they are points: the data themselves are a mixture too.
    Host arrays are float64; the means of `delta` keep the type of the data.
    """

    weights: np.ndarray
    means: np.ndarray
    basis: np.ndarray
    variances: np.ndarray
    floor: np.ndarray
    shape: tuple


jax.tree_util.register_pytree_node(
    Mixture, lambda m: (tuple(m[:5]), m.shape), lambda shape, leaves: Mixture._make((*leaves, shape))
)


def from_covariances(weights, means, covariances, rank=None) -> Mixture:
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
    check_rank(rank, dim)
    variances, basis, floor = (np.stack(parts) for parts in zip(*(eigenpairs(c, rank) for c in covariances)))
    return Mixture(weights, means.reshape(k, dim), basis, variances, floor, shape)


def check_rank(rank, dim):
    if rank is not None and not 1 <= rank <= dim:
        raise ValueError(f"rank must be from 1 to {dim}, the number of pixels, got {rank}: leave it out for full rank")


def delta(data) -> Mixture:
    """The data [N, *D] themselves, floating point: N equal components of variance 0. Means are a view of data."""
    data = np.asarray(data)
    check_data(data)
    k, flat = len(data), data.reshape(len(data), -1)
    weights, basis = np.full(k, 1 / k), np.zeros((k, flat.shape[1], 0))
    return Mixture(weights, flat, basis, np.zeros((k, 0)), np.zeros(k), data.shape[1:])


def check_data(data):
    """ValueError unless data are [N, *D] floating point with N > 0."""
    if data.ndim < 2 or not len(data):
        raise ValueError(f"data must be samples [N, *D], at least one, got an array of shape {data.shape}")
    if not np.issubdtype(data.dtype, np.floating):
        raise ValueError(f"data must be floating point, got {data.dtype}: scale images with x / 127.5 - 1 first")


def isotropic(mixture, variance=True) -> Mixture:
    """Components with the same means, and variance tr / D in all directions, or with none; rank 0."""
    return truncate(mixture, 0, floor=variance)


def truncate(mixture, rank, floor=True) -> Mixture:
    """Keeps the leading `rank` directions of each component; the others share their mean variance, or have none.

    `floor=False` is the low rank of arXiv 2412.09726. ValueError unless 0 <= rank <= the mixture's own.
    """
    dim, kept = mixture.basis.shape[1:]
    if not 0 <= rank <= kept:
        raise ValueError(f"rank must be from 0 to {kept}, what the mixture has, got {rank}: fit it with a higher rank")
    rest = 0 * mixture.floor
    if floor and rank < dim:
        rest = (mixture.variances[:, rank:].sum(axis=1) + (dim - kept) * mixture.floor) / (dim - rank)
    return mixture._replace(basis=mixture.basis[:, :, :rank], variances=mixture.variances[:, :rank], floor=rest)


def regularise(mixture, variance=1e-4) -> Mixture:
    """Every covariance plus `variance` times the identity."""
    return mixture._replace(variances=mixture.variances + variance, floor=mixture.floor + variance)


def component(mixture, index) -> Mixture:
    """The Gaussian with number `index`, which may be traced; for a number beyond the last, the last one."""
    traced = isinstance(index, jax.Array)  # a tracer is a jax.Array, and cannot index numpy arrays
    index = (jnp if traced else np).minimum(index, len(mixture.weights) - 1)
    one = jax.tree.map(lambda array: (jnp.asarray(array) if traced else array)[index][None], mixture)
    return one._replace(weights=np.ones(1, one.weights.dtype))


def as_gaussian(mixture, rank=None) -> Mixture:
    """The Gaussian with the mean and covariance of the mixture, exact, or truncated to `rank`; float64.

    Its covariance is f I + A S A^T, where f is the weighted mean of the floors and the columns of A are all bases and
    the means, counted from theirs. With less than D columns the eigenvectors are sought in their span, and there is
    no D x D matrix.
    """
    weights, means, basis, variances, floor = (np.asarray(array, np.float64) for array in mixture[:5])
    k, dim, kept = basis.shape
    floor = floor if kept < dim else 0 * floor
    mean, rest = weights @ means, weights @ floor
    scales = np.concatenate([(weights[:, None] * (variances - floor[:, None])).ravel(), weights])
    if len(scales) < dim:
        columns = np.concatenate([*basis, (means - mean).T], axis=1)
        span, inside = np.linalg.qr(columns)
        values, vectors, _ = eigenpairs((inside * scales) @ inside.T + rest * np.eye(len(scales)))
        vectors = span @ vectors
    else:
        covariance = ((means - mean).T * weights) @ (means - mean) + rest * np.eye(dim)
        for u, scale in zip(basis, scales[: k * kept].reshape(k, kept)):
            covariance += (u * scale) @ u.T
        values, vectors, _ = eigenpairs(covariance, overwrite=True)
    gaussian = Mixture(np.ones(1), mean[None], vectors[None], values[None], rest[None], mixture.shape)
    return gaussian if rank is None else truncate(gaussian, rank)


def sample_data(mixture, key, n) -> jax.Array:
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
