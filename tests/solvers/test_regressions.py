"""Defects that users of other sampling libraries have reported, each as a test that this one does not have it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import SOLVERS, sample
from solvers.builders.exponential import Nodes, interval, weights
from solvers.builders.multistep import _vary_coeff
from solvers.builders.singlestep import fast_orders, outer_grid
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPCosine, VPDiscrete
from tests.helpers.mixture import SHAPE, grid_of, model, start

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
DETERMINISTIC = sorted(set(SOLVERS) - {"ddpm", "sde_dpmpp_2m", "edm_stochastic"})
with_order_policy = [name for name, f in SOLVERS.items() if "lower_order_final" in inspect.signature(f).parameters]


def options_of(name):
    return {"degenerate": True} if name == "dpm_v3" else {}


@pytest.mark.thin(4)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_second_run_is_the_first(name, x64):
    """FlaxDiff's multistep sampler kept its history from one call to the next."""
    table = SOLVERS[name](VP(), grid_of(VP(), 6), **options_of(name))
    x = jnp.asarray(start(VP())[1])
    run = jax.jit(lambda x: sample(model(VP()), table, x)[0])
    first, _, second = run(x), run(x + 1), run(x)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("schedule", [VP(), VPCosine(), SD], ids=repr)
def test_one_data_point_is_followed_with_the_next_alpha(name, schedule, x64):
    """hackable_diffusion's DDIM took alpha of where it was for where it went: with no variance in the data, where every
    prediction of x0 is right, it missed. Here the end is alpha_end x0 + sigma_end eps."""
    if name == "heun":
        options = {"coordinates": "sigma"}  # in the schedule's own time the straight line is not straight
    else:
        options = options_of(name)
    x0, eps = np.array([0.7, -0.2]), np.array([0.3, 1.1])
    t = grid_of(schedule, 5)
    table = SOLVERS[name](schedule, t, prediction="x0", **options)
    got, _ = sample(lambda x, t: jnp.asarray(x0), table, schedule.alpha(t[0]) * x0 + schedule.sigma(t[0]) * eps)
    np.testing.assert_allclose(got, schedule.alpha(t[-1]) * x0 + schedule.sigma(t[-1]) * eps, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in GRIDS if name != "given"])
@pytest.mark.parametrize("rho", [1.0, 2.0, 7.0])
def test_grids_start_where_they_should_whatever_n_and_rho(name, rho):
    """diff-sampler's discrete grid started at t_max^rho; a UniPC scheduler's first time moved with the steps."""
    more = {"rho": rho} if name == "karras" else {}
    for n in (1, 2, 7, 50, 999):
        times = GRIDS[name](SD, n, 0.7, 0.01, **more)
        assert times[0] == 0.7 and times[-1] == 0.01 and len(times) == n + 1 and np.all(np.diff(times) < 0)


