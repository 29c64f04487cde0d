"""Stochastic solvers: published loops, exact means and variances, reductions, noise by row, refusals.

On normal data the model is affine in x, so every state is a linear function of the start and of all noises. Here x is
the vector of its coefficients [1, x_T, xi_0, xi_1, ...]: the loops below act on it as they would on a number, and the
mean is x[0], the variance |x[1:]|^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import SOLVERS, sample
from solvers.builders.singlestep import edm_heun
from solvers.builders.stochastic import ddpm, edm_stochastic, sde_dpmpp_2m
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPCosine, VPDiscrete
from tests.helpers.mixture import SHAPE, eps_model, grid_of, model, start

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
SCHEDULES = [EDM(), VP(), VPCosine(), SD, Flow()]
MEAN, VARIANCE = 0.7, 0.3
CHURN = {"s_churn": 3.0, "s_min": 0.05, "s_max": 5.0, "s_noise": 1.007}


def normal_eps(schedule, variance=VARIANCE):
    """eps of N(MEAN, variance), on coefficient vectors."""

    def eps(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return sigma * (x - alpha * MEAN * np.eye(len(x))[0]) / (alpha**2 * variance + sigma**2)

    return eps


def prior(schedule, t, rows, variance=VARIANCE):
    """x_T [2 + rows] with the exact marginal of N(MEAN, variance), and the rows' noises."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    unit = np.eye(2 + rows)
    return alpha * MEAN * unit[0] + np.sqrt(alpha**2 * variance + sigma**2) * unit[1], unit[2:]


def run(table, net, x, noise):
    """All states [N] of a table, in numpy; `net` predicts what the table was made for."""
    history, states = [], []
    for n in range(table.nfe):
        history = [table.p[n] * x + table.q[n] * net(x, table.t[n]), *history]
        x = table.a[n] * x + sum(b * m for b, m in zip(table.b[n], history)) + table.s[n] * noise[n]
        states.append(x)
    return states


def ddim_eta(eps_model, schedule, times, x, noise, eta=1.0, variance="small"):
    """Song et al. 2021a, Eq. 12 and 16, with beta the variance of a forward step (1 - abar_t/abar_s under VP)."""
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    for n in range(len(times) - 1):
        s, t = n, n + 1
        beta = sigma[s] ** 2 - (alpha[s] / alpha[t]) ** 2 * sigma[t] ** 2
        c = eta * sigma[t] / sigma[s] * np.sqrt(beta)
        eps = eps_model(x, times[s])
        x0 = (x - sigma[s] * eps) / alpha[s]
        x = alpha[t] * x0 + np.sqrt(sigma[t] ** 2 - c**2) * eps
        x = x + (c if variance == "small" else np.sqrt(beta)) * noise[n]
    return x


def sde_2m(eps_model, schedule, times, x, noise):
    """SDE-DPM-Solver++(2M), Lu et al. 2022b."""
    alpha, sigma, lam = schedule.alpha(times), schedule.sigma(times), schedule.lam(times)
    old = None
    for n in range(len(times) - 1):
        h, gone = lam[n + 1] - lam[n], 1 - np.exp(-2 * (lam[n + 1] - lam[n]))
        x0 = (x - sigma[n] * eps_model(x, times[n])) / alpha[n]
        x = sigma[n + 1] / sigma[n] * np.exp(-h) * x + alpha[n + 1] * gone * x0
        if n:
            x = x + alpha[n + 1] * gone / 2 * (x0 - old) / ((lam[n] - lam[n - 1]) / h)
        x = x + sigma[n + 1] * np.sqrt(gone) * noise[n]
        old = x0
    return x


def edm_2(eps_model, schedule, times, x, noise, s_churn, s_min, s_max, s_noise):
    """Karras et al. 2022, Algorithm 2, on y = x/alpha; `noise` yields what the steps draw, none in the first."""
    ratios = schedule.sigma(times) / schedule.alpha(times)
    steps = len(times) - 1

    def slope(y, ratio):
        t = schedule.t_of_lam(-np.log(ratio))
        return eps_model(schedule.alpha(t) * y, t)

    y = x / schedule.alpha(times[0])
    for n in range(steps):
        now, after = ratios[n], ratios[n + 1]
        gamma = min(s_churn / steps, 2**0.5 - 1) if n and s_min <= now <= s_max else 0.0
        hat = now + gamma * now
        if gamma:
            y = y + np.sqrt(hat**2 - now**2) * s_noise * next(noise)
        d = slope(y, hat)
        ahead = y + (after - hat) * d
        y = y + (after - hat) * (d + slope(ahead, after)) / 2 if after > 0 else ahead
    return schedule.alpha(times[-1]) * y


