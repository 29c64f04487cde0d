"""Numbers from features against brute force, exact cases and their own statistics."""

from functools import partial
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import scipy.special
from threadpoolctl import threadpool_info, threadpool_limits

from experiments.metrics import distances as metrics
from experiments.metrics import neighbours
from experiments.metrics.frechet import Frechet, bounds, merged
from experiments.metrics.moments import Moments
from experiments.metrics.threads import SMALL, one_thread

RNG = np.random.default_rng(0)
SETS = {
    "full rank": (RNG.normal(size=(40, 6)), RNG.normal(size=(50, 6)) @ RNG.normal(size=(6, 6))),
    "few images": (RNG.normal(size=(4, 6)), RNG.normal(size=(50, 6))),
    "few images of both": (RNG.normal(size=(4, 6)), RNG.normal(size=(3, 6))),
    "one direction constant": (RNG.normal(size=(40, 6)) * [1, 1, 0, 1, 1, 1] + 3, RNG.normal(size=(50, 6))),
    "one constant": (np.full((4, 6), 0.3), RNG.normal(size=(50, 6))),
    "one direction": tuple(RNG.normal(size=(40, 1)) * RNG.normal(size=6) for _ in "12"),
    "features twice": (np.tile(RNG.normal(size=(40, 3)), 2), RNG.normal(size=(50, 6))),
    "features nearly twice": (np.tile(RNG.normal(size=(40, 3)), 2) + 1e-6 * RNG.normal(size=(40, 6)), np.eye(6)),
    "units of one": (RNG.normal(size=(40, 6)) * [1, 1, 1e-8, 1, 1e-9, 1], RNG.normal(size=(50, 6))),
    "units of both": tuple(RNG.normal(size=(40, 6)) * 10.0 ** np.arange(-12, 12, 4) for _ in "12"),
    "small eigenvalues": tuple(
        RNG.normal(size=(40, 6)) * 10.0 ** -np.arange(6) @ np.linalg.qr(RNG.normal(size=(6, 6)))[0] for _ in "12"
    ),
}


def exact_frechet(x, y):
    """Of the rows themselves, in 256 bits: what is rounded before the distance counts, too."""
    with mpmath.workprec(256):
        (mean1, covariance1), (mean2, covariance2) = exact_moments(x), exact_moments(y)
        values, vectors = mpmath.eigsy(covariance1)
        root = vectors * mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values]) * vectors.T
        cross = sum(mpmath.sqrt(max(v, 0)) for v in mpmath.eigsy(root * covariance2 * root, eigvals_only=True))
        traces = sum(covariance1[i, i] + covariance2[i, i] for i in range(x.shape[1]))
        return float(sum((a - b) ** 2 for a, b in zip(mean1, mean2)) + traces - 2 * cross)


def exact_moments(rows):
    rows = mpmath.matrix(rows.tolist())
    means = [mpmath.fsum(rows[:, i]) / rows.rows for i in range(rows.cols)]
    centred = mpmath.matrix(rows.rows, rows.cols)
    for i in range(rows.rows):
        for j in range(rows.cols):
            centred[i, j] = rows[i, j] - means[j]
    return means, centred.T * centred / (rows.rows - 1)


def moments(rows):
    return rows.mean(0), np.cov(rows.T)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
@pytest.mark.parametrize("name", SETS)
def test_frechet_against_256_bits(name, scale):
    x, y = (scale * rows for rows in SETS[name])
    expected = exact_frechet(x, y)
    np.testing.assert_allclose(metrics.frechet(*moments(x), *moments(y)), expected, rtol=1e-8)
    np.testing.assert_allclose(metrics.frechet(*moments(y), *moments(x)), expected, rtol=1e-8)


@pytest.mark.parametrize("name", SETS)
def test_frechet_of_equal_moments_is_zero_to_rounding(name):
    mean, covariance = moments(SETS[name][0])
    bound = 50 * np.finfo(np.float64).eps * np.trace(covariance)
    assert abs(metrics.frechet(mean, covariance, mean, covariance)) <= bound


