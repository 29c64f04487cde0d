"""EMS: against brute force on the same points, and against closed forms."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers.ems import PLAIN, Recipe, estimate, statistics
from solvers.ems.estimation import COORDINATES
from solvers.ems.moments import NAMES, Moments
from solvers.prediction import PREDICTIONS
from solvers.schedule import EDM, VP, Flow, VPCosine

LAM = np.linspace(-2, 3, 41)


def denoiser(x, lam):
    """A smooth non-linear x0(x / alpha, lam) with a diagonal Jacobian: one probe gives its diagonal exactly."""
    return jnp.tanh(1.3 * x + 0.2 * lam) + 0.1 * jnp.sin(lam) * x


def network(schedule, prediction):
    """The network of that denoiser with any prediction type."""

    def model(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x0 = denoiser(x / alpha, schedule.lam(t))
        i, j = PREDICTIONS[prediction](alpha, sigma)
        return i * x0 + j * (x - alpha * x0) / sigma

    return model


def brute_force(data, key):
    """l, s, b at LAM in EDM's coordinates, by definition: f along the ODE by central differences, no affine algebra."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(len(data)))
    z = np.asarray(jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, 0), data.shape[1:]))(keys))
    u = data + np.exp(-LAM)[:, None, None] * z
    slope = jax.vmap(jax.vmap(jax.vmap(jax.grad(denoiser), (0, None)), (0, None)), (0, 0))
    l = 1 - np.asarray(slope(jnp.asarray(u), LAM)).mean(axis=1)
    dl, step = np.gradient(l, LAM, axis=0, edge_order=2), 1e-4
    f = []
    for sign in (1, -1):
        # half a step of the ODE du/dlam = x0 - u, then l by its slope: second order in `step`
        half = u + 0.5 * sign * step * (denoiser(u, LAM[:, None, None]) - u)
        moved = u + sign * step * (denoiser(half, LAM[:, None, None] + 0.5 * sign * step) - half)
        f.append((1 - l - sign * step * dl)[:, None] * moved - denoiser(moved, LAM[:, None, None] + sign * step))
    df, f = np.asarray(f[0] - f[1]) / (2 * step), (1 - l)[:, None] * u - np.asarray(denoiser(u, LAM[:, None, None]))
    s = (f * df).mean(1) - f.mean(1) * df.mean(1)
    s /= f.var(axis=1)
    return l, s, df.mean(1) - s * f.mean(1)


@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [(EDM(), "x0"), (EDM(), "eps"), (VP(), "eps"), (VPCosine(), "v"), (Flow(), "flow"), (VP(), "score")],
    ids=str,
)
def test_estimate_is_the_definition(schedule, prediction, x64):
    """Any schedule and prediction type give the same EMS: they depend on lam alone."""
    data, key = np.random.default_rng(0).normal(size=(50, 3)), jax.random.key(1)
    l, s, b = brute_force(data, key)
    ems = estimate(network(schedule, prediction), schedule, data, LAM, key, prediction, batch=16)
    np.testing.assert_allclose(ems.l, l, rtol=0, atol=1e-10)
    # s and b: 1e-7 of the differences, and the ridge of 1e-3 of the mean variance
    variance_share = 1 / (1 + 1.2e-3 * 3)
    np.testing.assert_allclose(ems.s, s, rtol=1 - variance_share, atol=1e-4)
    np.testing.assert_allclose(ems.b, b, rtol=0, atol=5e-3)
    assert ems.meta["schedule"] == repr(schedule) and ems.meta["shape"] == [3] and ems.meta["points"] == 50


def test_the_last_batch_counts_only_its_own_points(x64):
    data, key = np.random.default_rng(0).normal(size=(10, 3)), jax.random.key(1)
    whole, parts = (estimate(network(EDM(), "x0"), EDM(), data, LAM[:4], key, "x0", batch=n) for n in (10, 4))
    for x, y in zip(whole[1:4], parts[1:4], strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-10)


def test_constant_f_gives_zero_s(x64):
    """A diagonal Gaussian: Var f = 0, where s = Cov / Var is 0/0 in the published code."""
    mean, variance = np.linspace(-1, 1, 4), np.array([0.1, 0.5, 1.0, 2.0])
    data = mean + np.sqrt(variance) * np.random.default_rng(0).normal(size=(32, 4))
    net = lambda x, t: mean + variance / (variance + t * t) * (x - mean)  # noqa: E731
    ems = estimate(net, EDM(), data, LAM, jax.random.key(0), "x0")
    noise = np.exp(-2 * LAM)[:, None]
    np.testing.assert_allclose(ems.l, noise / (noise + variance), rtol=1e-10)
    assert np.abs(ems.s).max() < 1e-3
    # l is a logistic function of 2 lam, l''' at most 1: l' is off by h^2/3 at an end, and that times E u is in b
    dl = -2 * noise * variance / (noise + variance) ** 2
    step = LAM[1] - LAM[0]
    np.testing.assert_allclose(
        ems.b, -dl * mean, rtol=0, atol=step**2 / 3 * (np.abs(mean) + 6 * np.exp(2) / 32**0.5).max()
    )


