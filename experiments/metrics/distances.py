"""Distances between samples and data, from features, in float64 on the host. Nothing here reads files or devices.

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)                          (1)

(Fréchet distance of two Gaussians, Dowson and Landau 1982; the number is d^2, as is usual.) Features [N, F] may be
float32. ValueError for numbers that are not finite, and for wrong shapes.
"""

from typing import NamedTuple

import numpy as np

from experiments.metrics import neighbours
from experiments.metrics.checks import checked, moments, option, sets, slices
from experiments.metrics.threads import one_thread

ROWS = 2048  # rows in float64 at a time
CELLS = 2**22  # the most numbers in an array of quantiles


class Target(NamedTuple):
    """A reference: mean [F], covariance [F, F], and a root A [F, R] of it (A A^T is the covariance, R its rank)."""

    mean: np.ndarray
    covariance: np.ndarray
    root: np.ndarray


def target(mean, covariance) -> Target:
    """The Target of mean [F] and covariance [F, F]. The covariance is decomposed here, once for all distances."""
    mean, covariance = moments(mean, covariance)
    with one_thread():
        return Target(mean, covariance, _root(covariance))


def distance(mean, covariance, target: Target) -> float:
    """Equation (1) for mean [F] and covariance [F, F], which may be singular; in squared units of the features.

    Moments of N rows bias it upwards by O(1/N): see `extrapolate`. Its last term is computed as the sum of the singular
    values of A1^T A2, with any roots A of both covariances. Roots of the eigenvalues of their product would turn a
    rounding error of e into one of sqrt(e). The result is not clipped at 0: for equal moments it is round-off of either
    sign. With 2048 features it takes 2.4 s for 2048 rows or more, nearly all for singular values, and 0.3 s for 512.
    """
    mean, covariance = moments(mean, covariance)
    if mean.shape != target.mean.shape:
        raise ValueError(
            f"moments of {target.mean.size} and of {mean.size} features do not compare: take both from one network"
        )
    with one_thread():
        cross = np.linalg.svd(target.root.T @ _root(covariance), compute_uv=False).sum()
    return float(np.square(mean - target.mean).sum() + np.trace(covariance) + np.trace(target.covariance) - 2 * cross)


def frechet(mean1, cov1, mean2, cov2) -> float:
    """Equation (1) for two means [F] and covariances [F, F]."""
    return distance(mean2, cov2, target(mean1, cov1))


def _root(covariance) -> np.ndarray:
    """A [F, R] with A A^T = covariance, by pivoted Cholesky of the correlations: F^2 R operations.

    It stops where only round-off is left, since the root of round-off would be 1e-8. Round-off in a covariance grows
    with both standard deviations; in the correlations it does not depend on the scales of the features.
    """
    from scipy.linalg import lapack

    scales = np.sqrt(np.maximum(covariance.diagonal(), 0))
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    correlations = covariance * inverse * inverse[:, None]
    factor, order, rank, _ = lapack.dpstrf(
        correlations.T, tol=len(scales) * np.finfo(np.float64).eps, lower=1, overwrite_a=1
    )
    root = np.empty((len(scales), rank))
    root[order - 1] = np.tril(factor[:, :rank])
    return root * scales[:, None]


def jackknife(values) -> float:
    """The standard error of a number, from its values [B], each with one of B blocks left out (Quenouille, Tukey)."""
    values = checked("values", values, 1, least=2)
    return float(np.sqrt((len(values) - 1) * np.var(values, dtype=np.float64)))


def extrapolate(counts, values) -> float:
    """The estimate of a number for infinitely many images, from values [B] with counts [B] of images.

    It is the intercept of the least-squares line in 1 / N (Chong and Forsyth 2020, arXiv 1911.07023, FID_inf). The bias
    that is left is O(1/N^2).
    """
    counts, values = checked("counts", counts, 1), checked("values", values, 1)
    if counts.shape != values.shape or len(np.unique(counts)) < 2 or counts.min() <= 0:
        raise ValueError(
            f"values {values} with {counts} images have no line in 1 / N, which needs one value each and at least 2 "
            "different positive counts: measure with fewer images, too"
        )
    inverse = 1 / counts.astype(np.float64)
    centred = inverse - inverse.mean()
    return float(values.mean(dtype=np.float64) - centred @ values / (centred @ centred) * inverse.mean())


def inception_score(logits, splits: int = 10) -> tuple[float, float | None]:
    """exp(mean KL(p(y|x) || p(y))) of logits [N, K] (Salimans et al. 2016, section 4).

    Returns the mean over consecutive splits and its standard error (None for one split). p(y) is the mean of each split
    alone, so the score is at most the number of images in a split. It is biased downwards: compare equal counts only.
    """
    option("splits", splits)
    logits = checked("logits", logits, 2, least=splits)
    return _mean([np.exp(_information(logits[part].astype(np.float64))) for part in _blocks(len(logits), splits)])


