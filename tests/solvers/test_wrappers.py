"""Model wrappers: conversion, thresholds, guidance, bases, units of time, variance channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, ortho_group

import solvers
from models import precondition
from solvers import SOLVERS, sample
from solvers.prediction import PREDICTIONS
from solvers.schedule import EDM, VP, Flow, VPDiscrete
from tests.helpers import reference
from tests.helpers.mixture import SHAPE, eps_model, grid_of, model, outputs, start

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
SCHEDULES = [EDM(), VP(), SD, Flow()]
UNIT = np.finfo(np.float64).eps


def points(schedule):
    """(x, t) at three noise levels: sigma / alpha of 5, 1 and 0.1."""
    for level, r in enumerate((5.0, 1.0, 0.1)):
        t = schedule.t_of_lam(-np.log(r))
        z = np.random.default_rng(level).normal(size=(2, *SHAPE))
        yield jnp.asarray(schedule.alpha(t) * z[0] + schedule.sigma(t) * z[1]), float(t)


def round_off(schedule, t, size):
    """Of two conversions: each divides by at most the least of alpha, sigma, sigma^2 and 1."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return 100 * UNIT * size * ((1 + sigma) / min(alpha, sigma, sigma**2, 1)) ** 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_any_prediction_as_any_other(schedule, x64):
    for x, t in points(schedule):
        wanted = outputs(x, schedule.alpha(t), schedule.sigma(t))
        size = max(float(jnp.abs(value).max()) for value in [x, *wanted.values()])
        for source in PREDICTIONS:
            for target in PREDICTIONS:
                found = solvers.as_prediction(model(schedule, source), schedule, source, target)(x, jnp.asarray(t))
                np.testing.assert_allclose(found, wanted[target], rtol=0, atol=round_off(schedule, t, size))


@pytest.mark.parametrize("source", PREDICTIONS)
def test_conversion_at_the_ends_of_rectified_flow(source):
    """alpha = 0: x0 from what determines it, NaN from what does not. sigma = 0: x is x0, whatever the network says."""
    x0, eps = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    i, j = PREDICTIONS[source](0.0, 1.0)
    wrapped = jax.jit(solvers.as_prediction(lambda x, t: jnp.asarray(i * x0 + j * eps), Flow(), source, "x0"))
    wanted = np.full(5, np.nan) if source in ("eps", "score") else x0
    np.testing.assert_allclose(wrapped(jnp.asarray(eps), 1.0), wanted, rtol=0, atol=1e-6)  # eps - (eps - x0) rounds
    if source != "x0":
        anything = solvers.as_prediction(lambda x, t: 7 * x, Flow(), source, "x0")
        np.testing.assert_array_equal(jax.jit(anything)(jnp.asarray(x0), 0.0), x0)
    clipped = solvers.static_threshold(lambda x, t: 7 * x, Flow(), source)
    assert np.isnan(jax.jit(clipped)(jnp.asarray(eps), 1.0)).all() == (source in ("eps", "score"))


def test_unknown_predictions_are_refused_when_wrapping():
    for wrap in (
        lambda: solvers.as_prediction(None, EDM(), "eps", "velocity"),
        lambda: solvers.static_threshold(None, EDM(), "velocity"),
        lambda: solvers.classifier_guidance(None, EDM(), "velocity", None, 1.0),
    ):
        with pytest.raises(ValueError, match="unknown prediction 'velocity': choose one of eps"):
            wrap()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_static_threshold(prediction, x64):
    schedule = VP()
    wrapped = solvers.static_threshold(model(schedule, prediction), schedule, prediction, bound=0.4)
    for x, t in points(schedule):
        x0 = outputs(x, schedule.alpha(t), schedule.sigma(t))["x0"]
        assert np.abs(x0).max() > 0.4
        np.testing.assert_allclose(wrapped(x, t), np.clip(x0, -0.4, 0.4), rtol=0, atol=round_off(schedule, t, 5))


