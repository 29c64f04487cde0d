"""Statistics of samples in blocks: of any first part, split anyhow, they are numpy's of all at once."""

from fractions import Fraction

import jax
import numpy as np
import pytest

from experiments.data import blocks
from experiments.data.blocks import Block
from experiments.metrics import prefixes
from experiments.metrics.frechet import merged
from experiments.metrics.moments import Moments
from experiments.metrics.spaces import Space
from experiments.support.features import features as features_of
from models import classifier

COUNT, SHAPE = 240, (4, 4, 1)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, *SHAPE), dtype=np.uint8)
IMAGES[:, 0, 0] = 255 - IMAGES[:, 0, 0] % 2  # hardly any variance: the difference of two large numbers
UNIT = 2.0**-53


def tallies(blocks, counts, space):
    """prefixes.tallies, with the features of a space, or without any."""
    if space is None:
        return prefixes.tallies(blocks, counts, None)
    return prefixes.tallies(blocks, counts, space.network, lambda images: features_of(space, images))


@pytest.fixture(scope="module")
def space():
    module = classifier.Classifier(channels=4, features=8)
    params = classifier.init(module, 0, SHAPE)
    return Space("classifier", module, params)


@pytest.fixture(scope="module")
def features(space):
    return features_of(space, IMAGES)


def split(edges, features, network, images=IMAGES, shown=None):
    """Blocks between edges; `shown`: only images of so many samples are kept, as with sample.keep=none."""
    for start, stop in zip(edges, edges[1:]):
        part, indices = slice(start, stop), np.arange(start, stop)
        kept = images[part] if shown is None else images[part][indices < shown]
        known = np.array(network), blocks.sums_of(images[part])
        yield Block(indices, np.zeros(stop - start, np.int32), kept, features[part], *known)


SPLITS = [(0, COUNT), (0, 1, 2, COUNT), (0, 100, 107, 200, COUNT), tuple(range(COUNT + 1)), (0, 7, 239, COUNT)]


@pytest.mark.parametrize("edges", SPLITS, ids=lambda edges: f"{len(edges) - 1}-blocks")
def test_any_first_part_of_any_blocks_has_the_moments_of_all_at_once(edges, space, features):
    """Sums of n terms in another order: n roundings of 2^-53, of the values, or of products with deviations."""
    shifted, counts = features * np.float32(3) + np.float32(10), (1, 2, 7, 100, 173, 239, COUNT)
    found = tallies(split(edges, shifted, space.network), counts, space)
    assert sorted(found) == list(counts)
    for count, tally in found.items():
        rows = shifted[:count].astype(np.float64)
        largest = np.abs(rows).max()
        assert tally.count == merged(tally.parts).count == count
        tolerance = 4 * count * UNIT * largest
        assert tolerance < 1e-9
        np.testing.assert_allclose(merged(tally.parts).mean, rows.mean(axis=0), rtol=0, atol=tolerance)
        if count > 1:
            covariance = tally.arrays()["sigma"]
            np.testing.assert_allclose(covariance, np.cov(rows.T), rtol=0, atol=2 * largest * tolerance)
            np.testing.assert_array_equal(tally.arrays()["mu"], merged(tally.parts).mean)


@pytest.mark.parametrize("edges", SPLITS, ids=lambda edges: f"{len(edges) - 1}-blocks")
def test_pixel_statistics_are_exact(edges, space, features):
    """Against fractions. Values up to 255 and their squares are summed as integers; what is rounded after it is a
    mean below 2, at most four times, and a sum of squares below n 255^2, divided by n - 1 and 127.5^2."""
    for count, tally in tallies(split(edges, features, ""), (2, 101, COUNT), None).items():
        arrays = tally.arrays()
        assert arrays["count"] == count and "mu" not in arrays
        for place in np.ndindex(SHAPE):
            values = [Fraction(int(image[place]), 255) * 2 - 1 for image in IMAGES[:count]]
            mean = sum(values) / count
            variance = sum((value - mean) ** 2 for value in values) / (count - 1)
            assert abs(arrays["pixel_mean"][place] - mean) <= 8 * UNIT
            assert abs(arrays["pixel_variance"][place] - variance) <= 4 * UNIT * 4 * count / (count - 1)