LOOPS = {
    "ddpm": (ddpm, {}, ddim_eta),
    "ddpm large": (ddpm, {"variance": "large"}, ddim_eta),
    "ddim 0.4": (ddpm, {"eta": 0.4}, ddim_eta),
    "sde 2M": (sde_dpmpp_2m, {}, sde_2m),
    "edm": (edm_stochastic, CHURN, edm_2),
}


def loop(name, eps, schedule, times, x, table, noise):
    """The published loop on the noises [rows] of the table's rows: EDM's steps take them where the table adds one."""
    _, options, published = LOOPS[name]
    return published(eps, schedule, times, x, iter(noise[table.s > 0]) if name == "edm" else noise, **options)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_published_loops_on_normal_data(schedule, name):
    """Mean, and the response to every noise; round-off of a thousand operations on coefficients of at most x_T's."""
    times = grid_of(schedule, 8, "karras")
    table = LOOPS[name][0](schedule, times, **LOOPS[name][1])
    x, noise = prior(schedule, times[0], table.nfe)
    wanted = loop(name, normal_eps(schedule), schedule, times, x, table, noise)
    got = run(table, normal_eps(schedule), x, noise)[-1]
    assert np.count_nonzero(got[2:]) >= 3
    np.testing.assert_allclose(
        got, wanted, rtol=0, atol=1e3 * np.finfo(np.float64).eps * np.abs(x).max(), equal_nan=False
    )


@pytest.mark.parametrize("name", LOOPS)
def test_one_seed_of_sample(name, x64):
    """The engine's own noise, fold_in(key, row), on a non-linear model."""
    t, (_, x), key = grid_of(VP(), 8, "karras"), start(VP()), jax.random.key(3)
    table = LOOPS[name][0](VP(), t, prediction="v", **LOOPS[name][1])
    noise = np.array([jax.random.normal(jax.random.fold_in(key, n), SHAPE, jnp.float64) for n in range(table.nfe)])
    wanted = loop(name, eps_model(VP()), VP(), t, x, table, noise)
    got, states = sample(model(VP(), "v"), table, jnp.asarray(x), key)
    atol = 1e3 * np.finfo(np.float64).eps * np.abs(states).max()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=atol, equal_nan=False)


@pytest.mark.parametrize(("name", "order"), [("ddpm", 1), ("ddim 0.4", 1), ("sde 2M", 2), ("edm", 2)])
def test_marginal_in_the_limit_of_many_steps(name, order):
    """The mean is exact from an exact start; the variance's error falls as N^-order, with a next term ~ 1/N = 0.5 %."""
    builder, options, _ = LOOPS[name]
    schedule, errors = VP(), []
    for n in (200, 400):
        times = GRIDS["lam_uniform"](schedule, n)
        table = builder(schedule, times, **options | ({"s_noise": 1.0} if name == "edm" else {}))
        x = run(table, normal_eps(schedule), *prior(schedule, times[0], table.nfe))[-1]
        assert abs(x[0] - schedule.alpha(times[-1]) * MEAN) < 1e3 * np.finfo(np.float64).eps
        errors.append(abs(x[1:] @ x[1:] - prior(schedule, times[-1], 0)[0][1] ** 2))
    slope = np.log2(errors[0] / errors[1])
    assert errors[1] < 0.01 and abs(slope - order) < 0.05, (errors, slope)


ROW_EXACT = [(ddpm, {"eta": eta}) for eta in (0.3, 1.0)] + [(sde_dpmpp_2m, {"order": order}) for order in (1, 2)]


