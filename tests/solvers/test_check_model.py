"""check_model: every fault is named with its remedy, and sound models of every kind are left in peace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gaussian
import models
import solvers
from solvers.prediction import PREDICTIONS
from solvers.schedule import EDM, VP, Flow, VPDiscrete

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
SCHEDULES = [EDM(), VP(), SD, Flow()]
NAMES = list(PREDICTIONS)
SHAPE = (4, 2, 1)


def _mixture():
    """Three Gaussians whose deviations spread from 0.02 to 0.5, as those of natural data do."""
    rng = np.random.default_rng(0)
    means = 0.5 * rng.normal(size=(3, *SHAPE))
    basis = np.linalg.qr(rng.normal(size=(3, 8, 8)))[0]
    variances = np.exp(2 * rng.uniform(np.log(0.02), np.log(0.5), (3, 8)))
    return gaussian.from_covariances([0.5, 0.3, 0.2], means, np.einsum("kij,kj,klj->kil", basis, variances, basis))


MIXTURE = _mixture()
DATA = np.asarray(gaussian.sample_data(MIXTURE, jax.random.key(5), 500))


def sound(schedule, prediction="eps"):
    return solvers.as_prediction(gaussian.denoiser(MIXTURE, schedule), schedule, "x0", prediction)


def check(model, schedule=SCHEDULES[0], prediction="eps", data=DATA, **options):
    return solvers.check_model(model, schedule, prediction, SHAPE, data=data, **options)


def only(found, *words):
    """One finding, with all of these words in it."""
    assert len(found) == 1, found
    for word in words:
        assert word in found[0], (word, found[0])


@pytest.mark.thin(3)
@pytest.mark.parametrize("prediction", NAMES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_sound_models_have_no_findings_and_wrong_predictions_are_named(schedule, prediction):
    """Over the four schedules each prediction is taken for each other one."""
    model = jax.jit(sound(schedule, prediction))
    assert check(model, schedule, prediction) == []
    declared = NAMES[(NAMES.index(prediction) + 1 + SCHEDULES.index(schedule)) % 5]
    found = check(model, schedule, declared)
    only(found, f"look like {prediction} of t, not {declared} of t", f": pass prediction={prediction!r}")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_without_data(schedule):
    """The model's own samples take their place."""
    n = SCHEDULES.index(schedule)
    prediction, declared = NAMES[n], NAMES[(n + 1) % 5]
    model = jax.jit(sound(schedule, prediction))
    assert check(model, schedule, prediction, data=None) == []
    only(check(model, schedule, declared, data=None), f"like {prediction} of t", f"prediction={prediction!r}")


@pytest.fixture(scope="module")
def embedded():
    params, make_denoiser = models.load("assets/fashion_mnist")
    return lambda label, schedule=None: solvers.bind(make_denoiser(params), label, schedule)


@pytest.mark.deep
def test_the_embedded_network_is_sound(embedded):
    assert solvers.check_model(embedded(10), EDM(), "x0", (28, 28, 1)) == []


def test_the_other_sign():
    model = sound(Flow(), "flow")
    only(check(lambda x, t: -model(x, t), Flow(), "flow"), "look like minus flow", "change the sign of the output")
    both = check(lambda x, t: -model(x, t), Flow(), "eps")
    only(both, "look like minus flow", "pass prediction='flow' and change the sign of the output")


@pytest.mark.thin(8)
@pytest.mark.parametrize("data", [DATA, None], ids=["data", "samples"])
@pytest.mark.parametrize(("schedule", "unit"), [(SD, "label"), (VP(), "label"), (SD, "log_sigma"), (Flow(), "sigma")])
def test_a_network_that_wants_another_unit_of_time(schedule, unit, data):
    """It gets t and takes it for a label, say."""
    back = {
        "label": lambda n: (n + 1) / 1000,
        "log_sigma": lambda c: schedule.t_of_lam(-4 * c),
        "sigma": lambda s: 1 / (1 + 1 / s),
    }[unit]
    inner = sound(schedule)

    def network(x, time):
        return inner(x, jnp.clip(back(time), 1e-4, 1))

    found = check(network, schedule, data=data)
    only(found, f"look like eps of {unit}, not eps of t", f"solvers.time_units(network, schedule, {unit!r})")
    assert check(solvers.time_units(network, schedule, unit), schedule, data=data) == []


