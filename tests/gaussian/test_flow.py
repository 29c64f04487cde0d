"""Closed-form trajectories against adaptive integration of the ODE, and teleportation as what it is elsewhere."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gaussian
from gaussian import denoised_map, flow_map, half_times, in_plane, posterior_mean, teleport, trajectory
from solvers import SOLVERS, concat, sample
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPCosine, VPDiscrete

ALPHAS = np.cumprod(1 - np.linspace(0.02, 0.4, 12))
# start and end; alpha is 0 at the start of two of them
RANGES = {
    "edm": (EDM(), 80.0, 0.01),
    "vp": (VP(), 1.0, 0.01),
    "vp_cosine": (VPCosine(), 1.0, 0.01),
    "vp_discrete": (VPDiscrete(ALPHAS), 1.0, 0.1),
    "flow": (Flow(), 1.0, 0.01),
}
SHAPE, DIM = (3, 2), 6
pytestmark = pytest.mark.usefixtures("x64")


def one_gaussian(rank=DIM, seed=0):
    """Variances from 1e-3 to 10; with a rank below DIM the rest has one variance, its floor."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    variances = np.append(np.geomspace(10, 1e-3, rank), np.full(DIM - rank, 0.02))
    means, covariances = rng.normal(size=(1, *SHAPE)), [basis * variances @ basis.T]
    if rank == 0:
        return gaussian.isotropic(gaussian.from_covariances([1.0], means, covariances))
    return gaussian.from_covariances([1.0], means, covariances, rank)


def two_classes(rank=DIM):
    fits = [one_gaussian(rank, seed) for seed in (0, 1)]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *fits)._replace(weights=np.array([0.3, 0.7]))


def integrate(mixture, schedule, x, t_from, t_to):
    """dx/dt = alpha' E[x0|x] + sigma' E[eps|x], of which nothing is singular at alpha = 0, by diffrax."""
    slopes = [jax.grad(lambda t, f=f: f(t)) for f in (schedule.alpha, schedule.sigma)]

    def slope(t, x, args):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x0 = posterior_mean(mixture, x, alpha, sigma)
        return slopes[0](t) * x0 + slopes[1](t) * (x - alpha * x0) / sigma

    control = diffrax.PIDController(rtol=1e-10, atol=1e-10)
    if isinstance(schedule, VPDiscrete):  # where the slope jumps
        knots = jnp.arange(1, len(ALPHAS)) / len(ALPHAS)
        control = diffrax.ClipStepSizeController(control, jump_ts=knots[(knots < t_from) & (knots > t_to)])
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Dopri8(),
        t_from,
        t_to,
        None,
        jnp.asarray(x),
        stepsize_controller=control,
        max_steps=100_000,
    )
    return np.asarray(found.ys[-1])


@pytest.mark.thin(4)
@pytest.mark.parametrize("rank", [DIM, 2, 0])
@pytest.mark.parametrize("name", RANGES)
def test_the_flow_is_the_solution_of_the_ode(name, rank):
    """Both at tolerances of 1e-10, over a range in which x falls from 80 to 1."""
    mixture, (schedule, start, end) = one_gaussian(rank), RANGES[name]
    x = schedule.sigma(start) * np.random.default_rng(3).normal(size=SHAPE)
    expected = integrate(mixture, schedule, x, start, end)
    np.testing.assert_allclose(teleport(mixture, schedule, start, end)(x), expected, atol=1e-8)
    x0 = posterior_mean(mixture, jnp.asarray(expected), schedule.alpha(end), schedule.sigma(end))
    np.testing.assert_allclose(denoised_map(mixture, schedule, start, end)(x), x0, atol=1e-8)
    states, denoised = trajectory(mixture, schedule, [start, 0.5 * start, end])(x)
    np.testing.assert_allclose(states[0], x, atol=1e-13 * schedule.sigma(start))
    np.testing.assert_allclose(states[2], expected, atol=1e-8)
    np.testing.assert_allclose(denoised[2], x0, atol=1e-8)
    np.testing.assert_allclose(states[1], integrate(mixture, schedule, x, start, 0.5 * start), atol=1e-8)