@pytest.mark.parametrize(("builder", "options"), ROW_EXACT, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_row_keeps_the_marginals_of_one_data_point(schedule, builder, options):
    """Mean alpha x0 and variance sigma^2 at every time, also from alpha = 0 to sigma = 0. The x0 of an update is
    multiplied by the NEXT alpha: with the current one the mean is off, and eta = 0 is not DDIM.
    """
    times = np.linspace(1.0, 0.0, 7) if schedule == Flow() else grid_of(schedule, 6)
    table = builder(schedule, times, "x0", **options)
    x, noise = prior(schedule, times[0], table.nfe, variance=0.0)
    states = run(table, lambda x, t: MEAN * np.eye(len(x))[0], x, noise)
    for t, state in zip(times[1:], states, strict=True):
        atol = 1e3 * np.finfo(np.float64).eps * schedule.sigma(times[0])
        np.testing.assert_allclose(state[0], schedule.alpha(t) * MEAN, rtol=0, atol=atol, equal_nan=False)
        np.testing.assert_allclose(np.linalg.norm(state[1:]), schedule.sigma(t), rtol=0, atol=atol, equal_nan=False)


def test_large_variance_is_exact_on_normal_data_of_unit_variance():
    times = np.append(grid_of(VP(), 6), 0.0)
    table = ddpm(VP(), times, variance="large")
    x, noise = prior(VP(), times[0], 7, variance=1.0)
    for state in run(table, normal_eps(VP(), 1.0), x, noise)[:-1]:
        np.testing.assert_allclose(state[1:] @ state[1:], 1.0, rtol=1e-12)
    assert table.s[-1] == 0 and np.all(table.s[:-1] > ddpm(VP(), times).s[:-1])


def same(first, second, rtol):
    for x, y in zip(first, second, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_allclose(x, y, rtol=rtol, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_reductions(schedule):
    """No noise: deterministic tables, which need no key. Coefficients agree to a few roundings, or exactly."""
    times = grid_of(schedule, 7)
    same(ddpm(schedule, times, eta=0.0), SOLVERS["ddim"](schedule, times), 1e-14)
    same(sde_dpmpp_2m(schedule, times, order=1), ddpm(schedule, times), 0)
    same(edm_stochastic(schedule, times), edm_heun(schedule, times), 0)
    same(edm_stochastic(schedule, times, **CHURN | {"s_min": 1e4, "s_max": 1e5}), edm_heun(schedule, times), 0)


def test_noise_is_a_function_of_key_and_row_only(x64):
    """x0 = 0, so that x_{n+1} = a_n x_n + s_n xi_n: from another state by another table, row n draws the same xi_n."""

    def drawn(table, x, seed):
        _, states = sample(lambda x, t: 0 * x, table, jnp.asarray(x), jax.random.key(seed))
        before = np.concatenate([x[None], states[:-1]])
        return (np.asarray(states) - table.a[:, None, None] * before) / table.s[:, None, None]

    x = np.random.default_rng(0).normal(size=(2, *SHAPE))
    table, other = ddpm(VP(), grid_of(VP(), 6), "x0"), sde_dpmpp_2m(VP(), grid_of(VP(), 9, "t_uniform"), "x0")
    first, second = drawn(table, x[0], 1), drawn(other, x[1], 1)
    atol = 1e3 * np.finfo(np.float64).eps / min(table.s.min(), other.s.min())
    np.testing.assert_allclose(first, second[:6], rtol=0, atol=atol, equal_nan=False)
    assert len(np.unique(second.round(6))) == second.size
    assert np.abs(first - drawn(table, x[0], 2)).min() > 1e-3
    with pytest.raises(ValueError, match="pass key="):
        sample(lambda x, t: x, table, jnp.asarray(x[0]))


def test_refusals():
    t = np.array([60.0, 50.0, 1.0, 0.1])
    for builder, options, message in (
        (ddpm, {"eta": 1.2}, "eta from 0 .* to 1 .*, got 1.2"),
        (ddpm, {"variance": "learned"}, "small, large"),
        (ddpm, {"variance": "large", "eta": 0.5}, "got eta = 0.5: use variance 'small'"),
        (sde_dpmpp_2m, {"order": 3}, "order must be 1 or 2, got 3"),
        (edm_stochastic, {"s_churn": -1.0}, "s_churn >= 0"),
        (edm_stochastic, {"s_min": 2.0, "s_max": 1.0}, "s_min <= s_max, got 0.0, 1.0, 2.0, 1.0"),
        (
            edm_stochastic,
            {"s_churn": 3.0},
            "raises t=50 to 70.7.*, above the start of the grid, 60: use s_max up to 42.4",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            builder(EDM(), t, **options)
    with pytest.raises(ValueError, match="infinite at t=1: start where alpha > 0"):
        edm_stochastic(Flow(), [1.0, 0.5], "flow")