def test_frechet_of_constants_is_that_of_the_means():
    m1, m2 = RNG.normal(size=(2, 6))
    assert metrics.frechet(m1, np.zeros((6, 6)), m2, np.zeros((6, 6))) == np.square(m1 - m2).sum()


def test_a_spectrum_over_twelve_decades_is_resolved():
    """Diagonal in a common basis: |m|^2 + sum (s1 - s2)^2. Roots of eigenvalues of the product lose it."""
    basis = np.linalg.qr(RNG.normal(size=(60, 60)))[0]
    s1, s2 = 10 ** -np.linspace(0, 6, 60), 1.01 * 10 ** -np.linspace(0, 6, 60)
    found = metrics.frechet(np.zeros(60), basis * s1**2 @ basis.T, np.zeros(60), basis * s2**2 @ basis.T)
    np.testing.assert_allclose(found, np.square(s1 - s2).sum(), rtol=1e-8)


def exact_from_rows(x, y):
    """From rows, with no covariance: those centred, over the root of N - 1, are roots of the covariances."""
    roots = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    with one_thread():
        cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return np.square(x.mean(0) - y.mean(0)).sum() + sum(np.square(root).sum() for root in roots) - 2 * cross


@pytest.mark.parametrize("rows, size", [(16, 300), (200, 300), (300, 128)])
def test_score_of_fewer_and_of_more_rows_than_features(rows, size):
    """The distance, and its error from ten blocks of which one is left out; a spurious rank adds 1e-8 of the traces."""
    rng = np.random.default_rng(rows)
    turn = rng.normal(size=(size, size)) * np.geomspace(1, 1e-3, size) / np.sqrt(size)
    x, y = rng.normal(size=(rows, size)) @ turn + 30, rng.normal(size=(2 * size, size)) @ turn.T + 30
    x[:, :5], x[:, 5:9] = 30, x[:, 9:13]  # of features that are constant, and equal
    frechet, edges = Frechet(SimpleNamespace(metric="frechet"), metrics.target(*moments(y))), bounds(rows)
    parts = [slice(*ends) for ends in zip(edges, edges[1:])]
    found = frechet.score([Moments.of(x[part]) for part in parts])
    left_out = [exact_from_rows(np.delete(x, part, 0), y) for part in parts]
    np.testing.assert_allclose(found["frechet"], exact_from_rows(x, y), rtol=1e-11)
    np.testing.assert_allclose(found["frechet_se"], metrics.jackknife(left_out), rtol=1e-8)


