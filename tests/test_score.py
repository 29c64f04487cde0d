"""gaussian/score.py: data as a mixture, scores and expansions against brute force; chunks against none."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import multivariate_normal

import gaussian
from gaussian import Mixture, denoiser, expanded_mean, expansion, from_covariances, posterior_mean, posterior_score
from gaussian import score as score_model
from solvers.schedule import EDM, VP, Flow

MODULE = sys.modules["gaussian.score"]  # the package exports a function of this name
SHAPE, DIM = (2, 3, 1), 6
KINDS = ("full", "low rank", "isotropic", "delta")


def mixture_of(kind, count=7):
    """A mixture of each kind; one of its weights is 0."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(count))
    weights[1] = 0
    weights /= weights.sum()
    rank = {"full": DIM, "low rank": 2}.get(kind, 0)
    basis = np.linalg.qr(rng.normal(size=(count, DIM, DIM)))[0][:, :, :rank]
    variances = np.sort(rng.uniform(0.1, 1, (count, rank)))[:, ::-1]
    floor = np.zeros(count) if kind == "delta" else rng.uniform(0.01, 0.1, count)
    return Mixture(weights, rng.normal(size=(count, DIM)), basis, variances, floor, SHAPE)


def log_density(mixture, x, alpha, sigma):
    """log p(x) from dense covariances."""
    terms = []
    for w, mean, u, v, floor in zip(*(np.asarray(a) for a in mixture[:5]), strict=True):
        covariance = (u * v) @ u.T + floor * (np.eye(DIM) - u @ u.T)
        total = alpha**2 * covariance + sigma**2 * np.eye(DIM)
        terms.append(jnp.log(w) + multivariate_normal.logpdf(x.ravel(), alpha * mean, total))
    return jax.nn.logsumexp(jnp.stack(terms))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("schedule", [EDM(), VP(), Flow()], ids=["edm", "vp", "flow"])
