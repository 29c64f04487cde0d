"""Distributions of gaussian/distribution.py from data."""

import numpy as np

from gaussian.distribution import check_data, from_covariances


def fit_gaussian(data, rank=None, chunk=4096):
    """Gaussian with the mean and covariance (N - 1) of data [N, *D], any real dtype, summed in float64 in two passes.

    ValueError for fewer than 2 samples, for integers (scale images to [-1, 1] first) and for values not finite.
    """
    data = np.asarray(data)
    n = len(data)
    if n < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {n}: give data [N, *D]")
    check_data(data)
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
