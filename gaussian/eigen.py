"""Eigenpairs of a covariance: all of them, or the leading ones of a large one by Lanczos' method."""

import numpy as np

# Lanczos' method is tried if D >= LARGE and D >= SHARE * rank. If it succeeds, it is 2 to 5 times as fast as LAPACK.
LARGE = 2048
SHARE = 32


def eigenpairs(covariance, rank=None, overwrite=False):
    """The leading variances [r] of a covariance [D, D], descending, their basis [D, r], and the mean of all others.

    rank: r, from 0 to D; by default D. The lower triangle is read. With `overwrite` the covariance is lost, and 2 D^2
    numbers are all the memory that this takes.
    """
    import scipy.linalg  # here and below: scipy takes long to import

    dim = len(covariance)
    rank = dim if rank is None else rank
    total = np.trace(covariance)
    if rank == 0:
        return np.zeros(0), np.zeros((dim, 0)), total / dim
    found = _lanczos(covariance, rank, total) if dim >= max(LARGE, SHARE * rank) and total > 0 else None
    values, vectors = found or scipy.linalg.eigh(
        covariance, subset_by_index=(dim - rank, dim - 1), driver="evr", overwrite_a=overwrite, check_finite=False
    )
    # A singular covariance has eigenvalues of -1e-17 instead of 0.
    variances = np.maximum(values[::-1], 0)
    floor = max(total - variances.sum(), 0) / (dim - rank) if rank < dim else 0.0
    return variances, vectors[:, ::-1], floor


def _lanczos(covariance, rank, trace):
    """What eigh returns, (values [r] ascending, vectors [D, r]), to its round-off of D eps times the largest; or None.

    Lanczos' method misses copies of an eigenvalue in some matrices, those of repeated blocks for example. So the
    largest eigenvalue is sought in the complement of what was found, from another vector. If it is above the found
    ones, it was missed: the result is None. It is also None if the method takes so many products that LAPACK is as fast
    (for flat spectra, or more values than the rank of the matrix).
    """
    from scipy.linalg.blas import dsymv
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    dim, starts = len(covariance), np.random.default_rng(0).normal(size=(2, len(covariance)))
    matrix, lower = (covariance, 1) if covariance.flags.f_contiguous else (covariance.T, 0)  # without a copy

    def product(x):
        return dsymv(1 / trace, matrix, x, lower=lower)  # eigsh has an absolute tolerance, too

    def outside(x):
        return x - vectors @ (x @ vectors)

    def search(product, count, start, **options):
        operator = LinearOperator((dim, dim), product, dtype=float)
        return eigsh(operator, count, which="LA", v0=start, maxiter=dim // (8 * rank), rng=0, **options)

    error = dim * np.finfo(float).eps
    try:
        values, vectors = search(product, rank, starts[0])
        options = {"ncv": 40, "tol": error, "return_eigenvectors": False}
        (missed,) = search(lambda x: outside(product(outside(x))), 1, outside(starts[1]), **options)
    except ArpackError:
        return None
    return (trace * values, vectors) if missed <= values[0] + error * values[-1] else None
