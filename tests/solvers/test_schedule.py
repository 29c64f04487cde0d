"""Schedules, grids, predictions: inverses, identities, precision near t = 0, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

from solvers.grid import GRIDS, check_times, snap_to
from solvers.prediction import PREDICTIONS, convert
from solvers.schedule import EDM, VP, Flow, VPCosine, VPDiscrete

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
SCHEDULES = [EDM(), VP(), VP(0.2, 0.2), VPCosine(), SD, Flow()]
UNIT = np.finfo(np.float64).eps


def inner(schedule, n=50):
    """Times inside the sampling range, off the end where alpha may be 0."""
    return np.geomspace(schedule.t_min, 0.999 * schedule.t_max, n)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_lam_and_its_inverse(schedule):
    t = inner(schedule)
    lam = schedule.lam(t)
    assert np.all(np.diff(lam) < 0)
    np.testing.assert_allclose(lam, np.log(schedule.alpha(t) / schedule.sigma(t)), rtol=0, atol=64 * UNIT)
    # t_of_lam is conditioned by dt/dlam <= t_max
    np.testing.assert_allclose(schedule.t_of_lam(lam), t, rtol=256 * UNIT, atol=0)


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if isinstance(s, VP | VPCosine | VPDiscrete)], ids=repr)
def test_variance_is_preserved(schedule):
    t = inner(schedule)
    np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1, rtol=8 * UNIT)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_numpy_in_numpy_out_and_jax_in_jax_out(schedule, x64):
    t = inner(schedule)
    for name, argument in (("alpha", t), ("sigma", t), ("lam", t), ("t_of_lam", schedule.lam(t))):
        host = getattr(schedule, name)(argument)
        traced = getattr(schedule, name)(jnp.asarray(argument))
        assert isinstance(host, np.ndarray) and host.dtype == np.float64
        assert isinstance(traced, jnp.ndarray)
        np.testing.assert_allclose(traced, host, rtol=1e-13)


@pytest.mark.parametrize("schedule", [VP(), VPCosine(), SD], ids=repr)
def test_float32_sigma_keeps_its_digits_at_small_t(schedule):
    """sqrt(1 - alpha^2) in float32 is wrong in the third digit at t = 1e-4; the expm1 and sine forms are not."""
    t = np.float32(1e-4)
    exact = schedule.sigma(np.float64(t))
    # a unit round-off in t (and, for the table of SD, in log alpha) is all that may be lost
    np.testing.assert_allclose(schedule.sigma(jnp.asarray(t)), exact, rtol=32 * np.finfo(np.float32).eps)
    naive = np.sqrt(1 - np.float32(schedule.alpha(t)) ** 2)
    assert abs(naive / exact - 1) > 1e-4


def test_published_values():
    np.testing.assert_allclose(EDM().lam([80.0, 0.002]), [-4.382026634673881, 6.214608098422191], rtol=1e-15)
    np.testing.assert_allclose(VP().lam([1.0, 1e-3]), [-5.024978406659204, 4.557714932729898], rtol=1e-13)
    np.testing.assert_allclose(SD.lam([1.0, 1e-3]), [-2.682023850149251, 3.534711923512526], rtol=1e-12)


def test_discrete_labels_are_knots_and_the_line_goes_on():
    n = np.array([0, 499, 999])
    np.testing.assert_allclose(SD.alpha((n + 1) / 1000) ** 2, SD.alphas_cumprod[n], rtol=1e-13)
    slope = SD.log_alpha(np.array([0.002])) - SD.log_alpha(np.array([0.001]))
    np.testing.assert_allclose(
        SD.log_alpha(np.array([0.001])) - SD.log_alpha(np.array([0.0005])), slope / 2, rtol=1e-10
    )


def test_end_points_are_infinite_not_nan():
    assert Flow().lam(1.0) == -np.inf and Flow().lam(0.0) == np.inf and EDM().lam(0.0) == np.inf
    assert Flow().t_of_lam(-np.inf) == 1 and Flow().t_of_lam(np.inf) == 0


def test_refusals_of_schedules():
    with pytest.raises(ValueError, match="beta_min"):
        VP(20.0, 0.1)
    with pytest.raises(ValueError, match="strictly decreasing"):
        VPDiscrete([0.5, 0.9])


@pytest.mark.parametrize("source", PREDICTIONS)
@pytest.mark.parametrize("target", PREDICTIONS)
def test_predictions_convert_into_each_other(source, target):
    rng = np.random.default_rng(0)
    alpha, sigma, x0, eps = rng.uniform(0.1, 1, 20), rng.uniform(0.1, 3, 20), rng.normal(size=20), rng.normal(size=20)
    out = {name: i * x0 + j * eps for name, (i, j) in ((n, f(alpha, sigma)) for n, f in PREDICTIONS.items())}
    u, v = convert(alpha, sigma, source, target)
    np.testing.assert_allclose(u * (alpha * x0 + sigma * eps) + v * out[source], out[target], rtol=0, atol=1e-12)


def test_predictions_at_the_end_points():
    assert convert(0.0, 1.0, "eps", "eps") == (0, 1)
    np.testing.assert_array_equal(convert(0.0, 1.0, "v", "x0"), (0, -1))
    np.testing.assert_array_equal(convert(0.0, 1.0, "flow", "x0"), (1, -1))
    with pytest.raises(ValueError, match="does not determine 'x0' at alpha=0"):
        convert(0.0, 1.0, "eps", "x0")
    with pytest.raises(ValueError, match="choose one of eps, x0, v, score, flow"):
        convert(1.0, 1.0, "noise", "x0")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("name", ["lam_uniform", "t_uniform", "t_quadratic", "karras"])
def test_grids_decrease_between_their_ends(schedule, name):
    t_start = 0.999 * schedule.t_max
    for n in (1, 2, 7):
        times = GRIDS[name](schedule, n, t_start, schedule.t_min)
        assert times.shape == (n + 1,) and times.dtype == np.float64
        assert times[0] == t_start and times[-1] == schedule.t_min and np.all(np.diff(times) < 0)


def test_grids_have_their_spacing():
    uniform = {"t_uniform": lambda t: t, "t_quadratic": np.sqrt, "lam_uniform": VP().lam}
    for name, coordinate in uniform.items():
        steps = np.diff(coordinate(GRIDS[name](VP(), 9)))
        np.testing.assert_allclose(steps, steps[0], rtol=1e-10)
    # EDM, Eq. 5
    i, n = np.arange(19), 18
    published = (80 ** (1 / 7) + i / n * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(GRIDS["karras"](EDM(), 18), published, rtol=1e-12)
    assert GRIDS["karras"](EDM(), 5, t_end=0.0)[-1] == 0


def test_a_given_grid_is_taken_or_refused():
    times = [1.0, 0.5, 0.2, 0.01]
    np.testing.assert_array_equal(GRIDS["given"](VP(), 3, times=times), times)
    with pytest.raises(ValueError, match="4 steps need 5 times, got 4"):
        GRIDS["given"](VP(), 4, times=times)
    with pytest.raises(ValueError, match="t_end = 0.1"):
        GRIDS["given"](VP(), 3, t_end=0.1, times=times)


@pytest.mark.parametrize("times", [[1.0], [[1.0, 0.5]], [1.0, 1.0, 0.5], [0.5, 1.0], [1.0, np.nan], [1.0, -0.1]])
def test_impossible_times_are_refused(times):
    with pytest.raises(ValueError, match="times"):
        check_times(times)


def test_impossible_ranges_are_refused():
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        GRIDS["t_uniform"](VP(), 0)
    with pytest.raises(ValueError, match="t_start=0.001 and t_end=1.0"):
        GRIDS["t_uniform"](VP(), 5, 1e-3, 1.0)
    with pytest.raises(ValueError, match="finite lam"):
        GRIDS["lam_uniform"](Flow(), 5, 1.0, 0.01)


def test_snapping_takes_the_nearest_node_and_refuses_duplicates():
    lam = np.linspace(*EDM().lam([80.0, 0.002]), 121)
    exact = GRIDS["lam_uniform"](EDM(), 10)
    np.testing.assert_allclose(snap_to(EDM(), exact, lam), exact, rtol=1e-12)
    moved = snap_to(EDM(), GRIDS["karras"](EDM(), 10), lam)
    nearest = np.abs(EDM().lam(moved)[:, None] - lam).min(axis=1)
    np.testing.assert_allclose(nearest, 0, atol=1e-12)
    with pytest.raises(ValueError, match="both snap to node"):
        snap_to(EDM(), GRIDS["t_uniform"](EDM(), 30), lam)
