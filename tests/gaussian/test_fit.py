"""Fits against numpy's moments and eigenvectors; maps of mixtures against dense covariances; files."""

import json

import jax
import numpy as np
import pytest
from scipy.fft import dct

import gaussian
from gaussian import Mixture, fit_classes, fit_gaussian, fit_mixture, from_covariances
from gaussian.eigen import _lanczos, eigenpairs
from solvers import npz

SHAPE, DIM = (2, 3, 1), 6


def dense(mixture):
    """[k, D, D], what the docstring of distribution.py says."""
    basis, rest = mixture.basis, np.eye(mixture.basis.shape[1]) - mixture.basis @ mixture.basis.swapaxes(1, 2)
    return (basis * mixture.variances[:, None]) @ basis.swapaxes(1, 2) + mixture.floor[:, None, None] * rest


def samples(n=50, shape=SHAPE, seed=0, offset=0.0):
    rng, dim = np.random.default_rng(seed), int(np.prod(shape))
    return offset + (rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))).reshape(n, *shape)


def three_components(shape=SHAPE):
    parts = [samples(20, shape, seed).reshape(20, -1) for seed in range(3)]
    means = np.random.default_rng(9).normal(size=(3, *shape))
    return from_covariances([0.5, 0.3, 0.2], means, np.stack([np.cov(part.T) for part in parts]))


def total_covariance(mixture):
    mean = mixture.weights @ mixture.means
    step = mixture.means - mean
    return mean, np.einsum("k,kij->ij", mixture.weights, dense(mixture)) + (step.T * mixture.weights) @ step


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_one_pass_has_the_moments_of_numpy(biased, offset):
    """Round-off of data at 1e4 is 1e-12, relative to variances of 1; a sum of squares would keep 1e-8 of them."""
    data = samples(offset=offset)
    flat = data.reshape(len(data), DIM)
    wanted = np.cov((flat - offset).T, bias=biased)
    reads = []

    def chunks():
        reads.append(0)
        return iter([data[:1], data[1:30], data[30:]])

    for fitted in (fit_gaussian(data, biased=biased, chunk=7), fit_gaussian(chunks, biased=biased)):
        assert fitted.shape == SHAPE and np.all(np.diff(fitted.variances) <= 0)
        np.testing.assert_allclose(fitted.means[0], flat.mean(0), rtol=1e-14)
        np.testing.assert_allclose(dense(fitted)[0], wanted, atol=1e-10)
    assert len(reads) <= 2  # one for the shape, of which nothing but the first chunk is made


