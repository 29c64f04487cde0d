"""Fits distributions (gaussian/distribution.py) to data: a Gaussian in one pass, mixtures by class or by k-means.

Rows X of a chunk, centred on their own mean m', join the scatter S of the n rows before, which have the mean m, by

    S <- S + X^T X + (n n' / (n + n')) (m' - m) (m' - m)^T                                                   (1)

(Chan, Golub and LeVeque 1979), without cancellation, whatever the mean. Where D x D numbers are too many, the leading
directions are sought by subspace iteration from random ones (Halko, Martinsson and Tropp 2011, algorithm 4.4):

    Q <- orthonormal basis of C Q,    C Q = X^T (X Q) / (N - 1), summed over chunks                          (2)
"""

import jax
import numpy as np

from gaussian.distribution import Mixture, check_data, check_rank, regularise
from gaussian.eigen import eigenpairs

FULL = 16_384  # the largest D for a D x D matrix by default: 2 GB, and as much again for eigenvectors
CHUNK = 2**23  # data is read in chunks of so many float64 numbers, 64 MiB
PASSES = 4  # passes over the data for (2)


def fit_gaussian(data, rank=None, biased=False, chunk=None, method="auto") -> Mixture:
    """Gaussian with the mean and covariance (N - 1, or N if `biased`) of data [N, *D], any real dtype, in float64.

    data    an array, or for data larger than memory a function that returns a fresh iterator of chunks [n, *D]
    rank    of the leading eigenpairs that are kept; the others share their mean variance as the floor
    chunk   samples at a time, of an array; by default as many as fill 64 MiB
    method  "covariance": one pass, and 2 D^2 numbers; "randomized" (needs a rank): PASSES more passes, no D x D
            matrix but three of D x 2 rank; variances come out too small, on Fashion-MNIST the last one by 0.2 % at
            most and their sum by 5e-5; "auto": randomized for a given rank and D > FULL
    ValueError for fewer than 2 samples, integers (scale images to [-1, 1] first), values not finite, a rank beyond D.
    """
    if method not in ("auto", "covariance", "randomized"):
        raise ValueError(f"method must be auto, covariance or randomized, got {method!r}")
    chunks = data if callable(data) else lambda: _slices(np.asarray(data), chunk)
    shape = next(iter(chunks()), np.zeros((0, 0))).shape[1:]
    dim = int(np.prod(shape))
    check_rank(rank, dim)
    if rank is None and (method == "randomized" or (method == "auto" and dim > FULL)):
        raise ValueError(
            f"a full covariance of {dim} pixels takes {16e-9 * dim**2:.1f} GB: give a rank for a randomized one, or "
            "ask for method='covariance'"
        )
    low = method == "randomized" or (method == "auto" and rank is not None and dim > FULL)
    count, mean, scatter = _moments(chunks, dim, full=not low)
    if count < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {count}: give data [N, *D]")
    scatter /= count if biased else count - 1
    if low:
        variances, basis = _leading(chunks, mean, rank, count if biased else count - 1)
        rest = max(scatter - variances.sum(), 0) / (dim - rank) if rank < dim else 0.0
    else:
        variances, basis, rest = eigenpairs(scatter, rank, overwrite=True)
    return Mixture(np.ones(1), mean[None], basis[None], variances[None], np.full(1, rest), shape)


def fit_classes(data, labels, rank=None, biased=False, progress=lambda count: None) -> Mixture:
    """One Gaussian (see fit_gaussian) per class, component i for label i; weights are the shares of the classes.

    data [N, *D]; labels [N], integers from 0. `progress(1)` after each class. ValueError for a label, up to the
    largest, with fewer than 2 samples.
    """
    data, labels = np.asarray(data), np.asarray(labels)
    if labels.shape != data.shape[:1] or not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise ValueError(f"labels must be {len(data)} integers from 0, got {labels.dtype} of shape {labels.shape}")
    counts = np.bincount(labels)
    if counts.min() < 2:
        raise ValueError(
            f"label {counts.argmin()} has {counts.min()} samples, a covariance needs 2: number them without gaps"
        )
    parts = []
    for label in range(len(counts)):
        parts.append(fit_gaussian(data[labels == label], rank, biased))
        progress(1)
    joined = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    return joined._replace(weights=counts / len(labels))


