"""Closed-form EMS of a Gaussian: against brute force, and DPM-Solver-v3 exact with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian import Mixture, denoiser, from_covariances, gaussian_ems
from solvers import SOLVERS, sample
from solvers.grid import GRIDS
from tests.test_gaussian import DIM, SCHEDULES, SHAPE, low_rank, one_gaussian, posterior_mean


def brute_force_ems(gaussian, cov, schedule, lams):
    """l, s, b [D] at every lam, by differentiating the denoiser along the ODE of `schedule`, x having its exact law."""

    def noise_prediction(x, lam):
        t = schedule.t_of_lam(lam)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return (x - alpha * posterior_mean(gaussian, x.reshape(SHAPE), alpha, sigma).ravel()) / sigma

    def mean_slope(lam):
        sigma = schedule.sigma(schedule.t_of_lam(lam))
        return sigma * jnp.diag(jax.jacfwd(noise_prediction)(jnp.zeros(DIM), lam))

    def f(x, lam):
        t = schedule.t_of_lam(lam)
        return (schedule.sigma(t) * noise_prediction(x, lam) - mean_slope(lam) * x) / schedule.alpha(t)

    def df(x, lam):
        rate = jax.grad(lambda lam: jnp.log(schedule.alpha(schedule.t_of_lam(lam))))(lam)
        dx = rate * x - schedule.sigma(schedule.t_of_lam(lam)) * noise_prediction(x, lam)
        return jax.jvp(f, (x, lam), (dx, jnp.ones_like(lam)))[1]

    @jax.jit
    def statistics(lam):
        t, zero = schedule.t_of_lam(lam), jnp.zeros(DIM)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        total, mean = alpha**2 * cov + sigma**2 * jnp.eye(DIM), alpha * gaussian.means[0]
        # Both are affine in x.
        of_f, of_df = jax.jacfwd(f)(zero, lam), jax.jacfwd(df)(zero, lam)
        s = jnp.diag(of_f @ total @ of_df.T) / jnp.diag(of_f @ total @ of_f.T)
        return mean_slope(lam), s, df(mean, lam) - s * f(mean, lam)

    return [statistics(jnp.asarray(lam)) for lam in lams]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["edm", "vp"])
def test_ems_of_a_gaussian(name):
    """EMS depend on lam only, so both schedules must give the same."""
    mean, cov = one_gaussian()
    gaussian, lam = from_covariances([1.0], mean[None], cov[None]), np.array([-3.0, -0.5, 0.4, 3.0])
    found = gaussian_ems(gaussian, lam)
    assert found.l.shape == found.s.shape == found.b.shape == (4, *SHAPE)
    for i, wanted in enumerate(brute_force_ems(gaussian, cov, SCHEDULES[name], lam)):
        for statistic, exact in zip(found[1:4], wanted, strict=True):
            np.testing.assert_allclose(statistic[i].ravel(), exact, rtol=1e-7, atol=1e-7)


def test_ems_of_a_low_rank_gaussian():
    """The floor's eigenspace counts: the same as with all eigenvectors."""
    small, full = (Mixture(np.ones(1), *(a[:1] for a in m[1:5]), m.shape) for m in low_rank())
    lam = np.linspace(-4, 6, 11)
    for found, wanted in zip(gaussian_ems(small, lam)[1:4], gaussian_ems(full, lam)[1:4], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)


def diagonal():
    rng = np.random.default_rng(7)
    return from_covariances([1.0], rng.normal(size=(1, *SHAPE)), np.diag(rng.uniform(0.01, 4, DIM))[None])


def test_ems_of_a_diagonal_gaussian():
    """Var f = 0: s = 0 and b = -l' mu, not 0 / 0."""
    gaussian, lam, step = diagonal(), np.linspace(-4.4, 6.2, 21), 1e-4
    found = gaussian_ems(gaussian, lam)
    slope = (gaussian_ems(gaussian, lam + step).l - gaussian_ems(gaussian, lam - step).l) / (2 * step)
    assert np.all(found.s == 0)
    np.testing.assert_allclose(found.b, -slope * gaussian.means.reshape(SHAPE), atol=1e-7)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["edm", "vp"])
@pytest.mark.parametrize("nfe", [1, 5])
def test_v3_is_exact_on_a_diagonal_gaussian(name, nfe):
    """With ideal EMS the only error is that of the integrals on the EMS grid: G^-2, for any number of steps."""
    gaussian, schedule = diagonal(), SCHEDULES[name]
    times = GRIDS["lam_uniform"](schedule, nfe)
    alpha, sigma = schedule.alpha(times[[0, -1]]), schedule.sigma(times[[0, -1]])
    variances, mean = np.sum(gaussian.basis[0] ** 2 * gaussian.variances[0], axis=1), gaussian.means[0]
    start, end = (np.sqrt(alpha[i] ** 2 * variances + sigma[i] ** 2) for i in (0, 1))
    x = sigma[0] * np.random.default_rng(8).normal(size=DIM)
    exact = (alpha[1] * mean + end / start * (x - alpha[0] * mean)).reshape(SHAPE)
    model = denoiser(gaussian, schedule)
    run = jax.jit(lambda table, x: sample(model, table, x)[0])
    errors = []
    for intervals in (120, 240, 480):
        ems = gaussian_ems(gaussian, np.linspace(*schedule.lam(times[[0, -1]]), intervals + 1))
        table = SOLVERS["dpm_v3"](schedule, times, "x0", ems=ems, order=1)
        errors.append(np.abs(run(table, x.reshape(SHAPE)) - exact).max())
    assert errors[0] < 1e-3
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.05)
