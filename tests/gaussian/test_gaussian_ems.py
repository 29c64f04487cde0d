"""Closed-form EMS of a Gaussian: against brute force, and DPM-Solver-v3 exact with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian import Mixture, denoiser, from_covariances, gaussian_ems
from solvers import SOLVERS, sample
from solvers.grid import GRIDS, snap_to
from tests.gaussian.test_gaussian import DIM, SCHEDULES, SHAPE, low_rank, one_gaussian, posterior_mean


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


def exact_flow(schedule, ends, mean, variances, y):
    """y at ends[0] carried to ends[1] by the diffusion ODE of N(mean, diag(variances))."""
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    start, end = (np.sqrt(alpha[i] ** 2 * variances + sigma[i] ** 2) for i in (0, 1))
    return alpha[1] * mean + end / start * (y - alpha[0] * mean)


def v3_errors(schedule, times, options, model, gaussian, y, exact):
    """Largest errors of first-order v3 with the closed-form EMS of `gaussian` on 120, 240 and 480 intervals."""
    run = jax.jit(lambda table: sample(model, table, y)[0])
    for intervals in (120, 240, 480):
        ems = gaussian_ems(gaussian, np.linspace(*schedule.lam(times[[0, -1]]), intervals + 1))
        table = SOLVERS["dpm_v3"](schedule, times, "x0", ems=ems, order=1, corrector=False, **options)
        yield np.abs(run(table) - exact).max()


# options, the error that G = 120 leaves, and the order in 1 / G
INTEGRALS = [({"published": True}, 1e-3, 2), ({"interpolation": "linear"}, 1e-3, 2), ({}, 1e-6, 4)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["edm", "vp"])
@pytest.mark.parametrize("nfe", [1, 5])
@pytest.mark.parametrize(("options", "most", "order"), INTEGRALS)
def test_v3_is_exact_on_a_diagonal_gaussian(name, nfe, options, most, order):
    """With ideal EMS the only error is what lies between their nodes, for any number of steps."""
    gaussian, schedule = diagonal(), SCHEDULES[name]
    times = GRIDS["lam_uniform"](schedule, nfe)
    variances = np.sum(gaussian.basis[0] ** 2 * gaussian.variances[0], axis=1)
    y = schedule.sigma(times[0]) * np.random.default_rng(8).normal(size=DIM)
    exact = exact_flow(schedule, times[[0, -1]], gaussian.means[0], variances, y)
    model = denoiser(gaussian, schedule)
    errors = list(v3_errors(schedule, times, options, model, gaussian, y.reshape(SHAPE), exact.reshape(SHAPE)))
    # a spline's integral over the whole range is better by one order than over a part of it
    assert errors[0] < most and np.all(np.log2(np.divide(errors[:-1], errors[1:])) > order - 0.1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["edm", "vp"])
@pytest.mark.parametrize(("options", "most", "order"), INTEGRALS)
def test_one_step_is_the_flow_of_a_full_covariance_in_its_eigenbasis(name, options, most, order):
    """y = U^T x has a diagonal covariance, the model there is U^T model(U y): teleportation as one step of v3."""
    mean, cov = one_gaussian()
    gaussian, schedule = from_covariances([1.0], mean[None], cov[None]), SCHEDULES[name]
    times, basis, variances = GRIDS["lam_uniform"](schedule, 1), gaussian.basis[0], gaussian.variances[0]
    straight = Mixture(np.ones(1), gaussian.means @ basis, np.eye(DIM)[None], variances[None], np.zeros(1), (DIM,))
    denoise = denoiser(gaussian, schedule)
    x = schedule.sigma(times[0]) * np.random.default_rng(9).normal(size=DIM)
    exact = exact_flow(schedule, times, straight.means[0], variances, basis.T @ x)

    def model(y, t):
        return basis.T @ denoise((basis @ y).reshape(SHAPE), t).ravel()

    errors = list(v3_errors(schedule, times, options, model, straight, basis.T @ x, exact))
    assert errors[0] < most and np.all(np.log2(np.divide(errors[:-1], errors[1:])) > order - 0.1)


@pytest.mark.usefixtures("x64")
def test_times_between_nodes_are_as_good_as_on_nodes():
    """The same grid, snapped to the nodes of the EMS and not. (Linear interpolation has its largest error between
    nodes, and l enters f there: 1.4e-3 against 2e-4.)"""
    gaussian, schedule, errors = diagonal(), SCHEDULES["edm"], []
    times = GRIDS["karras"](schedule, 8)
    lam = np.linspace(*schedule.lam(times[[0, -1]]), 121)
    between = np.abs(schedule.lam(times[1:-1])[:, None] - lam).min(axis=1)
    assert between.max() > 0.4 * (lam[1] - lam[0])
    variances = np.sum(gaussian.basis[0] ** 2 * gaussian.variances[0], axis=1)
    y = schedule.sigma(times[0]) * np.random.default_rng(8).normal(size=DIM)
    exact = exact_flow(schedule, times[[0, -1]], gaussian.means[0], variances, y).reshape(SHAPE)
    model, y = denoiser(gaussian, schedule), y.reshape(SHAPE)
    for t in (times, snap_to(schedule, times, lam)):
        errors.append(next(v3_errors(schedule, t, {}, model, gaussian, y, exact)))
    assert max(errors) < 1e-6 and errors[0] < 3 * errors[1]