@pytest.mark.parametrize("source", ["array", "chunks"])
def test_randomized_finds_the_leading_directions(source):
    """Variances fall by 4 from one to the next: after 4 passes with 18 columns the error is far below round-off."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    data = (5 + rng.normal(size=(300, 40)) * 2.0 ** -np.arange(40) @ basis.T).reshape(300, 8, 5)
    full = fit_gaussian(data)
    low = fit_gaussian(data if source == "array" else lambda: np.split(data, 3), rank=4, method="randomized")
    assert low.basis.shape == (1, 40, 4) and low.shape == (8, 5)
    np.testing.assert_allclose(low.means, full.means, rtol=1e-13)
    np.testing.assert_allclose(low.variances, full.variances[:, :4], rtol=1e-10)
    np.testing.assert_allclose(low.floor, full.variances[:, 4:].mean(1), rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(low.basis * full.basis[:, :, :4], axis=1)), 1, rtol=1e-10)


def test_randomized_of_fewer_samples_than_directions():
    """The floor is 0 up to round-off of the total, and the basis is orthonormal though nothing varies along its end."""
    data = samples(3, (10,))
    low = fit_gaussian(data, rank=5, method="randomized", biased=True)
    np.testing.assert_allclose(low.basis[0].T @ low.basis[0], np.eye(5), atol=1e-13)
    np.testing.assert_allclose(dense(low)[0], np.cov(data.T, bias=True), atol=1e-12)


def test_many_pixels_need_no_matrix():
    """Of 20,000 pixels, where a D x D matrix would take 3 GB: the singular values of 6 centred samples."""
    data = np.random.default_rng(0).normal(size=(6, 100, 200))
    flat = data.reshape(6, -1) - data.reshape(6, -1).mean(0)
    low = fit_gaussian(data, rank=3)
    values = np.linalg.svd(flat, compute_uv=False) ** 2 / 5
    np.testing.assert_allclose(low.variances[0], values[:3], rtol=1e-10)
    np.testing.assert_allclose(low.floor, values[3:].sum() / (20_000 - 3), rtol=1e-9)


CIFAR = 3072  # pixels of 32x32x3, where a low rank is sought by Lanczos' method
SPECTRA = {
    "power": np.arange(1.0, CIFAR + 1) ** -1.5,
    "pairs": 1 / np.repeat(np.arange(1.0, CIFAR // 2 + 1), 2),
    "small": 1e-30 / np.arange(1.0, CIFAR + 1),
    "spikes": np.where(np.arange(CIFAR) < 20, 2.0, 1e-3),
}


@pytest.mark.thin(3)
@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("name", SPECTRA)
def test_low_ranks_of_many_pixels(name, order):
    """Cosines are the eigenvectors. Round-off of a matrix is D eps of its largest eigenvalue; that of a subspace this,
    over the gap to the next eigenvalue (Davis and Kahan 1970)."""
    spectrum, rank = SPECTRA[name], 20
    covariance = np.array(dct(dct(np.diag(spectrum), axis=0, norm="ortho"), axis=1, norm="ortho"), order=order)
    covariance[np.triu_indices(CIFAR, 1)] = np.nan  # which is not read
    assert _lanczos(covariance, rank, spectrum.sum()) is not None
    variances, basis, floor = eigenpairs(covariance, rank)
    error = CIFAR * np.finfo(float).eps * spectrum[0]
    np.testing.assert_allclose(variances, spectrum[:rank], rtol=0, atol=error)
    np.testing.assert_allclose(floor, spectrum[rank:].mean(), rtol=1e-12)
    np.testing.assert_allclose(basis.T @ basis, np.eye(rank), rtol=0, atol=1e-12)
    outside = dct(np.eye(CIFAR)[rank:], axis=1, norm="ortho") @ basis  # the sines of the angles between the subspaces
    assert np.linalg.norm(outside, 2) <= error / (spectrum[rank - 1] - spectrum[rank])
    for a, b in zip((variances, basis), eigenpairs(covariance, rank)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("block", [2.0 ** -np.arange(64), 1 / np.arange(1, 129)], ids=["halves", "fractions"])
def test_copies_of_an_eigenvalue_are_not_missed(block):
    """Lanczos' method finds one copy of some: of 32 and of 16, LAPACK then finds all."""
    spectrum = np.tile(block, 2048 // len(block))
    variances, basis, _ = eigenpairs(np.diag(spectrum), 12)
    np.testing.assert_allclose(variances, 1, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(basis[spectrum == 1], axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("dim", [3, 2048])
def test_no_direction_at_all(dim):
    """Rank 0: one variance for all directions."""
    variances, basis, floor = eigenpairs(np.diag(np.arange(1.0, dim + 1)), 0)
    assert variances.shape == (0,) and basis.shape == (dim, 0) and floor == (dim + 1) / 2


@pytest.mark.parametrize("count", [10, 200])
def test_low_ranks_of_images(count):
    """Of more and of fewer samples than the rank, by the singular values of the samples."""
    data = np.random.default_rng(0).normal(size=(count, 32, 32, 3)) / np.arange(1, 33)[:, None, None] + 0.5
    fitted, centred = fit_gaussian(data, rank=16), (data - data.mean(0)).reshape(count, -1)
    values = np.zeros(CIFAR)
    values[:count] = np.linalg.svd(centred, compute_uv=False) ** 2 / (count - 1)
    error = CIFAR * np.finfo(float).eps * values[0]
    np.testing.assert_allclose(fitted.variances[0], values[:16], rtol=0, atol=error)
    np.testing.assert_allclose(fitted.floor, values[16:].mean(), rtol=1e-10, atol=error)
    kept = np.square(centred @ fitted.basis[0]).sum(0) / (count - 1)
    np.testing.assert_allclose(kept, values[:16], rtol=0, atol=error)


@pytest.mark.parametrize("components", [1, 5])
@pytest.mark.parametrize("rank", [None, 2])
def test_a_partition_has_the_moments_of_the_whole(components, rank):
    """Variance within plus between clusters is the total, for any partition; a rank moves variance, but loses none."""
    data = samples(200)
    mixture = fit_mixture(data, components, rank, variance=0.0, biased=True)
    mean, covariance = total_covariance(mixture)
    wanted = np.cov(data.reshape(200, DIM).T, bias=True)
    assert len(mixture.weights) == components and mixture.basis.shape[2] == (rank or DIM)
    np.testing.assert_allclose(mean, data.reshape(200, DIM).mean(0), atol=1e-12)
    np.testing.assert_allclose(np.trace(covariance), np.trace(wanted), rtol=1e-10)
    if rank is None:
        np.testing.assert_allclose(covariance, wanted, atol=1e-10)


def test_kmeans_finds_separate_clusters():
    rng = np.random.default_rng(0)
    sizes, centres = (50, 30, 1), np.array([[0, 0], [50, 0], [0, 50]])
    groups = [centre + rng.normal(size=(size, 2)) for size, centre in zip(sizes, centres)]
    mixture, steps = fit_mixture(np.concatenate(groups), 3), []
    order = np.argsort(-mixture.weights)
    np.testing.assert_allclose(mixture.weights[order], np.array(sizes) / 81)
    np.testing.assert_allclose(mixture.means[order], [group.mean(0) for group in groups], rtol=1e-12)
    wanted = [np.cov(group.T) if len(group) > 1 else np.zeros((2, 2)) for group in groups]
    np.testing.assert_allclose(dense(mixture)[order], wanted + 1e-5 * np.eye(2), rtol=1e-10, atol=1e-14)
    again = fit_mixture(np.concatenate(groups), 3, progress=steps.append)
    assert sum(steps) == 3 and all(np.array_equal(a, b) for a, b in zip(mixture[:5], again[:5]))


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_clusters_without_samples_are_left_out():
    mixture = fit_mixture(np.repeat([[0.0, 0.0], [1.0, 1.0]], [6, 2], axis=0), 4)
    assert sorted(mixture.weights) == [0.25, 0.75]
    np.testing.assert_allclose(mixture.variances, 1e-5)


def test_classes_are_gaussians_of_their_samples():
    data, labels = samples(60), np.repeat([1, 0, 2], [30, 20, 10])
    mixture = fit_classes(data, labels)
    np.testing.assert_allclose(mixture.weights, np.array([20, 30, 10]) / 60)
    for label in range(3):
        one, wanted = gaussian.component(mixture, label), fit_gaussian(data[labels == label])
        assert one.shape == SHAPE and all(np.array_equal(a, b) for a, b in zip(one[:5], wanted[:5]))


def test_component_by_a_traced_index():
    mixture = three_components()
    found = jax.jit(lambda index: gaussian.component(mixture, index))(np.int32(2))
    for a, b in zip(found[:5], gaussian.component(mixture, 2)[:5]):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_delta_are_the_data():
    data = samples(8).astype(np.float32)
    points = gaussian.delta(data)
    assert points.means.dtype == np.float32 and np.shares_memory(points.means, data)
    drawn = np.asarray(gaussian.sample_data(points, jax.random.key(0), 50))
    assert {x.tobytes() for x in drawn} == {x.tobytes() for x in data}
    mean, covariance = total_covariance(points)
    np.testing.assert_allclose(mean, data.reshape(8, DIM).mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dense(gaussian.as_gaussian(points))[0], np.cov(data.reshape(8, DIM).T, bias=True))


def test_maps_of_covariances():
    mixture = three_components()
    full, eye = dense(mixture), np.eye(DIM)
    np.testing.assert_allclose(dense(gaussian.regularise(mixture, 0.1)), full + 0.1 * eye, atol=1e-12)
    trace = np.trace(full, axis1=1, axis2=2)[:, None, None]
    np.testing.assert_allclose(dense(gaussian.isotropic(mixture)), trace / DIM * eye, atol=1e-12)
    assert np.all(dense(gaussian.isotropic(mixture, variance=False)) == 0)
    values, vectors = np.linalg.eigh(full)
    kept = (vectors[:, :, 4:] * values[:, None, 4:]) @ vectors[:, :, 4:].swapaxes(1, 2)
    np.testing.assert_allclose(dense(gaussian.truncate(mixture, 2, floor=False)), kept, atol=1e-12)
    twice = gaussian.truncate(gaussian.truncate(mixture, 4), 2)
    for a, b in zip(twice[:5], gaussian.truncate(mixture, 2)[:5]):
        np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(np.trace(dense(twice), axis1=1, axis2=2)[:, None, None], trace, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (5, 8)], ids=["D x D", "in the span"])
@pytest.mark.parametrize("rank", [0, 2, None])
def test_as_gaussian_has_the_moments_of_the_mixture(shape, rank):
    """Of 40 pixels and rank 2 the 9 columns span less than the space; of 6 pixels they do not."""
    mixture = three_components(shape)
    mixture = mixture if rank is None else gaussian.truncate(mixture, rank)
    one = gaussian.as_gaussian(mixture)
    mean, covariance = total_covariance(mixture)
    assert one.shape == shape and one.basis.shape[2] == min(int(np.prod(shape)), 3 * mixture.basis.shape[2] + 3)
    np.testing.assert_allclose(one.means[0], mean, atol=1e-13)
    np.testing.assert_allclose(dense(one)[0], covariance, atol=1e-11)
    cut, wanted = gaussian.as_gaussian(mixture, 1), np.linalg.eigvalsh(covariance)[::-1]
    np.testing.assert_allclose(cut.variances[0], wanted[:1])
    np.testing.assert_allclose(cut.floor, wanted[1:].mean())


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 0), (np.float32, 1e-7)])
def test_files_give_back_what_was_saved(tmp_path, dtype, tolerance):
    mixture, notes = gaussian.truncate(three_components(), 2), {"data": {"samples": 3}}
    path = gaussian.save_distribution(tmp_path / "deep" / "g.npz", mixture, notes, dtype)
    found, provenance = gaussian.load_distribution(path)
    assert provenance == notes and found.shape == mixture.shape
    for a, b in zip(found[:5], mixture[:5]):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=0)