@pytest.mark.parametrize("name", RANGES)
def test_jumps_compose_and_invert(name):
    mixture, (schedule, start, end) = two_classes(), RANGES[name]
    x, middle = np.random.default_rng(4).normal(size=SHAPE), 0.3 * start
    whole = flow_map(mixture, schedule, start, end)(x, 1)
    halves = flow_map(mixture, schedule, middle, end)(flow_map(mixture, schedule, start, middle)(x, 1), 1)
    np.testing.assert_allclose(halves, whole, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(flow_map(mixture, schedule, end, start)(whole, 1), x, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(flow_map(mixture, schedule, end, end)(x, 0), x, rtol=1e-14, atol=1e-14)


def test_low_rank_is_full_rank_with_equal_variances_in_the_rest():
    low, schedule = one_gaussian(2), EDM()
    rest = np.linalg.svd(low.basis[0])[0][:, 2:]
    full = low._replace(
        basis=np.concatenate([low.basis, rest[None]], axis=2),
        variances=np.append(low.variances, np.full((1, 4), low.floor[0]), axis=1),
    )
    x = np.random.default_rng(5).normal(size=SHAPE)
    for make in (flow_map, denoised_map):
        np.testing.assert_allclose(make(low, schedule, 80, 0.3)(x), make(full, schedule, 80, 0.3)(x), atol=1e-13)
    zeros = gaussian.truncate(full, 2, floor=False)
    padded = full._replace(variances=np.append(full.variances[:, :2], np.zeros((1, 4)), axis=1))
    for make in (flow_map, denoised_map):
        np.testing.assert_allclose(make(zeros, schedule, 80, 0.3)(x), make(padded, schedule, 80, 0.3)(x), atol=1e-13)


def test_each_class_has_its_own_map_in_a_batch():
    mixture, x = two_classes(3), np.random.default_rng(6).normal(size=(5, *SHAPE))
    labels = np.array([0, 1, 1, 0, 1])
    found = jax.jit(jax.vmap(teleport(mixture, VP(), 1.0, 0.4)))(x, labels)
    for x_i, label, got in zip(x, labels, found):
        alone = gaussian.component(mixture, label)
        np.testing.assert_allclose(got, teleport(alone, VP(), 1.0, 0.4)(x_i), rtol=1e-13, atol=1e-14)


def test_a_traced_time_and_the_type_of_the_sample():
    mixture, x = one_gaussian(), np.ones(SHAPE, np.float32)
    found = jax.jit(lambda t: teleport(mixture, EDM(), 80.0, t)(jnp.asarray(x)))(0.3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, teleport(mixture, EDM(), 80.0, 0.3)(np.float64(x)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="cannot start at sigma = 0, got t_from = 0.0: start at a larger t"):
        teleport(mixture, EDM(), 0.0, 1.0)


def in_components(mixture):
    """The Gaussian in the coordinates U^T x, its exact model there, and its EMS by their definition."""
    basis, variances = mixture.basis[0], mixture.variances[0]
    straight = gaussian.Mixture(
        np.ones(1), mixture.means @ basis, np.eye(DIM)[None], variances[None], np.zeros(1), (DIM,)
    )
    return basis, straight


def test_teleportation_is_a_row_of_v3_in_the_principal_components():
    """One table: a row of first-order v3 with the Gaussian's statistics, then UniPC; and the same after teleport.

    They differ by the spline between the nodes of the EMS, which falls with the fourth power of their distance.
    """
    mixture, schedule, skip = one_gaussian(), EDM(), 5.0
    basis, straight = in_components(mixture)
    model = gaussian.denoiser(straight, schedule)
    times = GRIDS["karras"](schedule, 6, skip, 0.01)
    rest = SOLVERS["unipc"](schedule, times, order=2, prediction="x0")
    x = 80 * np.random.default_rng(7).normal(size=SHAPE)
    expected = basis @ np.asarray(
        sample(model, rest, basis.T @ np.asarray(teleport(mixture, schedule, 80.0, skip)(x)).ravel())[0]
    )
    gaps = []
    for nodes in (60, 120):
        ems = gaussian.gaussian_ems(straight, np.linspace(schedule.lam(80.0), schedule.lam(0.01), nodes + 1))
        row = SOLVERS["dpm_v3"](schedule, np.array([80.0, skip]), ems=ems, order=1, corrector=False, prediction="x0")
        whole = concat(row, rest)
        assert whole.nfe == 7
        gaps.append(np.abs(basis @ np.asarray(sample(model, whole, basis.T @ x.ravel())[0]) - expected).max())
    assert gaps[0] < 1e-4 and gaps[0] / gaps[1] > 12, gaps


def test_statistics_stay_aligned_in_lam_after_the_jump():
    """v3 is exact on a Gaussian in its components wherever it starts; with EMS taken by index, shifted, it is not."""
    mixture, schedule, skip, end = one_gaussian(), EDM(), 5.0, 0.01
    basis, straight = in_components(mixture)
    model, lam = gaussian.denoiser(straight, schedule), np.linspace(schedule.lam(80.0), schedule.lam(end), 241)
    ems = gaussian.gaussian_ems(straight, lam)
    shifted = EMS(np.linspace(schedule.lam(skip), schedule.lam(end), 241), ems.l, ems.s, ems.b, ems.meta)
    x = np.asarray(teleport(straight, schedule, 80.0, skip)(80 * np.random.default_rng(8).normal(size=DIM)))
    exact = teleport(straight, schedule, skip, end)(x)
    errors = []
    for statistics in (ems, shifted):
        table = SOLVERS["dpm_v3"](schedule, GRIDS["karras"](schedule, 5, skip, end), ems=statistics, prediction="x0")
        errors.append(np.abs(np.asarray(sample(model, table, x)[0]) - exact).max())
    assert errors[0] < 1e-6 and errors[1] > 1e-3, errors


@pytest.mark.parametrize("name", ["edm", "vp", "flow"])
def test_features_emerge_by_variance(name):
    """At its half time a mode's denoised coefficient is half of that at the end."""
    schedule, start, _ = RANGES[name]
    variances = np.geomspace(1e-4, 1, 9)
    times = half_times(variances, schedule)
    assert np.all(np.diff(times) > 0)
    end = schedule.t_of_lam(20.0)
    for v, t in zip(variances, times):
        half, whole = (gaussian.flow.denoised_gain(v, schedule, start, t) for t in (t, end))
        np.testing.assert_allclose(half / whole, 0.5, rtol=1e-6)
    with pytest.raises(ValueError, match="must be above 0, got 0.0"):
        half_times([1.0, 0.0], schedule)


def test_the_plane_of_a_trajectory():
    first, last, out = np.eye(DIM)[:3]
    states = np.stack([2 * first, first + last, first + out, 3 * last])
    share, coordinates = in_plane(states)
    np.testing.assert_allclose(share, [1, 1, 0.5, 1], rtol=1e-12)
    np.testing.assert_allclose(coordinates, [[1, 0], [0.5, 1 / 3], [0.5, 0], [0, 1]], atol=1e-12)