@pytest.mark.parametrize("wrapper", ["label", lambda t: 1000 * t])
def test_a_network_that_wants_t_and_gets_a_label(wrapper):
    inner = sound(SD)
    found = check(solvers.time_units(lambda x, t: inner(x, jnp.clip(t, 1e-3, 1)), SD, wrapper), SD)
    only(found, "not eps of t", "pass t itself to the network")


def test_shapes():
    model = sound(EDM())
    only(check(lambda x, t: model(x, t)[None]), "a batch axis, (1, 4, 2, 1)", "return out[0]")
    only(
        check(lambda x, t: jnp.concatenate([model(x, t), x], -1)), "twice the channels", "mean_only(network, 1, axis=2)"
    )
    only(
        check(lambda x, t: jnp.concatenate([model(x, t), x], 0)), "twice the channels", "mean_only(network, 4, axis=0)"
    )
    both = check(lambda x, t: jnp.concatenate([model(x, t), x], -1)[None])
    assert len(both) == 2 and "batch axis" in both[0] and "mean_only" in both[1]
    only(check(lambda x, t: model(x, t).ravel()), "returns shape (8,) for a sample of shape (4, 2, 1)")
    only(check(lambda x, t: (model(x, t), None)), "returns a tuple", "out[0]")
    only(check(lambda x, t: (10 * model(x, t)).astype(jnp.int32)), "returns int32", "astype(x.dtype)")
    assert check(lambda x, t: model(x, t).astype(jnp.bfloat16)) == []  # networks may compute in low precision


def test_batched_networks_are_told_how_to_be_wrapped():
    model = jax.vmap(sound(EDM()))
    batched = lambda x, t: model(x, t)  # noqa: E731
    only(check(batched), "expects a batch axis", "lambda x, t: network(x[None], t[None])[0]")
    scalar_time = lambda x, t: jax.vmap(sound(EDM()), in_axes=(0, None))(x, jnp.reshape(t, ()))  # noqa: E731
    only(check(scalar_time), "expects a batch axis")
    assert check(lambda x, t: batched(x[None], t[None])[0]) == []


def test_what_is_no_traceable_function_of_x_and_t():
    model = sound(EDM())
    only(check(lambda x, t: np.sin(x) * t), "plain number or a numpy array", "write jnp for np")
    only(check(lambda x, t: model(x, t) if t > 1 else x), "plain number", "jnp.where for if")
    only(check(lambda x, t, labels: model(x, t)), "function of x and t alone", "solvers.bind", "labels")

    def without_cudnn(x, t):
        raise RuntimeError("cuDNN is not detected.")

    only(check(without_cudnn), "cuDNN is not there", 'implementation="xla"')


