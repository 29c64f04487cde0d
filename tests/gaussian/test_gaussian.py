"""gaussian/ against brute force, against itself, and against Monte-Carlo within 6 standard errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import multivariate_normal

import gaussian as library
from gaussian import Mixture, denoiser, fit_gaussian, from_covariances, gaussian_ems
from solvers.schedule import EDM, VP, Flow

SHAPE, DIM = (2, 3, 1), 6
SCHEDULES = {"edm": EDM(), "vp": VP(), "flow": Flow()}


# Op by op these compile for seconds.
posterior_mean = jax.jit(library.posterior_mean)
sample_data = partial(jax.jit, static_argnums=2)(library.sample_data)


def covariance(rng, dim=DIM):
    a = rng.normal(size=(dim, dim))
    return a @ a.T / dim


def three_components(shape=SHAPE):
    rng, dim = np.random.default_rng(0), int(np.prod(shape))
    covariances = np.stack([covariance(rng, dim) * scale for scale in (1, 0.1, 0.01)])
    return [0.5, 0.3, 0.2], rng.normal(size=(3, *shape)), covariances


def one_gaussian(shape=SHAPE):
    rng = np.random.default_rng(1)
    return rng.normal(size=shape), covariance(rng, int(np.prod(shape)))


def within_six_errors(values, wanted):
    """Is the mean of independent values [n, ...] at `wanted`, up to 6 standard errors?"""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.all(np.abs(values.mean(axis=0) - wanted) <= 6 * error + 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("position", [0.02, 0.3, 0.9])
def test_denoiser_is_the_score_of_the_log_density(name, position):
    """Tweedie: alpha E[x0 | x] = x + sigma^2 grad log p(x)."""
    schedule = SCHEDULES[name]
    t = jnp.asarray(schedule.t_max * position)
    weights, means, covariances = three_components()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)

    def log_density(x):
        terms = [
            jnp.log(w) + multivariate_normal.logpdf(x, alpha * m.ravel(), alpha**2 * c + sigma**2 * jnp.eye(DIM))
            for w, m, c in zip(weights, means, covariances, strict=True)
        ]
        return jax.nn.logsumexp(jnp.stack(terms))

    model = jax.jit(denoiser(from_covariances(weights, means, covariances), schedule))
    score = jax.jit(jax.grad(log_density))
    for seed in range(3):
        x = alpha * means[seed] + (0.3 + sigma) * np.random.default_rng(seed).normal(size=SHAPE)
        wanted = (x + sigma**2 * score(x.ravel()).reshape(SHAPE)) / alpha
        np.testing.assert_allclose(model(x, t), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_mixture_of_one_is_the_gaussian():
    mean, cov = one_gaussian()
    x, alpha, sigma = np.random.default_rng(2).normal(size=SHAPE), 0.8, 0.6
    total = alpha**2 * cov + sigma**2 * np.eye(DIM)
    wanted = mean + (alpha * cov @ np.linalg.solve(total, x.ravel() - alpha * mean.ravel())).reshape(SHAPE)
    gaussian = from_covariances([1.0], mean[None], cov[None])
    np.testing.assert_allclose(posterior_mean(gaussian, x, alpha, sigma), wanted, rtol=1e-12)
    # Splitting a component in two changes nothing.
    twice = from_covariances([0.3, 0.7], np.stack([mean, mean]), np.stack([cov, cov]))
    np.testing.assert_allclose(posterior_mean(twice, x, alpha, sigma), wanted, rtol=1e-12)


def low_rank(rank=2):
    """A mixture of rank `rank` with floors, and the same distribution in full."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(2, DIM, DIM)))[0]
    variances, floor = np.sort(rng.uniform(0.5, 2, (2, rank)))[:, ::-1], np.array([0.01, 0.2])
    all_variances = np.concatenate([variances, np.repeat(floor[:, None], DIM - rank, axis=1)], axis=1)
    weights, means = np.array([0.4, 0.6]), rng.normal(size=(2, DIM))
    small = Mixture(weights, means, basis[:, :, :rank], variances, floor, SHAPE)
    return small, Mixture(weights, means, basis, all_variances, np.zeros(2), SHAPE)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sigma", [1e-3, 0.1, 10.0])
