"""The moments that EMS are made of: sums that lose nothing, in any order, at points where they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import ems
from solvers.ems import estimation, moments
from solvers.ems.moments import FACTORS, NAMES, Moments, Plan, gatherer, merge
from solvers.ems.sums import summation
from solvers.schedule import EDM, VP, Flow, VPDiscrete

LAM = np.linspace(-4.3, 6.2, 22)
KEY = jax.random.key(3)
MIX = np.random.default_rng(0).normal(size=(4, 4)) / 4


def model(_, x, t):
    """A denoiser in EDM's coordinates that is neither linear nor diagonal, sound at all noise levels."""
    w = 0.3 / (0.3 + t * t)
    return w * x + (1 - w) * t / (1 + t) * jnp.tanh(MIX.astype(x.dtype) @ (x / (1 + t)))


def plan(**options):
    fixed = {"model": model, "params": (), "schedule": EDM(), "lam": LAM, "key": KEY, "prediction": "x0"}
    return Plan(**fixed | options)


def data(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def close(got: Moments, expected: Moments):
    """To float64 round-off of 30 terms, each at most as large as the largest product."""
    np.testing.assert_array_equal(got.count, expected.count)
    largest = np.abs(expected.sums).max(axis=1, keepdims=True)
    assert np.all(np.abs(got.sums - expected.sums) <= 100 * np.finfo(np.float64).eps * largest)


@pytest.mark.parametrize("rule, unit", [("float64", np.finfo(np.float64).eps), ("compensated", 2.0**-47)])
def test_one_pass_in_float32_keeps_what_two_passes_in_float64_would(monkeypatch, rule, unit):
    """Var f and Cov(f, f') from sums, against f and f' formed point by point in float64 from the same float32 outputs.

    At sigma = 74 u is some 74 and f below 1, at 0.002 f is the small difference of u and y. Sums of K products carry
    K units of round-off of their largest term, k^2 u^2 + y^2, and that is all that may differ.
    """
    seen, add, total = [], *summation(FACTORS, rule)
    watched = lambda sums, values, weight: seen.append(values) or add(sums, values, weight)  # noqa: E731
    monkeypatch.setattr(moments, "summation", lambda *_: (watched, total))
    found, _ = gatherer(plan(batch=48))(data(48), np.arange(48))
    names = ("u", "y", "dy", "q")
    v = {name: np.stack([values[i][0] for values in seen], axis=1).astype(np.float64) for i, name in enumerate(names)}
    assert all(values[0].dtype == np.float32 for values in seen)
    raw = estimation.raw(found, LAM)
    l = 1 - v["q"].mean(axis=0)
    dl = np.gradient(l, LAM, axis=0, edge_order=2)
    f = (1 - l) * v["u"] - v["y"]
    df = (1 - l) * (v["y"] - v["u"]) - dl * v["u"] - v["dy"]
    np.testing.assert_allclose(raw.l, l, rtol=0, atol=48 * unit * np.abs(v["q"]).max())
    terms_f = ((1 - l) * v["u"]) ** 2 + v["y"] ** 2
    terms_df = terms_f + (dl * v["u"]) ** 2 + v["dy"] ** 2 + ((1 - l) * v["u"]) ** 2
    allowed = 48 * unit
    for got, expected, terms in (
        (raw.variance, f.var(axis=0), terms_f),
        (raw.variance_df, df.var(axis=0), terms_df),
        (raw.covariance, (f * df).mean(axis=0) - f.mean(axis=0) * df.mean(axis=0), terms_f + terms_df),
    ):
        assert np.all(np.abs(got - expected) <= 4 * allowed * terms.max(axis=0))
        assert np.median(np.abs(got / expected - 1)) < 5e6 * unit  # that is little: nothing is lost to cancellation


def test_float32_gaussians_have_no_s():
    """f of an exact diagonal Gaussian is constant but for float32 round-off: its s must not be a ratio of noise."""
    variance = np.array([0.1, 0.5, 1.0, 2.0], np.float32)
    net = lambda _, x, t: variance / (variance + t * t) * x  # noqa: E731
    found, _ = gatherer(plan(model=net))(data(64), np.arange(64))
    spread = np.sqrt(np.maximum(estimation.raw(found, LAM).variance, 0))
    s = ems.statistics(found, LAM).s
    assert np.abs(s).max() <= estimation.DEFAULT.cap
    assert np.abs(s * spread).max() < 1e-6  # what enters a step: s (f - E f)


def test_merging_in_any_order_and_split(x64):
    """In float64: a batch of another size is another program, whose float32 rounds elsewhere."""
    gather, points = gatherer(plan(batch=8)), data(30).astype(np.float64)
    whole, _ = gather(points, np.arange(30))
    cuts = (slice(0, 7), slice(7, 8), slice(8, 30))
    parts = [gather(points[c], np.arange(30)[c])[0] for c in cuts]
    for order in ((0, 1, 2), (2, 0, 1)):
        close(merge([parts[i] for i in order]), whole)
    shuffled = np.random.default_rng(1).permutation(30)  # point i has its own noise, wherever it stands
    close(gather(points[shuffled], shuffled)[0], whole)


@pytest.mark.parametrize("rule", ["noised", "trajectory"])
def test_blocks_make_the_whole(rule):
    gather, points = gatherer(plan(rule=rule, batch=8)), 74 * data(10)
    whole, _ = gather(points, np.arange(10))
    carry, parts = None, []
    for block in (slice(0, 5), slice(5, 6), slice(6, 22)):
        part, carry = gather(points, np.arange(10), block=block, carry=carry)
        parts.append(part)
    for x, y in zip(zip(*parts), whole):
        np.testing.assert_array_equal(np.concatenate(x), y)


@pytest.mark.parametrize("schedule", [EDM(), VP(), Flow()], ids=str)
def test_trajectories_are_the_ode(schedule, x64):
    """Of a Gaussian the ODE is solved: u - mean shrinks as sqrt(v + e^-2lam). UniPC-3 at 60 steps: below 1e-3 of it."""
    mean, variance, lam = np.array([1.0, -2.0, 0.0, 0.5]), np.array([0.1, 0.5, 1.0, 2.0]), np.linspace(-4.0, 4.5, 61)

    def net(_, x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return mean + variance * alpha / (alpha**2 * variance + sigma**2) * (x - alpha * mean)

    t = schedule.t_of_lam(lam[0])
    start = schedule.sigma(t) * np.random.default_rng(0).normal(size=(20, 4))
    found, _ = gatherer(plan(model=net, schedule=schedule, lam=lam, rule="trajectory"))(start, np.arange(20))
    gain = np.sqrt((variance + np.exp(-2 * lam)[:, None]) / (variance + np.exp(-2 * lam[0])))
    u = mean + gain[:, None] * (start / schedule.alpha(t) - mean)
    exact = np.stack([u.mean(axis=1), (u**2).mean(axis=1)], axis=1)
    got = found.sums[:, [NAMES.index("u"), NAMES.index("uu")]] / 20
    assert np.abs(got / exact - 1).max() < 1e-3


def test_kinks_of_a_discrete_schedule(x64):
    """Moments depend on lam alone, also within a difference's reach of a knot of log alpha, where dt/dlam jumps."""
    discrete = VPDiscrete(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    lam = np.sort(discrete.lam(np.array([0.9, 0.5, 0.1])) + 3e-5)

    def net(_, x, t):
        alpha, sigma = discrete.alpha(t), discrete.sigma(t)
        return model((), x / alpha, sigma / alpha)

    points = data(5).astype(np.float64)
    expected, _ = gatherer(plan(lam=lam))(points, np.arange(5))
    found, _ = gatherer(plan(lam=lam, model=net, schedule=discrete))(points, np.arange(5))
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-7, atol=1e-7)


def test_the_exact_diagonal(x64):
    points = data(6).astype(np.float64)
    found, _ = gatherer(plan(probes="exact"))(points, np.arange(6))
    x, _ = _states(points)
    jacobian = jax.vmap(jax.vmap(jax.jacfwd(lambda x, t: model((), x, t)), (0, None)))(x, np.exp(-LAM))
    np.testing.assert_allclose(
        found.sums[:, NAMES.index("q")] / 6, np.einsum("gkii->gi", jacobian) / 6, rtol=1e-12, atol=1e-13
    )


def _states(points):
    """x [G + 1, K, D] of noised points, and their noise."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, np.arange(len(points)))
    draw = lambda key: jax.random.normal(jax.random.fold_in(key, 0), (4,), points.dtype)  # noqa: E731
    z = np.asarray(jax.vmap(draw)(keys))
    return points + np.exp(-LAM)[:, None, None] * z, z


def test_the_path_derivative_is_that_of_l(x64):
    """Against differences of l at lam +- h, of the same points and probes: h^2/6 of the third derivative, about 1."""
    h, points = 1e-4, data(12).astype(np.float64)
    q, dq = NAMES.index("q"), NAMES.index("dq")
    at = {s: gatherer(plan(lam=LAM + s * h, path=True))(points, np.arange(12))[0].sums for s in (-1, 0, 1)}
    slope = (at[1][:, q] - at[-1][:, q]) / (2 * h)
    np.testing.assert_allclose(at[0][:, dq], slope, rtol=0, atol=12 * h**2 * 10)
    assert np.abs(slope).max() > 1


def test_more_probes_estimate_the_diagonal_better():
    """The variance of the mean of P probes is 1/P of one's (plus that over points, the same in both)."""
    one, many = (
        ems.estimate(lambda x, t: (10 * MIX).astype(np.float32) @ x, EDM(), data(200), LAM[:3], KEY, "x0", probes=p)
        for p in (1, 16)
    )
    ratio = np.array(one.meta["standard_error"]["l"]) / np.array(many.meta["standard_error"]["l"])
    np.testing.assert_allclose(ratio, 4, rtol=0.2)  # the spread of a standard error from 200 points: 5 %, of 4 numbers
    assert np.abs(many.l - (1 - 10 * np.diag(MIX))).max() < 6 * max(many.meta["standard_error"]["l"])


def test_standard_errors_are_the_spread():
    """The reported errors of l, s, b against the spread of 40 independent estimates (its own error is 11 %)."""
    gather, points = gatherer(plan()), data(4000).reshape(40, 100, 4)  # compiled once; each index has its own noise
    parts = (gather(part, 100 * i + np.arange(100))[0] for i, part in enumerate(points))
    estimates = [ems.statistics(part, LAM) for part in parts]
    for name in "lsb":
        spread = np.sqrt(np.var([getattr(e, name) for e in estimates], axis=0, ddof=1).mean(axis=1))
        reported = np.sqrt(np.mean([np.square(e.meta["standard_error"][name]) for e in estimates], axis=0))
        middle = slice(2, -2)  # at the ends l' is a one-sided difference
        assert 0.7 < np.median(spread[middle] / reported[middle]) < 1.5, name


def test_a_failing_network_is_named():
    net = lambda _, x, t: jnp.where(t < 0.1, jnp.nan, 1.0) * x  # noqa: E731
    with pytest.raises(ValueError, match=r"not finite at lam=2.7 \(t=0.06721, 8 of 22 noise levels\)"):
        gatherer(plan(model=net))(data(5), np.arange(5))