def test_what_cannot_be_vmapped():
    def callback(x, t):
        return jax.pure_callback(lambda x: np.asarray(x), jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    only(check(callback), "jax.vmap of the model fails", "pure JAX function of one sample")


@jax.custom_vjp
def kernel(x):
    """Like flash attention: a function with a backward pass of its own, and no forward derivative."""
    return x


kernel.defvjp(lambda x: (x, None), lambda _, g: (g,))


def test_kernels_without_a_forward_derivative():
    model = sound(EDM())
    only(check(lambda x, t: model(kernel(x), t)), "no forward-mode derivative", "EMS", 'implementation="xla"')

    def scanned(x, t):
        return model(jax.lax.scan(lambda x, _: (jax.checkpoint(kernel)(x), None), x, length=2)[0], t)

    only(check(scanned), "no forward-mode derivative")


def test_nan_and_inf_are_placed():
    model = sound(EDM())
    only(check(lambda x, t: model(x, t) / (t < 80)), "NaN or inf at t=80 (sigma=80, alpha=1):", "t_start")
    only(check(lambda x, t: model(x, t) / (t > 0.005)), "NaN or inf at t=0.002 (sigma=0.002, alpha=1):")
    assert check(lambda x, t: model(x, t) / (t < 80), t_start=79.0) == []
    inside = check(lambda x, t: jnp.where(jnp.abs(t - 1) < 0.9, jnp.inf, model(x, t)))
    only(inside, "NaN or inf at", "sigma=0.")
    denoiser = solvers.bind(lambda x, sigma, labels: x / (1 + sigma[:, None, None, None] ** 2), 0, Flow())
    found = check(denoiser, Flow(), "x0", data=None)  # x / alpha with alpha = 0
    assert "NaN or inf at t=1 (sigma=1, alpha=0):" in found[0]


def test_rows_of_a_batch_that_influence_each_other():
    model = sound(EDM())

    @jax.custom_batching.custom_vmap
    def normalise(x):
        return x

    @normalise.def_vmap
    def _(size, batched, x):
        return x - 0.1 * x.mean(axis=0), True

    found = check(lambda x, t: normalise(model(x, t)))
    assert any("changes with the other rows of its batch" in text for text in found), found


def test_calls_that_differ():
    model, rng = sound(EDM()), np.random.default_rng(0)

    def dropout(x, t):
        keep = jax.random.bernoulli(jax.random.key(rng.integers(1 << 30)), 0.9, x.shape)
        return model(x, t) * keep / 0.9

    found = check(dropout)
    assert "two calls with equal x and t differ" in found[0] and "deterministic=True" in found[0]

    def noisy(x, t):
        out = model(x, t)
        noise = jax.pure_callback(
            lambda x: rng.normal(size=x.shape).astype(x.dtype), out, out, vmap_method="expand_dims"
        )
        return out + 0.2 * jax.lax.stop_gradient(noise)

    assert any("two calls with equal x and t differ" in text for text in check(noisy))

    def fourier_features(x, t):  # random numbers that are always the same ones
        return model(x + 0 * jax.random.normal(jax.random.key(0), x.shape), t)

    assert check(fourier_features) == []


def test_outputs_that_ignore_an_input():
    model = sound(SD)
    for prediction in NAMES:
        only(check(lambda x, t: jnp.ones_like(x) * t, SD, prediction), "does not depend on x", "sampler")
    only(check(lambda x, t: jnp.zeros_like(x), SD, "eps"), "does not depend on x")
    only(check(lambda x, t: model(x, 0.3), SD, "eps"), "does not depend on t", "solvers.time_units")
    only(check(lambda x, t: sound(EDM(), "x0")(x, 0.5), EDM(), "x0", data=None), "does not depend on t")


def test_constant_outputs_that_are_right():
    """Of N(0, 1) data the v of a variance-preserving schedule is 0 for every x and t."""
    data = np.random.default_rng(0).normal(size=(500, *SHAPE))
    assert check(lambda x, t: jnp.zeros_like(x), VP(), "v", data=data) == []


def test_a_step_of_a_sampler_is_no_network():
    model = sound(SD, "x0")

    def step(x, t):
        """x_t -> x_{t - 1/1000}, as DDIM has it."""
        x0, s = model(x, t), t - 1e-3
        return SD.alpha(s) * x0 + SD.sigma(s) / SD.sigma(t) * (x - SD.alpha(t) * x0)

    for prediction in ("eps", "x0", "v"):
        only(check(step, SD, prediction), "fit no prediction", "not a step of a sampler")


def test_an_edm_denoiser_without_its_rescaling():
    """In another schedule it wants x / alpha, and sigma / alpha instead of t."""
    inner = sound(EDM(), "x0")
    remedy = "solvers.bind(denoiser, label, schedule)"
    only(check(inner, SD, "x0"), "look like x0 of sigma and x / alpha, not x0 of t", remedy)
    halfway = solvers.time_units(inner, Flow(), "sigma")
    only(check(halfway, Flow(), "x0", t_start=0.99), "look like x0 of t and x / alpha, not x0 of t", remedy)


def test_weak_guidance_is_no_fault():
    """On data of the class that it guides to."""
    component = MIXTURE._replace(weights=np.array([0.0, 1.0, 0.0]))
    data = np.asarray(gaussian.sample_data(component, jax.random.key(6), 300))
    denoiser = gaussian.denoiser(component, EDM())
    assert check(denoiser, EDM(), "x0", data) == []
    assert check(solvers.guided(denoiser, sound(EDM(), "x0"), 1.5), EDM(), "x0", data) == []


def test_usage_errors():
    with pytest.raises(ValueError, match="unknown prediction 'noise': choose one of eps"):
        check(sound(EDM()), prediction="noise")
    for data, got in ((DATA[0], r"float32 \[4, 2, 1\]"), (np.zeros((3, *SHAPE), np.uint8), r"uint8 \[3, 4, 2, 1\]")):
        with pytest.raises(ValueError, match=rf"must be floating-point \['K', 4, 2, 1\].*got {got}"):
            check(sound(EDM()), data=data)