def fit_mixture(
    data, components, rank=None, seed=42, variance=1e-5, biased=False, progress=lambda count: None
) -> Mixture:
    """Mixture by k-means, as in arXiv 2412.09726: mini-batches of 2048, hard labels, no EM.

    Each cluster gets the mean of its members, their covariance plus `variance` times the identity, and its share of
    the samples as weight. A cluster of one sample has that identity alone; one of none is left out, so that there may
    be fewer components than asked for (the published code breaks on both, and takes the centre of k-means, a mean
    over past mini-batches, for the mean of the members). `progress(1)` after each cluster.
    """
    from sklearn.cluster import MiniBatchKMeans  # a slow import, needed only here

    data = np.asarray(data)
    check_data(data)
    if not 1 <= components <= len(data):
        raise ValueError(f"components must be from 1 to {len(data)}, the number of samples, got {components}")
    kmeans = MiniBatchKMeans(n_clusters=components, random_state=seed, batch_size=2048)
    _, labels = np.unique(kmeans.fit(data.reshape(len(data), -1)).labels_, return_inverse=True)
    # A cluster of one sample gets it twice, so that its covariance is 0; the weights count it once.
    counts = np.bincount(labels)
    rows = np.concatenate([np.arange(len(data)), np.flatnonzero(counts[labels] == 1)])
    mixture = fit_classes(data if len(rows) == len(data) else data[rows], labels[rows], rank, biased, progress)
    return regularise(mixture._replace(weights=counts / len(labels)), variance)


def _slices(data, chunk):
    check_data(data)
    chunk = chunk or max(1, CHUNK // int(np.prod(data.shape[1:])))
    return (data[start : start + chunk] for start in range(0, len(data), chunk))


def _rows(chunks, dim):
    """The chunks, checked, as float64 [n, D]."""
    for part in chunks():
        part = np.asarray(part)
        check_data(part)
        if part[0].size != dim:
            raise ValueError(
                f"a chunk has samples of {part.shape[1:]}, the first ones have {dim} pixels: make them alike"
            )
        yield part.reshape(len(part), dim).astype(np.float64)


def _moments(chunks, dim, full):
    """(count, mean [D], scatter) by (1); scatter: [D, D], its lower triangle counts, or its trace if not `full`."""
    from scipy.linalg import blas

    count, mean = 0, np.zeros(dim)
    scatter = np.zeros((dim, dim), order="F") if full else 0.0
    for rows in _rows(chunks, dim):
        own = rows.mean(axis=0)
        if not np.isfinite(own).all():
            broken = int((~np.isfinite(own)).sum())
            last = count + len(rows) - 1
            raise ValueError(f"{broken} of {dim} pixels hold values that are not finite in samples {count} to {last}")
        total, step = count + len(rows), own - mean
        rows -= own
        jump = np.sqrt(count * len(rows) / total) * step
        if full:
            rows = np.concatenate([rows, jump[None]])
            scatter = blas.dsyrk(1.0, rows.T, beta=1.0, c=scatter, lower=1, overwrite_c=1)
        else:
            scatter += np.vdot(rows, rows) + np.vdot(jump, jump)
        mean += step * ((total - count) / total)
        count = total
    return count, mean, scatter


def _leading(chunks, mean, rank, divisor):
    """The leading eigenpairs of the covariance by (2): variances [rank], basis [D, rank]."""
    from scipy.linalg import eigh, qr

    dim = len(mean)
    columns = min(dim, 2 * rank + 10)
    basis = qr(np.random.default_rng(0).normal(size=(dim, columns)), mode="economic", overwrite_a=True)[0]
    for remaining in reversed(range(PASSES)):
        product = np.zeros((dim, columns))
        for rows in _rows(chunks, dim):
            rows -= mean
            product += rows.T @ (rows @ basis)
        if remaining:
            basis = qr(product, mode="economic", overwrite_a=True)[0]
    values, vectors = eigh(basis.T @ product / divisor)
    chosen = slice(None, -rank - 1, -1)
    return np.maximum(values[chosen], 0), basis @ vectors[:, chosen]
