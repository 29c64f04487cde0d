"""Checks from traces, without computing, that a function has the form of a model, `model(x [*D], t) -> out [*D]`."""

import jax
import jax.numpy as jnp


def interface(model, x, t) -> list[str]:
    """Faults of the form, in sentences; x and t are the ShapeDtypeStructs of a sample and of a time."""
    try:
        out = jax.eval_shape(model, x, t)
    except Exception as error:
        return [_untraceable(model, x, t, error)]
    if not hasattr(out, "shape"):
        return [f"the model returns a {type(out).__name__}, not an array: return the prediction alone, e.g. out[0]"]
    found = _shape(out.shape, x.shape)
    if not jnp.issubdtype(out.dtype, jnp.floating):
        found.append(f"the model returns {out.dtype}: return floating-point numbers, e.g. out.astype(x.dtype)")
    try:
        _lower(model, x, t)
    except Exception as error:
        found.append(
            f"jax.vmap of the model fails ({_first_line(error)}): it must be a pure JAX function of one sample; "
            "callbacks need a vmap_method, Pallas kernels a batching rule"
        )
    return found


def forward_mode(model, x, t) -> list[str]:
    """The fault if the model has no derivative in forward mode; else empty."""
    try:
        _lower(lambda x, t: jax.jvp(model, (x, t), (x, t)), x, t)
    except Exception as error:
        return [
            f"the model has no forward-mode derivative, which EMS (DPM-Solver-v3) need ({_first_line(error)}): replace "
            "kernels that define a backward pass only (custom_vjp), such as flash attention: "
            'jax.nn.dot_product_attention has a derivative with implementation="xla", none with "cudnn"'
        ]
    return []


def _lower(function, x, t):
    """Traces and lowers the function for a batch of two; raises what a call would raise."""
    jax.jit(jax.vmap(function)).lower(*(jax.ShapeDtypeStruct((2, *a.shape), a.dtype) for a in (x, t)))


def _shape(shape, wanted) -> list[str]:
    """Faults of the output's shape: a batch axis, variance channels, or another shape."""
    found = []
    if shape[:1] == (1,) and len(shape) == len(wanted) + 1:
        found.append(f"the model returns a batch axis, {shape} for a sample of shape {wanted}: return out[0]")
        shape = shape[1:]
    for axis in (len(wanted) - 1, 0) if wanted else ():
        if shape == (*wanted[:axis], 2 * wanted[axis], *wanted[axis + 1 :]):
            return [
                *found,
                f"the model returns twice the channels, {shape} for a sample of shape {wanted}, mean and variance by "
                f"the look of it: wrap the network in solvers.mean_only(network, {wanted[axis]}, axis={axis})",
            ]
    if shape != wanted:
        found.append(f"the model returns shape {shape} for a sample of shape {wanted}: return the sample's shape")
    return found


def _untraceable(model, x, t, error) -> str:
    """The fault if it does not run on one sample."""
    wide = jax.ShapeDtypeStruct((1, *x.shape), x.dtype)
    for how, time in (("x[None], t[None]", jax.ShapeDtypeStruct((1,), t.dtype)), ("x[None], t", t)):
        try:
            jax.eval_shape(model, wide, time)
        except Exception:
            continue
        return f"the model expects a batch axis: pass lambda x, t: network({how})[0], a function of one sample"
    if isinstance(error, jax.errors.JAXTypeError):
        remedy = "x or t is used as a plain number or a numpy array; write jnp for np, jnp.where for if"
    elif "cudnn" in str(error).lower():
        remedy = 'cuDNN is not there; use jax.nn.dot_product_attention(..., implementation="xla")'
    else:
        remedy = "it must be a function of x and t alone; fix parameters and labels by a lambda, or by solvers.bind"
    return f"the model cannot be traced on a sample of shape {x.shape}: {remedy} ({_first_line(error)})"


def _first_line(error) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
