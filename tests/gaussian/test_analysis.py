"""gaussian/analysis.py: explained variance by its definition, thresholds on curves whose crossing is known."""

import numpy as np
import pytest

from gaussian.analysis import choose_skip, explained, mean_and_error, smallest_sigma


def test_explained_is_a_ratio_per_sample():
    rng = np.random.default_rng(0)
    value, other = rng.normal(size=(2, 5, 3, 2)).astype(np.float32)
    wanted = [1 - np.linalg.norm(a - b) ** 2 / np.linalg.norm(a) ** 2 for a, b in zip(value, other, strict=True)]
    np.testing.assert_allclose(explained(value, other), wanted, rtol=1e-6)
    np.testing.assert_array_equal(explained(value, value), 1)
    np.testing.assert_array_equal(explained(value, 0 * value), 0)
    np.testing.assert_allclose(explained(value, -value), -3)
    assert explained(np.zeros((1, 2)), np.ones((1, 2))) == -np.inf


def test_the_standard_error_covers_the_mean():
    """Of 400 means of 50 values, those beyond 2 errors are few, and those within half an error are not most."""
    values = np.random.default_rng(1).exponential(size=(400, 50))
    off = np.array([(mean - 1) / error for mean, error in map(mean_and_error, values)])
    assert np.mean(np.abs(off) > 2) < 0.15 and np.mean(np.abs(off) < 0.5) < 0.6
    mean, error = mean_and_error([3.0])
    assert mean == 3 and np.isnan(error)


def test_smallest_sigma_counts_from_above():
    sigmas = (1, 0.1, 10, 100)
    assert smallest_sigma(sigmas, (0.99, 0.5, 1, 1)) == 1
    assert smallest_sigma(sigmas, (1, 1, 0.9, 1)) == 100  # what is explained below a gap does not count
    assert smallest_sigma(sigmas, (1, 1, 1, 0.9)) is None
    assert smallest_sigma(sigmas, (1, np.nan, 1, 1)) == 1
    assert smallest_sigma(sigmas, (1, 0.9, 1, 1), share=0.9) == 0.1


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_choose_skip_is_exact_on_a_power_law(power):
    """1 - share = (s / sigma)^power crosses 1 - 0.99 at s 100^(1 / power), whatever the grid."""
    sigmas = np.geomspace(0.01, 1000, 17)
    shares = 1 - (0.3 / sigmas) ** power
    np.testing.assert_allclose(choose_skip(sigmas, shares), 0.3 * 100 ** (1 / power), rtol=1e-9)
    np.testing.assert_allclose(choose_skip(sigmas[::-1], shares[::-1], 0.9), 0.3 * 10 ** (1 / power), rtol=1e-9)


def test_choose_skip_at_the_ends():
    assert choose_skip((0.1, 1, 10), (1, 1, 1)) == 0.1
    assert 1 < choose_skip((0.1, 1, 10), (0, 0.5, 1)) <= 10
    with pytest.raises(ValueError, match="only 0.9000"):
        choose_skip((0.1, 1), (1, 0.9))