def test_points_have_their_mean_and_variance():
    points = RNG.normal(size=(COUNT, 2)).astype(np.float32)
    found = tallies(split((0, 50, COUNT), np.empty((COUNT, 0), np.float32), "", points), (60, COUNT), None)
    for count, tally in found.items():
        rows = points[:count].astype(np.float64)
        tolerance = 4 * count * UNIT * np.square(rows).max()
        np.testing.assert_allclose(tally.pixels()[0], rows.mean(axis=0), rtol=0, atol=tolerance)
        np.testing.assert_allclose(tally.pixels()[1], rows.var(axis=0, ddof=1), rtol=0, atol=tolerance)


def test_one_sample_has_a_mean_only(space, features):
    arrays = tallies(split((0, 8), features, space.network), (1,), space)[1].arrays()
    assert arrays.keys() == {"count", "pixel_mean", "pixel_variance"} and not arrays["pixel_variance"].any()
    np.testing.assert_allclose(arrays["pixel_mean"], IMAGES[0] / 127.5 - 1, rtol=0, atol=4 * UNIT)


def test_without_images_features_are_known_and_sums_of_whole_blocks(space, features):
    """Samples 0 to 99 are kept in any case, so that a cut below 100 is known too."""
    edges, hash_of = (0, 50, 100, 150, COUNT), space.network
    found = tallies(split(edges, features, hash_of, shown=100), (30, 100, 130, 150, COUNT), space)
    whole = tallies(split(edges, features, hash_of), (30, 100, 130, 150, COUNT), space)
    for count, tally in found.items():
        np.testing.assert_array_equal(merged(tally.parts).scatter, merged(whole[count].parts).scatter)
        assert (tally.sums is None) == (count == 130)
        if count != 130:
            np.testing.assert_array_equal(tally.sums, whole[count].sums)
    assert found[130].arrays().keys() == {"count", "mu", "sigma"}


def test_features_of_another_classifier_are_taken_from_the_images(space, features):
    """One float32 network, in batches of other sizes: its sums may differ in their last bits."""
    wrong = np.full_like(features, 7)
    found = tallies(split((0, 50, COUNT), wrong, "another"), (60, COUNT), space)
    for count, tally in found.items():
        expected = Moments.of(features[:count])
        np.testing.assert_allclose(merged(tally.parts).mean, expected.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(merged(tally.parts).covariance(), expected.covariance(), rtol=1e-4, atol=1e-6)
    none = np.empty((COUNT, 0), np.float32)  # drawn without a classifier
    again = tallies(split((0, 50, COUNT), none, ""), (COUNT,), space)[COUNT]
    np.testing.assert_allclose(merged(again.parts).mean, merged(found[COUNT].parts).mean, rtol=1e-12)


def test_another_classifier_without_images_is_named(space, features):
    there = split((0, 50, 100, 150), features, "another", shown=100)
    with pytest.raises(ValueError, match="no features of this network, and their images were not kept: score"):
        tallies(there, (150,), space)
    assert tallies(split((0, 50, 100), features, "another", shown=100), (80,), space)[80]


def test_another_network_has_another_hash(space):
    params = jax.tree.map(np.array, space.params)
    params["features"]["bias"][0] += 1e-6
    assert space._replace(params=params).network != space.network and Space("pixels").network == ""


def test_sums_are_known_where_all_parts_have_them(space, features):
    """Of a block that is cut where images were not kept, only features are known."""
    parts = list(split((0, 100, COUNT), features, space.network))
    parts[1] = parts[1]._replace(images=parts[1].images[:0])
    found = tallies(parts, (100, 150, COUNT), space)
    assert [found[count].sums is None for count in (100, 150, COUNT)] == [False, True, False]
    assert merged(found[150].parts).count == 150