@pytest.mark.parametrize("least", [1.0, 0.7, 2.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_dynamic_threshold_of_each_row_by_itself(prediction, least, x64):
    """Rows of very different size in one batch: for some the quantile counts, for others the least s."""
    schedule, t = Flow(), 0.5
    wrapped = solvers.dynamic_threshold(model(schedule, prediction), schedule, prediction, ratio=0.8, least=least)
    x = np.random.default_rng(0).normal(size=(4, *SHAPE)) * np.array([0.1, 1, 3, 10])[:, None, None]
    found = jax.vmap(wrapped, in_axes=(0, None))(jnp.asarray(x), t)
    above = 0
    for row, got in zip(x, found):
        x0 = np.asarray(outputs(jnp.asarray(row), 0.5, 0.5)["x0"])
        s = max(np.quantile(np.abs(x0), 0.8), least)
        above += s > least
        np.testing.assert_allclose(got, np.clip(x0, -s, s) / s, rtol=0, atol=round_off(schedule, t, 40))
    assert 0 < above < 4
    assert np.abs(found).max() <= 1


def test_dynamic_threshold_leaves_small_samples_alone_and_refuses_nonsense():
    x0 = jnp.linspace(-0.9, 0.9, 7)
    wrapped = solvers.dynamic_threshold(lambda x, t: x, EDM(), "x0")
    np.testing.assert_array_equal(wrapped(x0, 1.0), x0)
    for wrong in ({"ratio": 1.5}, {"least": 0.0}):
        with pytest.raises(ValueError, match="0 < ratio <= 1 and least > 0"):
            solvers.dynamic_threshold(None, EDM(), "x0", **wrong)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_thresholded_model_in_a_table_is_the_published_sampler_with_thresholding(schedule, x64):
    """The reference converts, thresholds and converts back at every step, in numpy."""
    t, x = grid_of(schedule, 8), start(schedule)[1]
    eps = eps_model(schedule)

    def thresholded(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x0 = (x - sigma * eps(x, t)) / alpha
        s = max(np.quantile(np.abs(x0), 0.7), 0.5)
        return (x - alpha * np.clip(x0, -s, s) / s) / sigma

    wrapped = solvers.dynamic_threshold(model(schedule, "v"), schedule, "v", ratio=0.7, least=0.5)
    table = SOLVERS["dpmpp"](schedule, t, order=2, prediction="x0")
    wanted = reference.dpmpp(thresholded, schedule, t, x, order=2)
    assert np.abs(wanted - reference.dpmpp(eps, schedule, t, x, order=2)).max() > 0.1
    np.testing.assert_allclose(sample(wrapped, table, jnp.asarray(x))[0], wanted, rtol=0, atol=1e-9)


MEANS = np.array([[0.8, -0.5, 0.2], [-0.3, 0.9, 0.4]])
COVARIANCES = np.array([np.diag([0.2, 0.5, 0.3]), np.diag([0.6, 0.1, 0.4])])


def gaussians(schedule, t):
    """log p(x_t | y) and E[eps | x_t, y] of two classes."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    covariance = alpha**2 * COVARIANCES + sigma**2 * np.eye(3)

    def log_p(x):
        return jnp.stack(
            [jax.scipy.stats.multivariate_normal.logpdf(x, alpha * MEANS[y], covariance[y]) for y in (0, 1)]
        )

    return log_p, lambda x, y: sigma * jnp.linalg.solve(covariance[y], x - alpha * MEANS[y])


@pytest.mark.thin(3)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_guidance_by_the_exact_classifier_is_the_conditional_model(schedule, prediction, x64):
    """Bayes: the score of p(x | y) is the score of p(x) plus the gradient of log p(y | x); and linear in the scale."""

    def read(eps, x, t):
        return solvers.as_prediction(lambda x, t: eps, schedule, "eps", prediction)(x, t)

    for points_x, t in points(schedule):
        x = points_x.ravel()[:3]
        log_p, eps = gaussians(schedule, t)

        def unconditional(x, t, log_p=log_p, eps=eps):
            p = jax.nn.softmax(log_p(x))
            return read(p[0] * eps(x, 0) + p[1] * eps(x, 1), x, t)

        def log_prob(x, t, log_p=log_p):
            return jax.nn.log_softmax(log_p(x))[1]

        def wrapped(scale, unconditional=unconditional, log_prob=log_prob):
            return solvers.classifier_guidance(unconditional, schedule, prediction, log_prob, scale)

        conditional, plain = read(eps(x, 1), x, t), unconditional(x, t)
        atol = round_off(schedule, t, float(jnp.abs(x).max()) + 10)
        np.testing.assert_allclose(wrapped(1.0)(x, t), conditional, rtol=0, atol=atol)
        np.testing.assert_array_equal(wrapped(0.0)(x, t), plain)
        np.testing.assert_allclose(wrapped(3.0)(x, t), plain + 3 * (conditional - plain), rtol=0, atol=4 * atol)


def test_the_two_classes_above_are_what_scipy_says():
    log_p, _ = gaussians(EDM(), 0.7)
    x = np.array([0.3, -0.2, 0.5])
    for y in (0, 1):
        wanted = multivariate_normal(MEANS[y], COVARIANCES[y] + 0.49 * np.eye(3)).logpdf(x)
        np.testing.assert_allclose(log_p(jnp.asarray(x))[y], wanted, rtol=1e-5)


@pytest.mark.parametrize(("prediction", "finite"), [("eps", True), ("score", True), ("x0", False), ("v", False)])
def test_classifier_guidance_of_pure_noise(prediction, finite):
    wrapped = solvers.classifier_guidance(lambda x, t: x, Flow(), prediction, lambda x, t: x.sum(), 2.0)
    found = np.asarray(jax.jit(wrapped)(jnp.ones(3), 1.0))
    np.testing.assert_array_equal(found, {"eps": -1.0, "score": 3.0}.get(prediction, np.nan))
    assert np.isfinite(found).all() == finite


WEIGHTS = np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32)


def denoiser(x, sigma, labels):
    """A network of one matrix product, [B, 4] -> [B, 4], whose output depends on the label."""
    return jnp.tanh(x @ WEIGHTS / (1 + sigma[:, None])) + labels[:, None]


def products(function, *arguments):
    """Shapes of the left factors of all matrix products in a program."""
    found = []

    def look(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                found.append(equation.invars[0].aval.shape)
            for inner in jax.core.jaxprs_in_params(equation.params):
                look(inner)

    look(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def test_a_guided_evaluation_is_one_call_for_the_pair():
    pair = solvers.guided(solvers.bind(denoiser, 1), solvers.bind(denoiser, 3), 2.0)
    x, table = jnp.ones(4), SOLVERS["unipc"](EDM(), np.geomspace(80, 0.1, 6), prediction="x0")
    assert products(pair, x, 1.0) == [(2, 4)]
    assert products(lambda x: sample(pair, table, x)[0], x) == [(2, 4)]
    rows = products(jax.vmap(lambda x: sample(pair, table, x)[0]), jnp.ones((5, 4)))
    assert len(rows) == 1 and np.prod(rows[0]) == 5 * 2 * 4
    other = solvers.bind(lambda *args: denoiser(*args), 3)  # another network: two calls
    assert products(solvers.guided(solvers.bind(denoiser, 1), other, 2.0), x, 1.0) == [(1, 4), (1, 4)]


@pytest.mark.parametrize("jit", [jax.jit, lambda f: f])
def test_guidance_of_scale_1_and_0_is_exactly_one_of_the_two(jit):
    conditional, unconditional = solvers.bind(denoiser, 1), solvers.bind(denoiser, 3)
    x = jnp.asarray(np.random.default_rng(0).normal(size=4), jnp.float32)
    c, u = jit(lambda x: conditional.evaluate(x, 0.7, jnp.array([1, 3])))(x)
    run = jit(lambda scale, x: solvers.guided(conditional, unconditional, scale)(x, 0.7))
    np.testing.assert_array_equal(run(1.0, x), c)
    np.testing.assert_array_equal(run(0.0, x), u)
    np.testing.assert_allclose(run(7.5, x), u + 7.5 * (c - u), rtol=1e-5)


@pytest.mark.thin(4)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", ["ddim", "unipc", "edm_heun"])
def test_a_table_in_a_basis_is_the_table_outside_mapped(name, prediction, x64):
    schedule = SD
    basis, x = ortho_group.rvs(6, random_state=5), start(schedule)[1]
    table = SOLVERS[name](schedule, grid_of(schedule, 6), prediction=prediction)
    net = model(schedule, prediction)
    _, wanted = sample(net, table, jnp.asarray(x))
    _, found = sample(solvers.in_basis(net, basis), table, jnp.asarray((basis.T @ x.ravel()).reshape(SHAPE)))
    assert np.abs(wanted - found).max() > 0.1
    back = np.asarray(found).reshape(-1, 6) @ basis.T
    np.testing.assert_allclose(back.reshape(wanted.shape), wanted, rtol=0, atol=1e-10)


def test_a_basis_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 2\) needs a basis \(6, 6\), got \(3, 3\)"):
        solvers.in_basis(model(EDM()), np.eye(3))(jnp.zeros(SHAPE), 1.0)


def test_units_of_time(x64):
    def at(schedule, unit, t):
        return jax.jit(solvers.time_units(lambda x, time: time, schedule, unit))(jnp.zeros(2), jnp.asarray(t))

    n = np.array([0, 1, 499, 999])
    np.testing.assert_allclose(at(SD, "label", (n + 1) / 1000), n, rtol=0, atol=1e-12)
    np.testing.assert_allclose(at(SD, "label_1000", (n + 1) / 1000), n, rtol=0, atol=1e-12)
    long = VPDiscrete(np.cumprod(1 - np.linspace(1e-4 / 4, 0.02 / 4, 4000)))  # IDDPM: labels n, or n / 4
    np.testing.assert_allclose(at(long, "label", (n + 1) / 4000), n, rtol=0, atol=1e-11)
    np.testing.assert_allclose(at(long, "label_1000", (n + 1) / 4000), n / 4, rtol=0, atol=1e-12)
    np.testing.assert_allclose(at(VP(), "label", (n + 1) / 1000), n, rtol=0, atol=1e-12)
    np.testing.assert_allclose(at(VP(), "score_sde", 0.3), 299.7, rtol=1e-12)
    np.testing.assert_allclose(at(Flow(), "sigma", 0.75), 3.0, rtol=1e-12)
    noise = precondition.edm(0.5).coefficients(jnp.asarray([0.002, 1.0, 80.0])).noise
    np.testing.assert_allclose(at(EDM(), "log_sigma", [0.002, 1.0, 80.0]), noise, rtol=1e-12)
    np.testing.assert_array_equal(at(SD, lambda t: jnp.round(1000 * t) - 1, 0.5004), 499)
    with pytest.raises(ValueError, match="unknown unit 'steps' of time: choose one of label, label_1000, score_sde"):
        solvers.time_units(None, SD, "steps")


def test_the_mean_of_a_network_that_also_returns_a_variance():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    last = solvers.mean_only(lambda x, t: jnp.concatenate([x, x**2], axis=-1), 4)
    first = solvers.mean_only(lambda x, t: jnp.concatenate([x, x**2], axis=0), 2, axis=0)
    for wrapped in (last, first):
        np.testing.assert_array_equal(wrapped(x, 1.0), x)
    with pytest.raises(
        ValueError, match=r"mean_only expects 8 channels on axis -1, got an output of shape \(2, 3, 4\)"
    ):
        solvers.mean_only(lambda x, t: x, 4)(x, 1.0)


WRAPPED = {
    "static": lambda s, m: solvers.static_threshold(m, s, "eps", bound=0.5),
    "dynamic": lambda s, m: solvers.dynamic_threshold(m, s, "eps", ratio=0.7, least=0.4),
    "conversion": lambda s, m: solvers.as_prediction(m, s, "eps", "score"),
    "classifier": lambda s, m: solvers.classifier_guidance(m, s, "eps", lambda x, t: -((x - t) ** 4).sum(), 0.3),
    "guided": lambda s, m: solvers.guided(m, lambda x, t: jnp.sin(x) * t, 2.0),
    "basis": lambda s, m: solvers.in_basis(m, ortho_group.rvs(6, random_state=5)),
    "time": lambda s, m: solvers.time_units(lambda x, label: m(x, (label + 1) / 1000), s, "label"),
    "mean": lambda s, m: solvers.mean_only(lambda x, t: jnp.concatenate([m(x, t), x], axis=-1), 2),
}


@pytest.mark.thin(3)
@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_models_have_forward_derivatives_and_independent_rows(name, x64):
    """EMS differentiate in x and t; a batch by vmap is what its samples are one by one."""
    wrapped = WRAPPED[name](VP(), model(VP()))
    rng, h, t = np.random.default_rng(4), 1e-5, 0.4
    x, dx = jnp.asarray(rng.normal(size=(2, 3, *SHAPE)))
    slope = jax.jvp(wrapped, (x[0], t), (dx[0], 0.7))[1]
    difference = (wrapped(x[0] + h * dx[0], t + 0.7 * h) - wrapped(x[0] - h * dx[0], t - 0.7 * h)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=0, atol=1e-6 * (1 + np.abs(slope).max()))
    together = jax.jit(jax.vmap(wrapped, in_axes=(0, None)))(x, t)
    np.testing.assert_allclose(together, jnp.stack([wrapped(row, t) for row in x]), rtol=0, atol=1e-12)