def test_files_that_are_no_distributions(tmp_path):
    path = tmp_path / "g.npz"
    with pytest.raises(FileNotFoundError, match="fit_gaussian"):
        gaussian.load_distribution(path)
    gaussian.save_distribution(path, three_components(), {})
    whole = npz.read(path, (*Mixture._fields[:-1], "meta"))
    notes = json.loads(str(whole["meta"]))
    changes = [
        ({"meta": "{}"}, "notes"),
        ({"meta": json.dumps(notes | {"kind": "EMS"})}, "kind 'EMS'"),
        ({"meta": json.dumps(notes | {"shape": [7]})}, r"means has shape \(3, 6\)"),
        ({"floor": np.zeros(2)}, "floor has shape"),
        ({"basis": np.zeros(4)}, "basis of"),
        ({"variances": np.full((3, 6), np.nan)}, "variances holds"),
        ({"variances": np.full((3, 6), -1.0)}, "negative"),
        ({"weights": np.full(3, 0.5)}, "sum to 1"),
    ]
    for change, message in changes:
        npz.write(path, whole | change)
        with pytest.raises(ValueError, match=message):
            gaussian.load_distribution(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="not a whole"):
        gaussian.load_distribution(path)
    with pytest.raises(ValueError, match="float16"):
        gaussian.save_distribution(path, three_components(), {}, np.float16)
    with pytest.raises(ValueError, match="name one"):
        gaussian.save_distribution(tmp_path / "folder", three_components(), {})


