"""Adams-Bashforth solvers: order conditions against quadrature, reductions, faults of published variants, PLMS."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from solvers import SOLVERS, sample
from solvers.builders.adams import ADAMS_BASHFORTH, DEIS_TIME, _quadrature
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, VPCosine
from tests.helpers.mixture import SHAPE, eps_model, grid_of, model, start
from tests.solvers.test_solvers import SCHEDULES, same

ROWS = 6


def time_of(schedule, rho):
    """The time in which DEIS is a polynomial, by the size of the noise."""
    time = DEIS_TIME if isinstance(schedule, EDM) else schedule
    return time.t_of_lam(-np.log(rho))


@pytest.mark.parametrize("name", ["lms", "deis"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", [EDM(), VP(), VPCosine()], ids=repr)
def test_order_conditions_of_full_order_rows(schedule, order, name):
    """A row of order p integrates polynomials of degree below p exactly: in rho, or in time by numerical quadrature."""
    t = grid_of(schedule, ROWS)
    table = SOLVERS[name](schedule, t, order=order)
    alpha, rho = schedule.alpha(t), schedule.sigma(t) / schedule.alpha(t)
    u = rho if name == "lms" else time_of(schedule, rho)
    for n in range(order - 1, ROWS):
        h = u[n + 1] - u[n]
        for j in range(order):
            if name == "lms":
                exact = (rho[n + 1] - rho[n]) / (j + 1)
            else:  # in log rho, which no end of the range is singular in
                power = lambda log_rho: np.exp(log_rho) * ((time_of(schedule, np.exp(log_rho)) - u[n]) / h) ** j  # noqa: B023, E731
                exact = quad(power, *np.log(rho[[n, n + 1]]), epsabs=0, epsrel=1e-13, limit=500)[0]
            found = table.b[n, :order] @ ((u[n - np.arange(order)] - u[n]) / h) ** j
            # the sum cancels: round-off of the largest term, and the 1e-13 of the quadrature
            scale = np.abs(table.b[n, :order] * ((u[n - np.arange(order)] - u[n]) / h) ** j).max()
            np.testing.assert_allclose(found, alpha[n + 1] * exact, rtol=1e-12, atol=1e-12 * scale)


def test_quadrature_is_exact_for_polynomials():
    """Of 400 points to the degree 799: no Legendre polynomial but the first has an integral. Round-off is that of 400
    weights, 1e-14 each (of 1e-3), and of the recurrence."""
    points, weights = _quadrature()
    integrals = weights @ np.polynomial.legendre.legvander(2 * points - 1, 799)
    np.testing.assert_allclose(integrals, np.arange(800) == 0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ipndm_is_adams_bashforth_on_equal_steps(order):
    t = np.linspace(80, 8, 10)
    lms, equal = SOLVERS["lms"](EDM(), t, order=order), SOLVERS["ipndm"](EDM(), t, order=order)
    same(equal, lms, 1e-12 * 80)
    published = SOLVERS["ipndm"](EDM(), t, order=order, variant="variable")
    plms = SOLVERS["plms"](EDM(), t, order=order).b  # its second row is the second half of the first step
    np.testing.assert_allclose(plms[order + 1 :, :order], lms.b[order:], rtol=0, atol=1e-12 * 80)
    if order == 4:  # the published last term is 2/24 of the third difference more
        published.b[3:] -= -8 * 2 / 24 * np.array([1, -3, 3, -1])
    same(published, lms, 1e-12 * 80)


@pytest.mark.parametrize(("order", "off", "missing"), [(2, (0, 1e-12), 0), (3, (0.1, 1), 0), (4, (0.1, 2), 1e-4)])
def test_published_variable_steps_are_right_up_to_order_2(order, off, missing):
    """In units of the step: how far weights are from Adams-Bashforth's at most, and a row's sum of weights from 1."""
    t = GRIDS["karras"](EDM(), 10)
    published = SOLVERS["ipndm"](EDM(), t, order=order, variant="variable").b / np.diff(t)[:, None]
    exact = SOLVERS["lms"](EDM(), t, order=order).b / np.diff(t)[:, None]
    assert off[0] <= np.abs(published - exact).max() <= off[1]
    assert missing <= np.abs(published.sum(axis=1) - 1).max() <= 10 * missing + 1e-12


def test_rhoab_is_lms_and_tab_is_it_where_time_is_rho():
    t = grid_of(EDM(), ROWS)
    for order in (1, 2, 3, 4):
        lms = SOLVERS["lms"](EDM(), t, order=order)
        same(SOLVERS["deis"](EDM(), t, order=order, variant="rhoab"), lms)
        same(SOLVERS["deis"](EDM(), t, order=order, time=EDM()), lms, 1e-10 * 80)


def test_published_sums_of_deis_are_near_its_integrals():
    """10,000 points, of which each end counts as much as the others: off by the end values over 10,000."""
    t = GRIDS["karras"](EDM(), 10)
    sums, exact = (SOLVERS["deis"](EDM(), t, order=4, variant=v) for v in ("tab_published", "tab"))
    off = np.abs(sums.b - exact.b).max(axis=1)[1:] / np.abs(np.diff(t))[1:]
    assert np.all(off < 1e-2) and np.all(off > 1e-7)
    np.testing.assert_array_equal(sums.b[0], exact.b[0])


@pytest.mark.thin(3)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_plms_is_the_loop_of_stable_diffusion(schedule, order, x64):
    """Its steps one by one: the first averages the slopes at both ends, the others take the newest slopes."""
    t, (_, x) = grid_of(schedule, ROWS), start(schedule)
    alpha, sigma, net = schedule.alpha(t), schedule.sigma(t), eps_model(schedule)
    wanted, slopes = x, []

    def ddim(x, n, eps):
        return alpha[n + 1] * (x - sigma[n] * eps) / alpha[n] + sigma[n + 1] * eps

    for n in range(ROWS):
        slopes.insert(0, net(wanted, t[n]))
        p = min(order, len(slopes))
        if n == 0:
            eps = (slopes[0] + net(ddim(wanted, 0, slopes[0]), t[1])) / 2
        else:
            eps = sum(w * slope for w, slope in zip(ADAMS_BASHFORTH[p], slopes))
        wanted = ddim(wanted, n, eps)
    table = SOLVERS["plms"](schedule, t, order=order)
    assert table.nfe == ROWS + 1
    got = sample(model(schedule), table, jnp.asarray(x))[0]
    assert got.shape == SHAPE
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * np.abs(x).max())
