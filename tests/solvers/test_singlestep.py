"""Singlestep solvers: against the published stages in sequence, order, budgets, sigma = 0 and alpha = 0."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from solvers import sample
from solvers.builders.singlestep import (
    dpm_solver_singlestep,
    dpmpp_singlestep,
    fast_orders,
    fixed_orders,
    outer_grid,
)
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPCosine, VPDiscrete
from tests.helpers import reference
from tests.helpers.mixture import eps_model, grid_of, model, start
from tests.solvers.test_solvers import solve

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
SCHEDULES = [EDM(), VP(), VPCosine(), SD, Flow()]
BUILDERS = {"eps": dpm_solver_singlestep, "x0": dpmpp_singlestep}


def published_weights(form, alpha, sigma, h):
    """What multiplies m, D1 and D2 in a step of h that ends at alpha, sigma."""
    if form == "x0":
        phi = math.expm1(-h)
        return -alpha * phi, alpha * (phi / h + 1), -alpha * ((phi / h + 1) / h - 0.5)
    phi = math.expm1(h)
    return -sigma * phi, -sigma * (phi / h - 1), -sigma * ((phi / h - 1) / h - 0.5)


def published_step(net, schedule, times, form, variant, x):
    """One step of DPM-Solver or DPM-Solver++ over its nodes [p + 1], as the stages are printed."""
    alpha, sigma, lam = reference.coefficients(schedule, times)
    r = (lam - lam[0]) / (lam[-1] - lam[0])

    def predict(state, i):
        eps = net(state, times[i])
        return eps if form == "eps" else (state - sigma[i] * eps) / alpha[i]

    def stage(i, d1=0.0, d2=0.0, half=False):
        ratio = sigma[i] / sigma[0] if form == "x0" else alpha[i] / alpha[0]
        w0, w1, w2 = published_weights(form, alpha[i], sigma[i], lam[i] - lam[0])
        return ratio * x + w0 * m + (w0 / 2 if half else w1) * d1 + w2 * d2

    m = predict(x, 0)
    if len(times) == 2:
        return stage(1)
    m1 = predict(stage(1), 1)
    if len(times) == 3:
        return stage(2, (m1 - m) / r[1], half=variant == "dpmsolver")
    m2 = predict(stage(2, r[2] / r[1] * (m1 - m)), 2)
    if variant == "dpmsolver":
        return stage(3, (m2 - m) / r[2])
    near, far = (m1 - m) / r[1], (m2 - m) / r[2]
    return stage(3, (r[2] * near - r[1] * far) / (r[2] - r[1]), 2 * (far - near) / (r[2] - r[1]))


def agree(table, schedule, prediction, x, wanted):
    """The table's result, up to a thousand roundings of the largest state."""
    got, states = sample(model(schedule, prediction), table, jnp.asarray(x))
    largest = max(np.abs(x).max(), np.abs(states).max())
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e3 * np.finfo(np.float64).eps * largest, equal_nan=False)