def test_errors_say_what_to_do():
    data = samples()
    cases = [
        (lambda: fit_gaussian(data, method="svd"), "covariance or randomized"),
        (lambda: fit_gaussian(data, method="randomized"), "give a rank"),
        (lambda: fit_gaussian(np.zeros((2, 20_000))), "6.4 GB: give a rank"),
        (lambda: fit_gaussian(lambda: iter([])), "at least 2 samples, got 0"),
        (lambda: fit_gaussian(lambda: iter([np.zeros((3, 4)), np.zeros((3, 5))])), "make them alike"),
        (lambda: fit_gaussian(lambda: iter([np.zeros((3, 1)), [[np.inf]]])), "samples 3 to 3"),
        (lambda: fit_gaussian(data, rank=7), "from 1 to 6"),
        (lambda: fit_gaussian(np.zeros((0, 4))), "at least one"),
        (lambda: fit_classes(data, np.arange(50) % 2 * 2), "label 1 has 0 samples"),
        (lambda: fit_classes(data, np.zeros(49, int)), "50 integers"),
        (lambda: fit_mixture(data, 51), "from 1 to 50"),
        (lambda: gaussian.delta(np.zeros((3, 4), np.uint8)), "127.5"),
        (lambda: gaussian.truncate(three_components(), 7), "from 0 to 6"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
