"""Sums of products over points: both rules against sums of exact products, at the sizes that users have."""

import math

import numpy as np
import pytest

from solvers.ems.moments import FACTORS, NAMES
from solvers.ems.sums import summation

UNITS = {"float64": 2.0**-52, "compensated": 2.0**-47}


def points(shape, seed=0):
    """Values [2, 5, *shape] from 1e-3 to 1e3, in float32, of which one point does not count."""
    rng = np.random.default_rng(seed)
    values = [(rng.normal(size=(2, 5, *shape)) * 10 ** rng.uniform(-3, 3)).astype(np.float32) for _ in range(5)]
    weight = np.ones((2, 5), bool)
    weight[1, 4] = False
    return values, weight


def exact(values, weight):
    """Sums over groups and points, and sums of magnitudes, [S, D]: products of float32 numbers are exact in float64."""
    values = [np.where(weight.reshape(2, 5, *(1,) * (x.ndim - 2)), x, 0).astype(np.float64) for x in values]
    terms = np.stack([np.prod([values[i] for i in of], axis=0) for of in FACTORS])
    flat = terms.reshape(len(FACTORS), 10, -1)
    found = [[math.fsum(flat[s, :, d]) for d in range(flat.shape[2])] for s in range(len(flat))]
    return np.array(found), np.abs(flat).sum(axis=1)


def test_names_say_what_is_multiplied():
    letters = ("u", "y", "dy", "q", "dq")
    assert NAMES == tuple("".join(letters[i] for i in of) for of in FACTORS)


@pytest.mark.parametrize("rule", UNITS)
@pytest.mark.parametrize("shape", [(7,), (28, 28, 1), (32, 32, 3)], ids=str)
def test_exact(rule, shape):
    """Three batches. A unit of round-off of the magnitudes for each of the 30 additions."""
    add, total = summation(FACTORS, rule)
    sums, expected, size = None, 0.0, 0.0
    for seed in range(3):
        values, weight = points(shape, seed)
        sums = add(sums, values, weight)
        more, magnitude = exact(values, weight)
        expected, size = expected + more, size + magnitude
    got = total(sums).sum(axis=0).reshape(len(FACTORS), -1)
    assert got.dtype == np.float64
    assert np.all(np.abs(got - expected) <= 30 * UNITS[rule] * size)


@pytest.mark.parametrize("factors", [((0, 1),), FACTORS[:6], FACTORS[:8]], ids=len)
@pytest.mark.parametrize("size", [7, 256, 3072])
def test_exact_whatever_is_compiled_together(factors, size):
    """Other lists of products are other programs, in which other operations are merged."""
    add, total = summation(factors, "compensated")
    values, weight = points((size,))
    (expected, magnitude), rows = exact(values, weight), [FACTORS.index(of) for of in factors]
    error = np.abs(total(add(None, values, weight)).sum(axis=0) - expected[rows])
    assert np.all(error <= 10 * UNITS["compensated"] * magnitude[rows])


def test_plain_float32_would_not_do():
    """The test above is not passed by float32 sums."""
    values, weight = points((32, 32, 3))
    expected, size = exact(values, weight)
    single = np.where(weight.reshape(2, 5, 1, 1, 1), values[0] * values[1], 0).sum(axis=(0, 1)).ravel()
    error = np.abs(single - expected[NAMES.index("uy")])
    assert np.any(error > 1e4 * 30 * UNITS["compensated"] * size[NAMES.index("uy")])


def test_what_is_not_finite_shows():
    for rule in UNITS:
        add, total = summation(FACTORS, rule)
        values, weight = points((7,))
        values[0][0, 0, 3] = np.nan
        values[1][0, 1, 4] = np.inf
        bad = ~np.isfinite(total(add(None, values, weight)).sum(axis=0)).all(axis=0)
        np.testing.assert_array_equal(np.flatnonzero(bad), [3, 4])


def test_unknown_rule():
    with pytest.raises(ValueError, match="unknown sums 'float16': choose one of float64, compensated, or auto"):
        summation(FACTORS, "float16")