@pytest.mark.thin(3)
@pytest.mark.parametrize("variant", ["dpmsolver", "taylor"])
@pytest.mark.parametrize("form", BUILDERS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_published_stages(schedule, form, variant, x64):
    """All orders in one run, on inner nodes uniform in lam and not."""
    t, x = start(schedule)
    orders = (3, 2, 3, 1, 2)
    for inner in ("lam_uniform", "t_uniform", "t_quadratic"):
        outer = outer_grid(inner, schedule, orders, t, schedule.t_min)
        table = BUILDERS[form](schedule, outer, "v", variant=variant, orders=orders, inner=inner)
        assert (table.nfe, table.depth) == (11, 3)
        wanted = x
        for p, *ends in zip(orders, outer, outer[1:]):
            wanted = published_step(
                eps_model(schedule), schedule, GRIDS[inner](schedule, p, *ends), form, variant, wanted
            )
        agree(table, schedule, "v", x, wanted)


@pytest.mark.thin(3)
@pytest.mark.parametrize("variant", ["dpmsolver", "taylor"])
@pytest.mark.parametrize("form", BUILDERS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_local_truncation_order(order, form, variant, x64):
    """One step from an exact state: its error falls as h^(order + 1)."""
    local_order(lambda t: BUILDERS[form](VP(), t, order=order, variant=variant), order)


def local_order(build, order):
    schedule, errors, lam = VP(), [], 0.3
    t = schedule.t_of_lam(lam)
    x = solve(schedule, start(schedule)[1], start(schedule)[0], [t])[0]
    for h in (0.04, 0.02):
        grid = schedule.t_of_lam(np.array([lam, lam + h]))
        exact = solve(schedule, x, grid[0], grid[1:])[0]
        errors.append(np.abs(sample(model(schedule), build(grid), jnp.asarray(x))[0] - exact).max())
    slope = np.log2(errors[0] / errors[1])
    assert abs(slope - (order + 1)) < 0.2, (errors, slope)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_dpm_solver_2_of_diff_sampler(schedule, x64):
    """Euler in sigma/alpha to the geometric mean, and the slope there taken over the whole step."""
    t, (_, x) = grid_of(schedule, 6, "t_uniform"), start(schedule)
    net, wanted = eps_model(schedule), x
    for now, after in itertools.pairwise(t):
        ratio = schedule.sigma(np.array([now, after])) / schedule.alpha(np.array([now, after]))
        middle = schedule.t_of_lam(-np.log(np.sqrt(ratio[0] * ratio[1])))
        y = wanted / schedule.alpha(now)
        y_middle = y + (np.sqrt(ratio[0] * ratio[1]) - ratio[0]) * net(wanted, now)
        wanted = schedule.alpha(after) * (y + (ratio[1] - ratio[0]) * net(schedule.alpha(middle) * y_middle, middle))
    agree(dpm_solver_singlestep(schedule, t, order=2), schedule, "eps", x, wanted)


def test_budgets():
    fast = {1: (1,), 2: (2,), 3: (2, 1), 4: (3, 1), 5: (3, 2), 6: (3, 2, 1), 9: (3, 3, 2, 1), 10: (3, 3, 3, 1)}
    assert {nfe: fast_orders(nfe, 3) for nfe in fast} == fast
    assert [fast_orders(nfe, 2) for nfe in (1, 2, 5)] == [(1,), (2,), (2, 2, 1)]
    assert fast_orders(3, 1) == fixed_orders(3, 1) == (1, 1, 1) and fixed_orders(6, 3) == (3, 3)
    for nfe in range(1, 26):
        for order, steps in ((1, nfe), (2, (nfe + 1) // 2), (3, nfe // 3 + 1)):
            orders = fast_orders(nfe, order)
            assert sum(orders) == nfe and len(orders) == steps and max(orders) <= order
    for builder in (fast_orders, fixed_orders):
        for nfe, order in ((5, 4), (0, 3)):
            with pytest.raises(
                ValueError, match=f"order 1 to 3 and at least one evaluation, got {order} and nfe {nfe}"
            ):
                builder(nfe, order)
    with pytest.raises(ValueError, match="use nfe 3 or 6, or fast_orders"):
        fixed_orders(5, 3)


@pytest.mark.parametrize("name", ["lam_uniform", "t_uniform", "t_quadratic", "karras"])
def test_outer_grids(name):
    """Equal orders: uniform over the steps. Unequal ones: times of the fine grid, unless it is uniform in lam."""
    fixed = outer_grid(name, VP(), fixed_orders(12, 3), 0.9, 0.01)
    np.testing.assert_allclose(fixed, GRIDS[name](VP(), 4, 0.9, 0.01), rtol=1e-12)
    fast = outer_grid(name, VP(), (3, 2, 1), 0.9, 0.01)
    fine = GRIDS[name](VP(), 6, 0.9, 0.01)
    wanted = GRIDS[name](VP(), 3, 0.9, 0.01) if name == "lam_uniform" else fine[[0, 3, 5, 6]]
    np.testing.assert_array_equal(fast, wanted)


@pytest.mark.parametrize("inner", ["t_uniform", "t_quadratic"])
def test_from_pure_noise_to_data(inner, x64):
    """Rectified flow from alpha = 0 to sigma = 0 with order 1 at both ends: towards the exact map of a Gaussian."""
    mean, variance, x = np.array([0.5, -1.0]), np.array([0.1, 1.0]), np.random.default_rng(0).normal(size=2)

    def net(x, t):  # the velocity of N(mean, variance)
        residual = (x - (1 - t) * mean) / ((1 - t) ** 2 * variance + t**2)
        return (t - (1 - t) * variance) * residual - mean

    errors = []
    for n in (8, 32):
        orders = (1, *(3,) * (n - 2), 1)
        table = dpmpp_singlestep(Flow(), np.linspace(1, 0, n + 1), "flow", orders=orders, inner=inner)
        errors.append(np.abs(sample(net, table, jnp.asarray(x))[0] - mean - np.sqrt(variance) * x).max())
    assert errors[1] < 0.3 * errors[0] < 0.1, errors
    table = dpm_solver_singlestep(Flow(), np.linspace(0.9, 0, 4), "flow", orders=(3, 2, 1))
    assert np.all(np.isfinite(sample(net, table, jnp.asarray(x))[0]))
    for grid, where in (([1.0, 0.5, 0.1], "from t=1 to 0.5"), ([0.9, 0.5, 0.0], "from t=0.5 to 0")):
        with pytest.raises(
            ValueError, match=f"{where} has infinite h, where order 2 has no polynomial: give it order 1"
        ):
            dpmpp_singlestep(Flow(), grid, "flow", order=2)
    with pytest.raises(ValueError, match="divides by alpha, 0 at t=1"):
        dpm_solver_singlestep(Flow(), [1.0, 0.5], "flow", order=1)


def test_refusals():
    t = [0.9, 0.5, 0.1]
    for options, message in (
        ({"order": 4}, "must be 1 to 3, got 4"),
        ({"orders": (3,)}, "2 steps needs as many orders, got 1"),
        ({"variant": "bh1"}, "dpmsolver, taylor"),
        ({"inner": "given"}, "inner must be one of lam_uniform"),
    ):
        with pytest.raises(ValueError, match=message):
            dpmpp_singlestep(VP(), t, **options)