def test_low_rank_with_floor_equals_full_rank(sigma):
    small, full = low_rank()
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=SHAPE) * (1 + sigma)
        wanted = posterior_mean(full, x, 0.9, sigma)
        np.testing.assert_allclose(posterior_mean(small, x, 0.9, sigma), wanted, rtol=1e-9, atol=1e-10)
    # The same when the low rank is made by truncation: the discarded directions of these covariances share a variance.
    covariances = np.einsum("kir,kr,kjr->kij", full.basis, full.variances, full.basis)
    cut = from_covariances(full.weights, full.means.reshape(2, *SHAPE), covariances, rank=2)
    np.testing.assert_allclose(cut.floor, small.floor, rtol=1e-10)
    np.testing.assert_allclose(posterior_mean(cut, x, 0.9, sigma), wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rank", [None, 20])
def test_float32_agrees_with_float64(rank):
    """Errors in units of the data's scale, 1, on 80 pixels with variances from 1 down to 1e-8."""
    shape, dim = (10, 8), 80
    rng = np.random.default_rng(4)
    basis = np.linalg.qr(rng.normal(size=(3, dim, dim)))[0]
    spectrum = np.geomspace(1, 1e-8, dim)
    covariances = np.einsum("kir,r,kjr->kij", basis, spectrum, basis)
    mixture = from_covariances([0.5, 0.3, 0.2], rng.normal(size=(3, *shape)), covariances, rank)
    x0 = sample_data(mixture, jax.random.key(0), 4)
    run = jax.jit(jax.vmap(lambda x, sigma: posterior_mean(mixture, x, 1.0, sigma), in_axes=(0, None)))
    for sigma in (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
        x = (x0 + sigma * rng.normal(size=(4, *shape))).astype(np.float32)
        low, high = run(x, sigma), run(x.astype(np.float64), sigma)
        assert low.dtype == np.float32 and high.dtype == np.float64
        np.testing.assert_allclose(low, high, atol=2e-5, err_msg=f"sigma={sigma}")


def test_extremes_are_finite():
    mixture = from_covariances(*three_components())
    far = 1e3 * np.ones(SHAPE, np.float32)
    for sigma in (1e-3, 1.0, 100.0):
        assert np.isfinite(posterior_mean(mixture, far, 1.0, sigma)).all()
    # At alpha = 0 the noisy image says nothing: the mean of the data.
    mean = np.tensordot(mixture.weights, mixture.means, 1).reshape(SHAPE)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_allclose(posterior_mean(mixture, x, 0.0, 1.0), mean, rtol=1e-5)
    np.testing.assert_allclose(denoiser(mixture, Flow())(x, jnp.float32(1.0)), mean, rtol=1e-5)


def test_mixture_is_an_argument_of_jit():
    mixture = from_covariances(*three_components())
    x = np.ones(SHAPE, np.float32)
    wanted = denoiser(mixture, EDM())(x, jnp.float32(0.5))
    found = jax.jit(lambda mixture, x, t: denoiser(mixture, EDM())(x, t))(mixture, x, jnp.float32(0.5))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_gaussian(dtype):
    data = np.random.default_rng(5).normal(size=(50, *SHAPE)).astype(dtype) + 100
    flat = data.reshape(50, DIM).astype(np.float64)
    fitted = fit_gaussian(data, chunk=7)
    assert fitted.shape == SHAPE and fitted.means.dtype == fitted.variances.dtype == np.float64
    np.testing.assert_allclose(fitted.means[0], flat.mean(0), rtol=1e-13)
    assert np.all(np.diff(fitted.variances[0]) <= 0)
    rebuilt = (fitted.basis[0] * fitted.variances[0]) @ fitted.basis[0].T
    np.testing.assert_allclose(rebuilt, np.cov(flat.T), rtol=1e-10, atol=1e-12)
    low = fit_gaussian(data, rank=2)
    assert low.basis.shape == (1, DIM, 2)
    np.testing.assert_allclose(low.floor, fitted.variances[:, 2:].mean(1))


def test_fit_gaussian_with_fewer_samples_than_pixels():
    fitted = fit_gaussian(np.random.default_rng(6).normal(size=(3, *SHAPE)))
    assert np.all(fitted.variances >= 0) and np.sum(fitted.variances > 1e-10) == 2


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        fit_gaussian(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="127.5"):
        fit_gaussian(np.zeros((5, 4), np.uint8))
    with pytest.raises(ValueError, match="1 of 4 pixels"):
        fit_gaussian(np.array([[0, 0, 0, np.nan], [0, 1, 2, 3]]))
    weights, means, covariances = three_components()
    with pytest.raises(ValueError, match="sum 2"):
        from_covariances([1, 0.5, 0.5], means, covariances)
    with pytest.raises(ValueError, match="covariances"):
        from_covariances(weights, means, covariances[:2])
    with pytest.raises(ValueError, match="rank must be from 1 to 6"):
        from_covariances(weights, means, covariances, rank=7)
    mixture = from_covariances(weights, means, covariances)
    with pytest.raises(ValueError, match="got 3"):
        gaussian_ems(mixture, np.linspace(-4, 4, 5))
    with pytest.raises(ValueError, match="vmap"):
        denoiser(mixture, EDM())(np.zeros((4, *SHAPE)), 1.0)


@pytest.mark.parametrize("which", ["full", "low rank"])
def test_sample_data_has_the_moments_of_the_mixture(which):
    small, full = low_rank()
    n = 20000
    data = np.asarray(sample_data(full if which == "full" else small, jax.random.key(0), n), np.float64).reshape(n, DIM)
    mean = full.weights @ full.means
    inside = np.einsum("k,kir,kr,kjr->ij", full.weights, full.basis, full.variances, full.basis)
    between = np.einsum("k,ki,kj->ij", full.weights, full.means - mean, full.means - mean)
    assert within_six_errors(data, mean)
    centered = data - mean
    assert within_six_errors(centered[:, :, None] * centered[:, None, :], inside + between)


def test_sample_i_does_not_depend_on_how_many():
    mixture, key = low_rank()[0], jax.random.key(0)
    np.testing.assert_allclose(sample_data(mixture, key, 3), sample_data(mixture, key, 10)[:3], rtol=1e-5)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_denoiser_is_the_conditional_mean_of_the_samples(sigma):
    """E[(x0 - E[x0 | x]) h(x)] = 0 for h = 1 and h = x."""
    mixture, n, alpha = from_covariances(*three_components()), 20000, 0.7
    x0 = sample_data(mixture, jax.random.key(1), n)
    x = alpha * x0 + sigma * jax.random.normal(jax.random.key(2), x0.shape)
    mean = jax.jit(jax.vmap(lambda x: posterior_mean(mixture, x, alpha, sigma)))(x)
    error, x = np.asarray(x0 - mean, np.float64).reshape(n, DIM), np.asarray(x, np.float64).reshape(n, DIM)
    assert within_six_errors(error, 0)
    assert within_six_errors(error[:, :, None] * x[:, None, :], 0)
