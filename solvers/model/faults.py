"""`check_model`: says in sentences what is wrong with a function that was wrapped as a model."""

import jax
import jax.numpy as jnp
import numpy as np

from solvers.model.form import forward_mode, interface
from solvers.model.readings import LEVELS, Probe, Reading, best_reading, excess, explain
from solvers.prediction import convert

ENTRIES = 2048  # numbers in all points together
POINTS = 16, 256  # fewest and most points
SUSPECT = 0.03  # above, an excess (readings.py) needs an explanation: another reading, or an input that is ignored
UNSOUND = 0.5  # above, an excess is a fault even without an explanation


def check_model(model, schedule, prediction, shape, key=None, data=None, t_start=None, t_end=None) -> list[str]:
    """What is wrong with `model(x [*shape], t) -> out [*shape]`: a sentence with its remedy per fault; [] if nothing.

    Looks for wrong shapes, batch axes and variance channels; for what cannot be traced, vmapped, or differentiated in
    forward mode; for NaN and inf from t_start to t_end (None: the schedule's t_max, t_min); for another prediction,
    sign or unit of time than declared; for outputs that ignore x or t, change from call to call, or mix the rows of a
    batch. Shapes and tracing are judged first, and alone where they fail.

    With data [K, *shape], in the range the network was trained on, readings are told apart more surely. A sound
    network is called some 40 times, a suspect one some hundred times, for 16 to 256 points at once. A guided model is
    no mean of x0: check the models it is made of. ValueError for an unknown prediction or data of another shape.
    """
    convert(1.0, 1.0, prediction, "x0")  # refuses unknown names
    dtype = jnp.result_type(float)
    x, t = jax.ShapeDtypeStruct(tuple(shape), dtype), jax.ShapeDtypeStruct((), dtype)
    found = interface(model, x, t)
    if found:
        return found
    ends = (schedule.t_max if t_start is None else t_start), (schedule.t_min if t_end is None else t_end)
    probe = _prepare(model, schedule, x, key, data, ends)
    with np.errstate(all="ignore"):
        return forward_mode(model, x, t) + _finite(probe) + _purity(model, probe) + _skill(probe, Reading(prediction))


def _prepare(model, schedule, x, key, data, ends) -> Probe:
    points = int(np.clip(ENTRIES // max(np.prod(x.shape), 1), *POINTS))
    k_noise, k_data = jax.random.split(jax.random.key(0) if key is None else key)
    noise = np.asarray(jax.random.normal(k_noise, (points, *x.shape)), np.float64)
    if data is not None:
        data = np.asarray(data)
        if data.shape[1:] != x.shape or not len(data) or not np.issubdtype(data.dtype, np.floating):
            raise ValueError(
                f"data must be floating-point {['K', *x.shape]}, in the range the network was trained on, "
                f"got {data.dtype} {list(data.shape)}"
            )
        data = data[np.asarray(jax.random.randint(k_data, (points,), 0, len(data)))].astype(np.float64)
    return Probe(_evaluator(model, x.dtype), schedule, noise, data, ends)


def _evaluator(model, dtype):
    call = jax.jit(jax.vmap(model, in_axes=(0, None)))
    return lambda x, t: np.asarray(call(jnp.asarray(x, dtype), jnp.asarray(t, dtype)), np.float64)


def _some(probe):
    """x0 [P, *D] for checks that need some input, whether or not it looks like data."""
    return 0.5 * np.roll(probe.noise, 1, axis=0) if probe.x0 is None else probe.x0


def _finite(probe) -> list[str]:
    schedule, x0 = probe.schedule, _some(probe)
    bad = [
        f"t={t:.6g} (sigma={schedule.sigma(t):.4g}, alpha={schedule.alpha(t):.4g})"
        for t in (probe.ends[0], *probe.times(x0), probe.ends[1])
        if not np.all(np.isfinite(probe.call(probe.noisy(x0, t), t)))
    ]
    remedy = "mend the model there, or choose t_start and t_end inside"
    return [f"the output is NaN or inf at {', '.join(bad)}: {remedy}"] if bad else []


def _purity(model, probe) -> list[str]:
    """The fault if equal calls give different outputs, or if a row of a batch depends on other rows."""
    t = probe.times(_some(probe))[LEVELS // 2]
    x = probe.noisy(_some(probe), t)
    out, again = probe.call(x, t), probe.call(x, t)
    trace = str(jax.make_jaxpr(lambda x, t: model(x, t))(x[0], t))
    if "random_bits" in trace or "rng_" in trace:  # a key that is made in Python changes from trace to trace
        again = _evaluator(lambda x, t: model(x, t), jnp.result_type(float))(x, t)
    if _differ(out, again):
        return ["two calls with equal x and t differ: switch dropout off (deterministic=True), draw no noise"]
    if _differ(out[0], probe.call(np.concatenate([x[:1], -3 * x[1:]]), t)[0]):
        return [
            "the output for a sample changes with the other rows of its batch: normalise within a sample, "
            "or batch norm with its running averages"
        ]
    return []


def _differ(a, b) -> bool:
    """True if a and b differ by more than another order of summation explains; NaN never differs."""
    return bool(np.any(np.abs(a - b) > 1e-3 * np.sqrt(np.mean(np.square(a)))))


def _skill(probe, declared) -> list[str]:
    """The fault, with its explanation, if the excess of the declared reading is too large."""
    worst, _ = excess(probe, declared)
    if worst <= SUSPECT:
        return []
    x0 = _some(probe)
    outputs = probe.outputs(declared.unit, x0)
    finite = np.all(np.isfinite(outputs))
    if finite and not any(_differ(out, out[:1]) for out in outputs):
        return ["the output does not depend on x: pass the network itself, not a sampler, and pass x on to it"]
    best, least = best_reading(probe, declared, worst)
    if best != declared:
        return [explain(declared, worst, best, least)]
    times = probe.times(x0)
    x = probe.noisy(x0, times[LEVELS // 2])
    if finite and not any(_differ(probe.call(x, times[0]), probe.call(x, t)) for t in times):
        return ["the output does not depend on t: pass t on to the network, in its unit (solvers.time_units)"]
    if finite and worst > UNSOUND:
        how = f"{np.exp(worst):.3g} times the least possible square error" if worst < np.inf else "samples diverge"
        return [
            f"the outputs fit no prediction (as {declared.prediction}: {how}): pass the network itself, not a step of "
            "a sampler, in the units of x and t and with the data that it was trained on"
        ]
    return []
