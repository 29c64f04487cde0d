"""Attention: its values, all its derivatives, and where cuDNN's kernel takes its place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.extend import backend

import models
from models import attention
from tests.models.test_precision import NETWORKS, SHAPE, seeded_params

KERNEL = "jax._src.cudnn.fused_attention_stablehlo"  # nothing public says whether it is there
ALLOW = [export.DisabledSafetyCheck.custom_call("__cudnn$fmhaSoftmax")]  # which may change with versions of jax


def written_out(q, k, v):
    """exp(q k / sqrt(c)) over its sum, times v, head by head."""
    weights = jnp.exp(jnp.einsum("bqhc,bkhc->bhqk", q, k) / np.sqrt(q.shape[-1]))
    weights /= weights.sum(axis=-1, keepdims=True)
    return jnp.stack([weights[:, h] @ v[:, :, h] for h in range(q.shape[2])], axis=2).reshape(*q.shape[:2], -1)


def arrays(*shape, dtype=np.float64, count=3):
    return tuple(np.random.default_rng(i).normal(size=shape).astype(dtype) for i in range(count))


def second(f, args, along):
    """The derivative along `along` of that along `along`, as EMS take it."""
    first = lambda *args: jax.jvp(f, args, along)[1]  # noqa: E731
    return jax.jvp(first, args, along)[1]


TRANSFORMED = {
    "value": lambda f, args, along: f(*args),
    "vmap": lambda f, args, along: jax.vmap(f)(*(jnp.stack([a, b]) for a, b in zip(args, along))),
    "grad": lambda f, args, along: jax.grad(lambda *args: jnp.sin(f(*args)).sum(), (0, 1, 2))(*args),
    "grad, remat": lambda f, args, along: jax.grad(lambda *a: jnp.sin(jax.checkpoint(f)(*a)).sum(), (0, 1, 2))(*args),
    "jvp": lambda f, args, along: jax.jvp(f, args, along),
    "linearize": lambda f, args, along: jax.linearize(f, *args)[1](*along),
    "vmap of linearize": lambda f, args, along: jax.vmap(lambda *a: jax.linearize(f, *a)[1](*a))(
        *(a[None] for a in args)
    ),
    "vmap over tangents": lambda f, args, along: jax.vmap(jax.linearize(f, *args)[1])(*(a[None] for a in along)),
    "jvp of jvp": second,
    "grad of jvp": lambda f, args, along: jax.grad(lambda *args: jax.jvp(f, args, along)[1].sum(), (0, 1, 2))(*args),
}


@pytest.fixture
def gpu(monkeypatch):
    """What is asked before the kernel is taken is answered as on a GPU: for programs that are not run."""

    def answer(capability="8.0"):
        monkeypatch.setattr(backend, "get_default_device", lambda: type("", (), {"compute_capability": capability}))
        monkeypatch.setattr(f"{KERNEL}.check_cudnn_version", lambda: 91000)

    answer()
    return answer


@pytest.mark.parametrize("name", TRANSFORMED)
def test_values_and_derivatives(name, x64):
    q, k, v = arrays(2, 5, 3, 4)
    args, along = (q[:, :2], k, v), tuple(a[::-1] for a in (q[:, :2], v, k))
    found, wanted = (jax.jit(lambda f=f: TRANSFORMED[name](f, args, along))() for f in (attention.attend, written_out))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), found, wanted)


def kernels(function, *args, platforms=("cuda",)) -> int:
    """How often a program for these platforms calls the kernel."""
    fresh = jax.jit(lambda *args: function(*args))  # not what was traced for another GPU
    program = export.export(fresh, platforms=platforms, disabled_checks=ALLOW)(*args)
    return program.mlir_module().count("__cudnn$fmhaSoftmax(")


def test_the_kernel_is_taken_on_a_gpu_and_where_nothing_is_differentiated(gpu):
    half = arrays(2, 6, 3, 64, dtype=jnp.bfloat16)
    assert kernels(attention.attend, *half) == 1
    assert [kernels(attention.attend, *half, platforms=(other,)) for other in ("cpu", "tpu")] == [0, 0]
    for name in set(TRANSFORMED) - {"value", "vmap"}:
        assert kernels(lambda *args, f=TRANSFORMED[name]: f(attention.attend, args, args), *half) == 0, name
    assert kernels(attention.attend, *arrays(2, 6, 3, 64, dtype=np.float32)) == 0
    assert kernels(attention.attend, *arrays(2, 6, 3, 100, dtype=jnp.bfloat16)) == 0  # no multiple of 8
    value = jax.jit(lambda *args: attention.attend(*args))(*half)  # runs here, where the kernel is not
    np.testing.assert_allclose(np.float64(value), written_out(*map(np.float64, half)), atol=0.05)


@pytest.mark.parametrize("capability", ["7.5", "gfx90a"])
def test_other_gpus_do_without(gpu, capability):
    gpu(capability)
    assert kernels(attention.attend, *arrays(2, 6, 3, 64, dtype=jnp.bfloat16)) == 0


@pytest.mark.parametrize("name", ["unet", "ddpmpp", "adm"])
def test_networks_take_the_kernel_under_vmap(name, gpu):
    """It can only be batched along first axes: over samples, and over groups of them."""
    make = models.denoisers({"network": NETWORKS[name], "precondition": {"name": "vp"}}, "bfloat16")
    one = lambda params, x, t, label: models.bind(make(params), label)(x, t)  # noqa: E731
    over = jax.vmap(jax.vmap(one, (None, 0, None, 0)), (None, 0, None, 0))
    args = seeded_params(name), np.zeros((2, 2, *SHAPE), "f"), np.float32(1), np.zeros((2, 2), np.int32)
    assert kernels(over, *args) == {"unet": 2, "ddpmpp": 3, "adm": 4}[name]