def test_moments_of_many_parts():
    """Also where one part is far from the others."""
    x = RNG.normal(size=(50, 3)) + 1e4 * (np.arange(50)[:, None] < 5)
    total = merged([Moments.of(part) for part in np.split(x, [1, 5, 20])])
    np.testing.assert_allclose(total.mean, x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(total.covariance(), np.cov(x.T), rtol=1e-12, atol=1e-10)
    assert total.count == 50


def test_small_matrices_have_one_thread(monkeypatch):
    """And all others what they had before, after any number of distances in threads."""

    def threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    svd, seen = np.linalg.svd, []
    monkeypatch.setattr(
        metrics.np.linalg, "svd", lambda *args, **options: seen.append(threads()) or svd(*args, **options)
    )
    with threadpool_limits(2, user_api="blas"):
        metrics.frechet(*moments(X), *moments(Y))
        parts = [Moments.of(part) for part in np.split(X, 4)]
        Frechet(SimpleNamespace(metric="frechet"), metrics.target(*moments(Y))).score(parts)
        with one_thread(SMALL + 1):
            assert threads() == {2}
        assert threads() == {2}
    assert seen == [{1}] * 6


def test_jackknife_of_a_mean_is_its_standard_error():
    blocks = RNG.normal(size=(10, 7)).mean(1)
    left_out = [np.delete(blocks, i).mean() for i in range(10)]
    np.testing.assert_allclose(metrics.jackknife(left_out), blocks.std(ddof=1) / np.sqrt(10), rtol=1e-12)


def test_extrapolation_is_exact_on_a_line():
    counts = np.array([1000, 1000, 3000, 50000])
    np.testing.assert_allclose(metrics.extrapolate(counts, 2.5 + 700 / counts), 2.5, rtol=1e-12)


def test_extrapolation_is_nearer_to_the_distance_of_the_distributions():
    """Standard Gaussians a shift apart: |shift|^2. Paired over draws, and both biases against their own errors."""
    shift, counts, rng = np.array([0.6, -0.8, 0, 0]), (40, 60, 80, 120), np.random.default_rng(1)
    to = metrics.target(shift, np.eye(4))
    draws = rng.normal(size=(300, counts[-1], 4))
    values = [[metrics.distance(*moments(rows[:count]), to) for count in counts] for rows in draws]
    raw = np.array(values)[:, -1]
    found = np.array([metrics.extrapolate(counts, row) for row in values])
    gap = raw.mean() - found.mean(), np.std(raw - found, ddof=1) / np.sqrt(len(raw))
    assert gap[0] > 6 * gap[1]
    assert raw.mean() - 1 > 2 * abs(found.mean() - 1)


def test_inception_score_by_the_definition():
    logits = RNG.normal(size=(53, 5)).astype(np.float32) * 3
    scores = []
    for part in np.array_split(logits[:50].astype(np.float64), 5):
        p = scipy.special.softmax(part, axis=1)
        scores.append(np.exp(scipy.special.rel_entr(p, p.mean(0)).sum(1).mean()))
    expected = np.mean(scores), np.std(scores, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(metrics.inception_score(logits[:50], splits=5), expected, rtol=1e-12)
    shifted = logits[:50] + 1e4 * RNG.integers(0, 2, (50, 1))  # softmax does not see it, exp would overflow
    np.testing.assert_allclose(metrics.inception_score(shifted, splits=5), expected, rtol=1e-10)
    assert metrics.inception_score(logits)[1] > 0 and metrics.inception_score(logits, splits=1)[1] is None


@pytest.mark.parametrize("size", [1, 50, 1e5])
def test_inception_score_between_one_and_the_number_of_classes(size):
    """One of 4 classes is the likelier by exp(size), equally often each: up to 4, where the others underflow."""
    labels = np.tile(np.arange(4), 10)
    p, q = 1 / (1 + 3 * np.exp(-size)), np.exp(-size) / (1 + 3 * np.exp(-size))
    expected = np.exp(p * np.log(4 * p) + 3 * scipy.special.xlogy(q, 4 * q))
    never = np.full((40, 1), -1e5)
    found = metrics.inception_score(np.hstack([size * np.eye(4)[labels], never]), splits=5)
    np.testing.assert_allclose(found, (expected, 0), rtol=1e-12, atol=1e-12)


def brute_mmd(x, y):
    def kernel(a, b):
        return (np.dot(a, b) / len(a) + 1) ** 3

    within = [np.mean([kernel(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kid_by_the_definition(monkeypatch):
    x, y = RNG.normal(size=(31, 4)), RNG.normal(size=(22, 4)) + 0.3
    monkeypatch.setattr(metrics, "ROWS", 4)
    for block, count in ((11, 2), (7, 3), (100, 2)):  # never fewer than two blocks where that leaves pairs
        parts = [[slice(n * i // count, n * (i + 1) // count) for i in range(count)] for n in (31, 22)]
        values = [brute_mmd(x[a], y[b]) for a, b in zip(*parts)]
        expected = np.mean(values), np.std(values, ddof=1) / np.sqrt(count)
        np.testing.assert_allclose(metrics.kid(x, y, block=block), expected, rtol=1e-10)
    value, error = metrics.kid(x, y[:3])
    np.testing.assert_allclose(value, brute_mmd(x, y[:3]), rtol=1e-10)
    assert error is None


def test_kid_is_unbiased_and_knows_its_error():
    """x normal, y shifted by s in one feature: E (x.y / F + 1)^3 by the moments of a Gaussian."""
    rng, size, shift = np.random.default_rng(2), 2, 0.5
    y_mean = np.array([shift, 0])

    def expected(a, b):
        """E (u + 1)^3 for u = x.y / F of independent Gaussians of means a, b and unit variances, by quadrature."""
        points, weights = np.polynomial.hermite_e.hermegauss(4)
        weights = weights / weights.sum()
        grids = np.meshgrid(*[points] * 4, indexing="ij")
        weight = np.prod(np.meshgrid(*[weights] * 4, indexing="ij"), axis=0)
        u = ((grids[0] + a[0]) * (grids[1] + b[0]) + (grids[2] + a[1]) * (grids[3] + b[1])) / 2
        return ((u + 1) ** 3 * weight).sum()

    zero = np.zeros(size)
    truth = expected(zero, zero) + expected(y_mean, y_mean) - 2 * expected(zero, y_mean)
    value, error = metrics.kid(rng.normal(size=(20000, size)), rng.normal(size=(20000, size)) + y_mean, block=20)
    assert abs(value - truth) < 6 * error and error < truth / 10  # the sum over all pairs is off by 1.3


def brute_precision_recall(real, fake, k):
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def share(queries, points):
        radii = [np.sort(np.square(np.delete(points, i, 0) - p).sum(1))[k - 1] for i, p in enumerate(points)]
        return np.mean([(np.square(points - q).sum(1) <= radii).any() for q in queries])

    return share(fake, real), share(real, fake)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", ["normal", "float32", "far from zero", "lattice", "duplicates", "wide"])
def test_precision_and_recall_by_the_definition(kind, k, monkeypatch):
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(60, 3)), rng.normal(size=(45, 3)) * 0.8 + 0.5
    if kind == "far from zero":
        real, fake = real + 1e5, fake + 1e5
    elif kind == "lattice":
        real, fake = np.round(real) / 10, np.round(fake) / 10
    elif kind == "duplicates":  # balls of radius zero, and points on them
        real, fake = np.repeat(real[:15], 4, axis=0) + 1e5, np.repeat(np.vstack([real[:5], fake[:6]]), 4, axis=0) + 1e5
    elif kind == "wide":
        real[0], fake[0] = 1e9, -1e9
    elif kind == "float32":
        real, fake = real.astype(np.float32), fake.astype(np.float32)
    expected = brute_precision_recall(real, fake, k)
    assert metrics.precision_recall(real, fake, k) == expected
    monkeypatch.setattr(neighbours, "CELLS", 13)
    assert metrics.precision_recall(real, fake, k, rows=7) == expected
    assert expected != (0, 0) and expected != (1, 1)


def test_precision_and_recall_at_the_ends():
    real = RNG.normal(size=(20, 4))
    assert metrics.precision_recall(real, real[::-1]) == (1, 1)
    assert metrics.precision_recall(real, real + 100) == (0, 0)
    assert metrics.precision_recall(real, np.tile(real[:1], (20, 1))) == (1, 0.05)


def brute_sliced(x, y, projections, seed):
    """Quantiles at all of the n m steps."""
    directions = np.random.default_rng(seed).normal(size=(projections, x.shape[1]))
    squares = []
    for direction in directions:
        a, b = (np.sort(rows @ direction) / np.linalg.norm(direction) for rows in (x, y))
        squares.append(np.mean((np.repeat(a, len(b)) - np.repeat(b, len(a))) ** 2))
    return np.sqrt(np.mean(squares))


@pytest.mark.parametrize("n, m", [(12, 12), (12, 8), (7, 12), (1, 5)])
def test_sliced_wasserstein_by_repeated_rows(n, m, monkeypatch):
    x, y = RNG.normal(size=(n, 3)), RNG.normal(size=(m, 3)) * 2
    expected = brute_sliced(x, y, 20, 4)
    np.testing.assert_allclose(metrics.sliced_wasserstein(x, y, 20, seed=4), expected, rtol=1e-12)
    monkeypatch.setattr(metrics, "CELLS", 60)
    monkeypatch.setattr(metrics, "ROWS", 5)
    turned = metrics.sliced_wasserstein(x[::-1], RNG.permutation(y), 20, seed=4)
    np.testing.assert_allclose(turned, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 16])
def test_sliced_wasserstein_of_a_shift(size):
    """(u.s)^2 over directions u has the mean |s|^2 / F and the second moment 3 |s|^4 / (F (F + 2))."""
    x, shift, projections = RNG.normal(size=(30, size)), RNG.normal(size=size), 2000
    found = metrics.sliced_wasserstein(x, x + shift, projections) ** 2
    spread = np.sqrt(max(3 / (size * (size + 2)) - 1 / size**2, 0) / projections)
    assert abs(found / (shift @ shift) - 1 / size) <= 6 * spread + 1e-12


def test_rmse_by_the_definition():
    samples, reference = RNG.normal(size=(2, 9, 4, 4, 1)).astype(np.float32)
    each = np.array([np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)) for a, b in zip(samples, reference)])
    found = metrics.rmse(samples, reference)
    np.testing.assert_allclose(found["rmse"], np.sqrt(np.mean(each**2)), rtol=1e-12)
    np.testing.assert_allclose(found["rmse_median"], np.sort(each)[4], rtol=1e-12)
    assert metrics.rmse(samples + 1, samples)["rmse_median_se"] < 1e-7 < 0.02 < found["rmse_median_se"] < np.ptp(each)


X, Y = RNG.normal(size=(2, 12, 4))
BAD = np.where(np.arange(12)[:, None] == 3, np.nan, X)
REFUSED = {
    "distance": (partial(metrics.frechet, X[0], np.eye(4), X[0, :3], np.eye(3)), "moments of 4 and of 3 features"),
    "covariance": (partial(metrics.target, X[0], np.eye(3)), r"covariance of shape \(3, 3\) with 4 means"),
    "infinite": (partial(metrics.target, X[0] * np.inf, np.eye(4)), "4 of 4 numbers in mean are not finite"),
    "jackknife": (partial(metrics.jackknife, [1.0]), r"values of shape \(1,\): at least 2 rows"),
    "splits": (partial(metrics.inception_score, X[:9]), r"logits of shape \(9, 4\): at least 10 rows"),
    "no split": (partial(metrics.inception_score, X, 0), "splits is 0: give at least 1"),
    "logits": (partial(metrics.inception_score, BAD), "4 of 48 numbers in logits are not finite"),
    "kid": (partial(metrics.kid, X, BAD), "4 of 48 numbers in y are not finite"),
    "one row": (partial(metrics.kid, X, Y[:1]), "y of shape .* at least 2 rows"),
    "block": (partial(metrics.kid, X, Y, 1), "block is 1: give at least 2"),
    "dimensions": (partial(metrics.kid, X[0], Y), r"x of shape \(4,\): 2 dimensions"),
    "widths": (partial(metrics.precision_recall, X, Y[:, :3]), "4 in real and 3 in fake"),
    "neighbours": (partial(metrics.precision_recall, X, Y, 12), "real of shape .* at least 13 rows"),
    "no rows": (partial(metrics.precision_recall, X, Y, rows=0), "rows is 0: give at least 1"),
    "no neighbour": (partial(metrics.precision_recall, X, Y, 0), "k is 0: give at least 1"),
    "sliced": (partial(metrics.sliced_wasserstein, X, Y[:, :3]), "4 in x and 3 in y"),
    "no direction": (partial(metrics.sliced_wasserstein, X, Y, 0), "projections is 0: give at least 1"),
    "pairs": (partial(metrics.rmse, X, Y[:3]), r"samples \(12, 4\) and reference \(3, 4\)"),
    "no samples": (partial(metrics.rmse, X[:0], Y[:0]), r"samples of shape \(0, 4\): at least 1 row"),
    "a number": (partial(metrics.rmse, 1.0, 2.0), r"samples of shape \(\): some dimensions"),
    "rmse": (partial(metrics.rmse, BAD, Y), "4 of 48 numbers in samples are not finite"),
    "counts": (partial(metrics.extrapolate, [9, 9], [1.0, 2.0]), "at least 2 different positive counts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_answer_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()