def test_karras_is_edms_grid():
    """What other libraries call Karras differs by its ends and by rounding to labels. EDM's first times for N = 18."""
    times = GRIDS["karras"](EDM(), 17)
    np.testing.assert_allclose(times[:6], [80, 57.586, 40.786, 28.375, 19.353, 12.910], rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_times_are_not_rounded(dtype):
    """Neither to labels of a discrete schedule nor to the float type of the images."""
    times, seen = GRIDS["t_uniform"](SD, 7), []
    table = SOLVERS["ddim"](SD, times).astype(np.float32)
    assert np.abs(times * 1000 - np.round(times * 1000)).max() > 0.1
    np.testing.assert_allclose(table.t, times[:-1], rtol=1e-7)
    out, _ = jax.eval_shape(lambda x: sample(lambda x, t: seen.append(t.dtype) or x, table, x), jnp.zeros(2, dtype))
    assert seen[-1] == jnp.float32 and out.dtype == dtype


@pytest.mark.parametrize("nodes", [30, 120, 1201])
def test_v3_keeps_the_times_whatever_the_statistics_grid(nodes):
    """The published code moves times to the nearest node of the EMS: another grid for another file."""
    lam = np.linspace(-5, 7, nodes + 1)
    ems = EMS(lam, 0 * lam + 1, 0 * lam, 0 * lam, {})
    times = GRIDS["karras"](EDM(), 9)
    np.testing.assert_array_equal(SOLVERS["dpm_v3"](EDM(), times, ems=ems).t, times[:-1])


@pytest.mark.thin(7)
@pytest.mark.parametrize("name", ["dpm_solver", "dpmpp", "unipc"])
@pytest.mark.parametrize("steps", range(1, 13))
@pytest.mark.parametrize("schedule", [EDM(), Flow()], ids=repr)
def test_order_3_reaches_sigma_0_without_nan(name, steps, schedule, x64):
    """NaN or black images at sigma = 0 with order 3 and 3n - 1 steps, or noise left over: the end is an x0."""
    times = np.append(grid_of(schedule, steps, "t_uniform")[:-1], 0.0)
    for lower in (True, False):
        table = SOLVERS[name](schedule, times, "x0", order=3, lower_order_final=lower)
        x = jnp.asarray(start(schedule)[1])
        got, states = sample(model(schedule, "x0"), table, x)
        before = states[-2] if steps > 1 else x
        last = model(schedule, "x0")(before, table.t[-1])
        assert np.isfinite(got).all()
        if name != "unipc" or steps == 1:  # UniPC's last state is corrected before its last evaluation is used
            np.testing.assert_allclose(got, last, rtol=0, atol=1e-11)


@pytest.mark.parametrize("nfe", range(1, 13))
@pytest.mark.parametrize("order", [2, 3])
def test_singlestep_reaches_sigma_0_or_says_why_not(nfe, order):
    """Its last step has order 1 for some budgets only; a step of higher order to sigma = 0 has no polynomial."""
    orders = fast_orders(nfe, order)
    times = np.append(GRIDS["karras"](EDM(), len(orders))[:-1], 0.0)
    if orders[-1] == 1:
        assert np.isfinite(SOLVERS["dpmpp_singlestep"](EDM(), times, order=order, orders=orders).b).all()
    else:
        with pytest.raises(ValueError, match="infinite h, where order . has no polynomial: give it order 1"):
            SOLVERS["dpmpp_singlestep"](EDM(), times, order=order, orders=orders)


@pytest.mark.parametrize("name", with_order_policy)
@pytest.mark.parametrize("steps", [2, 3, 4, 5, 8, 9, 20, 60])
def test_lower_order_final_works_for_every_number_of_steps(name, steps):
    """It had no effect for even numbers of steps, or only below 15, or failed above 50."""
    options = {"order": 3} | options_of(name) | ({"corrector": False} if name in ("unipc", "dpm_v3") else {})
    lower, full = (SOLVERS[name](EDM(), grid_of(EDM(), steps), lower_order_final=f, **options) for f in (True, False))
    used = [np.count_nonzero(table.b[-1]) for table in (lower, full)]
    assert used == [1, min(3, steps)]
    assert np.count_nonzero(lower.b[-2]) == min(2, steps - 1)


def test_a_budget_of_order_1_is_spent_in_as_many_steps():
    """DPM-Solver's singlestep of order 1 took one step in lam, whatever the budget."""
    for nfe in (1, 5, 8):
        orders = fast_orders(nfe, 1)
        assert len(outer_grid("lam_uniform", VP(), orders)) == nfe + 1
        assert SOLVERS["dpmpp_singlestep"](VP(), outer_grid("lam_uniform", VP(), orders), order=1).nfe == nfe


def test_times_that_increase_are_refused():
    """Inversion with a sampler for the other direction gave NaN."""
    with pytest.raises(ValueError, match="decrease strictly.*sort them from noise to data"):
        SOLVERS["dpmpp"](VP(), [0.1, 0.5, 1.0])


@pytest.mark.parametrize("steps", [51, 100, 250])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_many_steps_are_no_different(name, steps):
    """An order policy that fell to 0 above 50 steps."""
    table = SOLVERS[name](VP(), grid_of(VP(), steps), **options_of(name))
    assert all(np.isfinite(column).all() for column in table[:6])


def test_published_corrector_of_vary_coeff_fails_where_the_exact_one_does_not():
    """Its first order condition, sum_j b_j tau_j/h = w_1, for more than one old node; UniPC issue 10."""
    t = GRIDS["lam_uniform"](VP(), 4)
    at = Nodes(t, VP().alpha(t), VP().sigma(t), VP().lam(t))
    for nodes in (2, 3, 4):
        _, w, linear = interval(at, 2, nodes, "x0")
        ratio = np.array([1.0, 0.0, -1.0, -2.0])[:nodes]
        published, exact = _vary_coeff(ratio, w, linear, {}), weights(ratio, w)
        assert abs(exact @ ratio - w[1]) < 1e-14
        assert (abs(published @ ratio - w[1]) > 0.1 * abs(w[1])) == (nodes > 2)
        np.testing.assert_allclose(published.sum(), w[0], rtol=1e-12)


def test_float32_near_t_0_has_all_its_digits(x64):
    """Artifacts near t = 0: sigma as sqrt(1 - alpha^2) in float32 is wrong in the third digit at t = 1e-4."""
    times = GRIDS["lam_uniform"](VP(), 10, 1.0, 1e-4)
    x = np.random.default_rng(0).normal(size=SHAPE)
    table = SOLVERS["dpmpp"](VP(), times, order=2)
    wide = np.asarray(sample(model(VP()), table, jnp.asarray(x))[0])
    narrow = np.asarray(sample(model(VP()), table.astype(np.float32), jnp.asarray(x, jnp.float32))[0])
    # 2 units per row and coefficient, coefficients of eps up to 1 / alpha(1) = 151
    assert np.abs(wide - narrow).max() < 2 * 10 * 151 * np.finfo(np.float32).eps * np.abs(x).max()