@pytest.mark.parametrize("kind", KINDS)
def test_score_and_denoiser_are_those_of_the_density(kind, schedule):
    mixture = mixture_of(kind)
    model, denoise = (jax.jit(f(mixture, schedule)) for f in (score_model, denoiser))
    for part in (0.1, 0.5, 0.9):
        t = jnp.asarray(schedule.t_max * part)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x = jnp.asarray(alpha * mixture.means[0] + sigma * np.random.default_rng(1).normal(size=DIM)).reshape(SHAPE)
        wanted = jax.grad(log_density, argnums=1)(mixture, x, alpha, sigma)
        np.testing.assert_allclose(model(x, t), wanted, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(denoise(x, t), (x + sigma**2 * wanted) / alpha, rtol=1e-8, atol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_nothing(kind, size, monkeypatch):
    """Also where the last one overlaps the one before, and for derivatives."""
    mixture, x = mixture_of(kind), jnp.asarray(np.random.default_rng(2).normal(size=SHAPE))
    functions = [partial(f, mixture, alpha=0.9, sigma=0.5) for f in (posterior_mean, posterior_score)]
    whole = [(f(x), jax.jvp(f, (x,), (jnp.ones_like(x),))[1]) for f in functions]
    monkeypatch.setattr(MODULE, "CHUNK", size * DIM)
    monkeypatch.setattr(MODULE, "LEAST_RANK", 1)
    rank = max(1, mixture.basis.shape[2])
    monkeypatch.setattr(MODULE, "CHUNK", size * DIM * rank)
    for function, (value, slope) in zip(functions, whole, strict=True):
        assert ("scan" in str(jax.make_jaxpr(function)(x))) == (size < 7)
        np.testing.assert_allclose(function(x), value, rtol=1e-12)
        np.testing.assert_allclose(jax.jvp(function, (x,), (jnp.ones_like(x),))[1], slope, rtol=1e-11, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_delta_is_the_softmax_over_the_data(monkeypatch):
    """At small noise the nearest image, at large noise their mean; far from all data too."""
    monkeypatch.setattr(MODULE, "CHUNK", 40 * DIM)
    data = np.random.default_rng(3).normal(size=(150, *SHAPE)) + 5
    mixture, run = gaussian.delta(data), jax.jit(posterior_mean)
    for seed, sigma in enumerate((0.03, 0.3, 1.0, 30.0)):
        for far in (0, 100):
            x = 0.8 * data[seed] + sigma * np.random.default_rng(seed).normal(size=SHAPE) + far
            distance = ((x - 0.8 * data) ** 2).sum(axis=(1, 2, 3)) / (2 * sigma**2)
            weights = np.exp(distance.min() - distance)
            wanted = np.tensordot(weights / weights.sum(), data, 1)
            np.testing.assert_allclose(run(mixture, x, 0.8, sigma), wanted, rtol=1e-9)


def test_float32_of_delta_is_as_good_as_its_docstring_says():
    """An error e of log r_k moves the mean by less than e (the weights) times the spread of the data."""
    rng = np.random.default_rng(4)
    data = rng.uniform(-1, 1, (500, 1)) * rng.uniform(0, 1, (500, 400)) + 0.5
    mixture = gaussian.delta(data.astype(np.float32))
    run = jax.jit(jax.vmap(posterior_mean, in_axes=(None, 0, None, None)))
    center = data.mean(axis=0)
    radius = np.linalg.norm(data - center, axis=1).max()
    for sigma in (0.05, 0.2, 1.0, 20.0):
        x = data[:8] + sigma * rng.normal(size=(8, 400))
        low = np.asarray(run(mixture, x.astype(np.float32), 1.0, sigma))
        with jax.enable_x64(True):
            high = np.asarray(run(gaussian.delta(data), x, 1.0, sigma))
        reach = np.linalg.norm(x - center, axis=1).max() + radius
        error = min(2.0, 2e-7 * reach**2 / sigma**2) * 2 * radius + 1e-6 * np.linalg.norm(data, axis=1).max()
        assert np.linalg.norm(low - high, axis=1).max() <= error, sigma


def test_memory_does_not_grow_with_the_data():
    """60,000 images of 784 pixels, a batch of 64: nothing runs, the compiler says what it would take."""
    n, dim, batch = 60_000, 784, 64
    shapes = ((n,), (n, dim), (n, dim, 0), (n, 0), (n,))
    mixture = Mixture(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes), (dim,))
    x = jax.ShapeDtypeStruct((batch, dim), jnp.float32)
    run = jax.jit(jax.vmap(lambda mixture, x: posterior_mean(mixture, x, 1.0, 0.5), in_axes=(None, 0)))
    assert run.lower(mixture, x).compile().memory_analysis().temp_size_in_bytes < 64e6 < 4 * n * dim


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("regularised", [False, True])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("rank", [2, DIM])
def test_expansions_are_their_formula(rank, order, regularised):
    """Eq. (4) with dense matrices."""
    one = gaussian.component(mixture_of("full"), 0)
    one = gaussian.truncate(one, rank)
    u, v, floor, mean = one.basis[0], one.variances[0], one.floor[0], one.means[0]
    covariance = (u * v) @ u.T + floor * (np.eye(DIM) - u @ u.T)
    schedule, t = VP(), jnp.asarray(0.4)
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    rho = sigma**2 + alpha**2 * np.trace(covariance) / 2 * regularised
    term = alpha**2 * covariance / rho
    x = np.random.default_rng(5).normal(size=DIM)
    score = -(np.eye(DIM) - term + term @ term * (order == 2)) @ (x - alpha * mean) / rho
    found = expansion(one, schedule, order, regularised)(jnp.asarray(x.reshape(SHAPE)), t)
    np.testing.assert_allclose(np.ravel(found), (x + sigma**2 * score) / alpha, rtol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", [1, 2])
def test_expansions_converge_at_high_noise(order):
    """The first term left out is (v / sigma^2)^(order + 1): twice the noise, 4^(order + 1) times less error."""
    one, x = gaussian.component(mixture_of("full"), 0), jnp.ones(SHAPE)
    errors = [
        np.linalg.norm(expanded_mean(one, x, 1.0, sigma, order) - posterior_mean(one, x, 1.0, sigma))
        for sigma in (30.0, 60.0)
    ]
    np.testing.assert_allclose(errors[0] / errors[1], 4 ** (order + 1), rtol=3e-3)


def test_errors_say_what_to_do():
    mixture = mixture_of("full")
    with pytest.raises(ValueError, match="got 7 components"):
        expanded_mean(mixture, np.ones(SHAPE, np.float32), 1.0, 1.0)
    with pytest.raises(ValueError, match="order 3"):
        expanded_mean(from_covariances([1], np.ones((1, 2)), np.eye(2)[None]), np.ones(2, np.float32), 1.0, 1.0, 3)
    for model in (score_model(mixture, EDM()), expansion(mixture, EDM())):
        with pytest.raises(ValueError, match="vmap"):
            model(np.zeros((4, *SHAPE), np.float32), 1.0)
