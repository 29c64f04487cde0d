"""Heun in sigma/alpha and in t: against published loops, order, sigma = 0, refusals."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from solvers import sample
from solvers.builders.singlestep import edm_heun, heun
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPCosine
from tests.helpers import reference
from tests.helpers.mixture import SHAPE, eps_model, grid_of, model, start
from tests.solvers.test_singlestep import SD, agree, local_order


@pytest.mark.parametrize("coordinates", ["sigma", "t"])
def test_local_truncation_order(coordinates, x64):
    local_order(lambda t: heun(VP(), t, coordinates=coordinates), 2)


@pytest.mark.parametrize("schedule", [EDM(), VP(), VPCosine(), Flow()], ids=repr)
@pytest.mark.parametrize("nfe", [5, 6, 7])
def test_heun_of_v3_spends_an_odd_evaluation_on_sigma_0(schedule, nfe, x64):
    """Appending t = 0, where sigma = 0, to a grid of nfe // 2 steps; the last Euler step returns x0."""
    t, (_, x) = grid_of(schedule, nfe // 2), start(schedule)
    net = eps_model(schedule)
    wanted = reference.edm_heun(net, schedule, t, x)
    if nfe % 2:
        wanted = (wanted - schedule.sigma(t[-1]) * net(wanted, t[-1])) / schedule.alpha(t[-1])
        t = np.append(t, 0.0)
    table = edm_heun(schedule, t)
    assert table.nfe == nfe
    agree(table, schedule, "eps", x, wanted)


def test_heun_on_a_grid_to_0_is_algorithm_2_of_edm(x64):
    """Without churn, on EDM's grid: N - 1 intervals in sigma^(1/7), then 0."""
    steps = np.arange(6)
    t = np.append((80 ** (1 / 7) + steps / 5 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7, 0.0)
    np.testing.assert_allclose(GRIDS["karras"](EDM(), 5), t[:-1], rtol=1e-12)
    x = 80 * np.random.default_rng(0).normal(size=SHAPE)
    wanted = reference.edm_heun(eps_model(EDM()), EDM(), t, x)
    table = heun(EDM(), np.append(GRIDS["karras"](EDM(), 5), 0.0))
    assert table.nfe == 11
    agree(table, EDM(), "eps", x, wanted)


def sequential_heun(slope, times, x):
    """slope(x, t, other end of the step); Euler in a step to t = 0."""
    for now, after in itertools.pairwise(times):
        d = slope(x, now, after)
        ahead = x + (after - now) * d
        x = x + (after - now) / 2 * (d + slope(ahead, after, now)) if after > 0 else ahead
    return x


def velocity(x, t, _=None):
    """What a network learns of rectified flow from N(0.5, 0.1): defined at t = 1, where alpha = 0, too."""
    return (t - (1 - t) * 0.1) * (x - (1 - t) * 0.5) / ((1 - t) ** 2 * 0.1 + t**2) - 0.5


def vp_slope(x, t, _):
    """dx/dt = beta/2 (eps/sigma - x), the probability flow ODE with beta(t) = 0.1 + 19.9 t."""
    return (0.1 + 19.9 * t) / 2 * (eps_model(VP())(x, t) / VP().sigma(t) - x)


def discrete_slope(x, t, other):
    """log alpha is linear between labels, sigma^2 = 1 - alpha^2; t is a label's time, and the step goes to `other`."""
    log_alpha, label = 0.5 * np.log(SD.alphas_cumprod), round(1000 * t) - 1
    neighbour = label + (1 if other > t else -1)
    alpha, rate = np.exp(log_alpha[label]), (log_alpha[neighbour] - log_alpha[label]) * 1000 * (neighbour - label)
    sigma = np.sqrt(1 - alpha**2)
    eps = eps_model(SD)(x, t)
    return rate * (x - sigma * eps) - alpha**2 * rate / sigma * eps


HEUN_T = [
    (VP(), np.array([0.98, 0.5, 0.2, 0.05, 0.0]), vp_slope, "v", model(VP(), "v")),
    (Flow(), np.array([1.0, 0.7, 0.3, 0.0]), velocity, "flow", velocity),
    (SD, np.array([0.98, 0.5, 0.2, 0.05]), discrete_slope, "v", model(SD, "v")),
]


@pytest.mark.parametrize(("schedule", "t", "slope", "prediction", "net"), HEUN_T, ids=["VP", "Flow", "VPDiscrete"])
def test_heun_in_t(schedule, t, slope, prediction, net, x64):
    """Derivatives are taken 2^-40 of a step off its ends: an error of 1e-12 h times a second derivative, below 10."""
    x = start(schedule)[1]
    table = heun(schedule, t, prediction, coordinates="t")
    assert table.nfe == 2 * (len(t) - 1) - (t[-1] == 0)
    got = sample(net, table, jnp.asarray(x))[0]
    np.testing.assert_allclose(got, sequential_heun(slope, t, x), rtol=0, atol=1e-11, equal_nan=False)


def test_both_times_of_heun_are_one_on_edm():
    t = GRIDS["karras"](EDM(), 5)
    for first, second in zip(heun(EDM(), t, coordinates="t"), heun(EDM(), t, coordinates="sigma")):
        np.testing.assert_array_equal(first, second)


def test_refusals():
    with pytest.raises(ValueError, match="coordinates must be one of sigma, t, got 'lam'"):
        heun(VP(), [0.9, 0.5], coordinates="lam")
    with pytest.raises(ValueError, match="infinite at t=1: start where alpha > 0"):
        edm_heun(Flow(), [1.0, 0.5], "flow")