def _information(logits) -> float:
    """Mean KL divergence of softmax(logits [N, K]) from its mean over N, in nats."""
    logits = logits - logits.max(1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    top = logits.max(0)
    marginal = top + np.log(np.exp(logits - top).mean(0))
    return float((np.exp(logits) * (logits - marginal)).sum(1).mean())


def kid(x, y, block: int = 1000) -> tuple[float, float | None]:
    """Squared MMD of features [N, F] and [M, F] with the kernel (x.y / F + 1)^3 (Binkowski et al. 2018, equation 4).

    It is unbiased, so it can be below zero. Returns the mean over consecutive blocks of x, each against the same block
    of y, and its standard error (None for fewer than 4 rows). Blocks have at least `block` rows, or are two halves;
    every row is in one. The order must be random: blocks of one class each are further apart than the sets are.
    """
    option("block", block, 2)
    x, y = sets(2, x=x, y=y)
    fewest = min(len(x), len(y))
    count = max(fewest // block, min(2, fewest // 2))
    pairs = [(x[rows], y[others]) for rows, others in zip(_blocks(len(x), count), _blocks(len(y), count))]
    return _mean([_within(a) + _within(b) - 2 * _kernels(a, b) / (len(a) * len(b)) for a, b in pairs])


def _within(x) -> float:
    """The mean of the kernel over pairs of different rows."""
    own = np.einsum("nf,nf->n", x, x, dtype=np.float64) / x.shape[1]
    return (_kernels(x, x) - ((own + 1) ** 3).sum()) / (len(x) * (len(x) - 1))


def _kernels(x, y) -> float:
    """The sum of the kernel over all pairs."""
    total = 0.0
    for a in (x[part].astype(np.float64) for part in slices(len(x), ROWS)):
        for b in (y[part].astype(np.float64) for part in slices(len(y), ROWS)):
            total += ((a @ b.T / x.shape[1] + 1) ** 3).sum()
    return total


def precision_recall(real, fake, k: int = 3, rows: int = 128) -> tuple[float, float]:
    """The share of fake [N, F] within the balls of real [M, F], and of real within the balls of fake.

    A ball reaches to the k-th nearest other point of its own set (Kynkäänniemi et al. 2019, equations 1 and 2). Balls
    are closed and ties are decided exactly: duplicates are at distance 0. Both shares grow with the number of balls:
    compare equal counts only. The distances of `rows` points to all others are in memory at a time.
    """
    option("k", k)
    option("rows", rows)
    real, fake = sets(k + 1, real=real, fake=fake)
    pairs = (fake, real), (real, fake)
    precision, recall = (neighbours.covered(a, b, neighbours.radii(b, k, rows), rows).mean() for a, b in pairs)
    return float(precision), float(recall)


def sliced_wasserstein(x, y, projections: int = 512, seed: int = 0) -> float:
    """The Wasserstein-2 distance of x [N, F] and y [M, F] along random directions, as a root mean square over them.

    From Bonneel et al. 2015. In units of the features: a shift by s gives |s| / sqrt(F). Biased upwards for few rows.
    Quantile functions are step functions and are integrated exactly, so N and M may differ.
    """
    option("projections", projections)
    x, y = sets(x=x, y=y)
    n, m = len(x), len(y)
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # where either steps, in units of 1 / (n m)
    i, j, widths = (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)
    directions = np.random.default_rng(seed).normal(size=(projections, x.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    total, step = 0.0, max(1, CELLS // len(ends))
    for at in range(0, projections, step):
        a, b = (np.sort(_projected(rows, directions[at : at + step])) for rows in (x, y))
        total += (np.square(a[:, i] - b[:, j]) @ widths).sum()
    return float(np.sqrt(total / projections))


def _projected(rows, directions) -> np.ndarray:
    """Coordinates [P, N] of rows [N, F] along directions [P, F]."""
    return np.concatenate([directions @ rows[part].astype(float).T for part in slices(len(rows), ROWS)], axis=1)


def rmse(samples, reference) -> dict:
    """The root mean square error of samples [n, *D] against reference [n, *D]: over all samples, and as median.

    A few samples that land elsewhere move the mean but not the median. The median has a standard error from a bootstrap
    over samples.
    """
    samples, reference = checked("samples", samples), checked("reference", reference)
    if samples.shape != reference.shape:
        raise ValueError(f"samples {samples.shape} and reference {reference.shape} do not pair: give one for each")
    difference = (samples.astype(np.float64) - reference).reshape(len(samples), -1)
    rmse = np.sqrt(np.mean(difference**2, axis=1))
    resampled = rmse[np.random.default_rng(0).integers(len(rmse), size=(200, len(rmse)))]
    return {
        "rmse": float(np.sqrt(np.mean(rmse**2))),
        "rmse_median": float(np.median(rmse)),
        "rmse_median_se": float(np.median(resampled, axis=1).std()),
    }


def _mean(values) -> tuple[float, float | None]:
    """The mean and its standard error, None for one value."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return float(np.mean(values)), error


def _blocks(count: int, parts: int) -> list[slice]:
    """Consecutive slices of nearly equal length."""
    return [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]