def test_hutchinson_finds_the_diagonal_of_a_full_jacobian():
    """Within 6 standard errors: Var of one probe's diagonal is the sum of squares off the diagonal."""
    rng, points = np.random.default_rng(0), 2000
    matrix = rng.normal(size=(5, 5)) / 3
    ems = estimate(
        lambda x, t: matrix.astype(np.float32) @ x,
        EDM(),
        rng.normal(size=(points, 5)),
        LAM[:3],
        jax.random.key(0),
        "x0",
    )
    error = np.sqrt((matrix**2).sum(axis=1) - np.diag(matrix) ** 2) / np.sqrt(points)
    assert np.all(np.abs(ems.l - (1 - np.diag(matrix))) < 6 * error + 1e-5)


def test_progress_and_a_network_that_fails():
    seen, data = [], np.ones((4, 2)) * np.arange(4)[:, None]
    estimate(lambda x, t: 0.5 * x, EDM(), data, LAM[:5], jax.random.key(0), "x0", progress=lambda *a: seen.append(a))
    assert seen == [(4 * k, 20) for k in range(1, 6)]
    with pytest.raises(ValueError, match=r"not finite at lam=2.5 \(t=0.08208, 1 of 3 noise levels\)"):
        estimate(
            lambda x, t: jnp.where(t < 0.1, jnp.nan, 1.0) * x,
            EDM(),
            data,
            np.array([0, 1, 2.5]),
            jax.random.key(0),
            "x0",
        )
    with pytest.raises(ValueError, match="at least 3 increasing"):
        estimate(lambda x, t: x, EDM(), data, LAM[::-1], jax.random.key(0), "x0")
    with pytest.raises(ValueError, match="at least 3 data points"):
        estimate(lambda x, t: x, EDM(), data[:1], LAM, jax.random.key(0), "x0")


def test_a_given_l_makes_the_statistics_those_of_the_predicted_x0():
    """l = 1: f = -y, f' = -y', so s and b are the regression of y' on y."""
    u, y, dy, q = np.random.default_rng(0).normal(size=(4, 3, 50, 5))  # [nodes, points, pixels]
    values = {"u": u, "y": y, "dy": dy, "q": q, "dq": q, "uu": u * u, "uy": u * y, "yy": y * y}
    values |= {"udy": u * dy, "ydy": y * dy, "dydy": dy * dy, "qq": q * q}
    sums = np.stack([values[name].sum(axis=1) for name in NAMES], axis=1)
    ems = statistics(Moments(np.full(3, 50), sums), np.linspace(-1, 1, 3), recipe=PLAIN._replace(l=1.0))
    assert np.all(ems.l == 1)
    for node, pixel in np.ndindex(3, 5):
        wanted = np.polyfit(-y[node, :, pixel], -dy[node, :, pixel], 1)
        np.testing.assert_allclose([ems.s[node, pixel], ems.b[node, pixel]], wanted, rtol=1e-9)


def test_statistics_of_many_coordinates_are_those_of_each(x64):
    """In blocks: more coordinates than a block has, against the definition, formed for all of them at once."""
    shape, count = (15, 15, 3), 40
    assert np.prod(shape) > 2 * COORDINATES and np.prod(shape) % COORDINATES
    rng, lam = np.random.default_rng(0), LAM[::8]
    u, y, dy, q = rng.normal(size=(4, len(lam), count, *shape)) * rng.uniform(0.1, 2, size=(4, 1, 1, *shape))
    terms = (u, y, dy, u * u, u * y, y * y, u * dy, y * dy, dy * dy, q, q * q, np.zeros_like(q))
    sums = np.stack([term.sum(axis=1) for term in terms], axis=1)
    recipe = Recipe(ridge=0.1, negligible=0.2, cap=0.5)
    ems = statistics(Moments(np.full(len(lam), float(count)), sums), lam, recipe=recipe)
    l = 1 - q.mean(axis=1)
    dl = np.gradient(l, lam, axis=0, edge_order=2)
    f = (1 - l)[:, None] * u - y
    df = (1 - l)[:, None] * (y - u) - dl[:, None] * u - dy
    variance = f.var(axis=1)
    over = lambda x: x.mean(axis=(1, 2, 3), keepdims=True)  # noqa: E731
    s = ((f * df).mean(axis=1) - f.mean(axis=1) * df.mean(axis=1)) / (variance + 0.1 * over(variance))
    s = np.clip(s, -0.5, 0.5)
    s *= s**2 * variance / (s**2 * variance + 0.2 * over(variance + f.mean(axis=1) ** 2))
    for got, expected in zip(ems[1:4], (l, s, df.mean(axis=1) - s * f.mean(axis=1))):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        ems.meta["standard_error"]["l"], np.sqrt(over(q.var(axis=1) / (count - 1))).ravel(), rtol=1e-10
    )


def test_statistics_need_little_memory():
    """At 32x32x3 and 64x64x3: at most 4 times the EMS, beside the moments."""
    lam = np.linspace(-4, 6, 121)
    for size in (32, 64):
        sums = np.ones((121, len(NAMES), size, size, 3))
        tracemalloc.start()
        ems = statistics(Moments(np.full(121, 2.0), sums), lam)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 4 * sum(x.nbytes for x in ems[1:4])
