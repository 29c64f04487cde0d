"""Attention over positions, by cuDNN's kernel if nothing is differentiated.

The kernel keeps no N x N matrix, but has no derivative in forward mode, which EMS need. So derivatives, and values on
other platforms, are computed from the sums written out. jax.nn.dot_product_attention with implementation="xla" is not
taken there: it rounds the softmax of float64 to float32, and asks for products of bfloat16 that older GPUs lack.
"""

import jax
import jax.numpy as jnp
from jax.extend import backend

LEAST = 8.0  # compute capability of GPUs that have the kernel


def attend(q, k, v):
    """Attention over positions, q, k, v [B, N, heads, channels] -> [B, N, heads * channels]."""
    return _attention(q, k, v).reshape(*q.shape[:2], -1)


@jax.custom_jvp
def _attention(q, k, v):
    try:
        return jax.lax.platform_dependent(q, k, v, cuda=_fused, default=_plain) if _may_fuse(q) else _plain(q, k, v)
    except (NotImplementedError, RuntimeError, ValueError):  # no cuDNN, or no kernel of it for this number of channels
        return _plain(q, k, v)


@_attention.defjvp
def _derivative(primals, tangents):
    return jax.jvp(_plain, primals, tangents)


def _may_fuse(q) -> bool:
    """True if the kernel supports this type of numbers and this GPU (a CPU has no compute capability)."""
    capability = getattr(backend.get_default_device(), "compute_capability", 0)
    return q.dtype in (jnp.bfloat16, jnp.float16) and float(capability) >= LEAST


def _fused(q, k, v):
    return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")


def _plain(q, k, v):
    logits = jnp.einsum("bqhc,bkhc->bhqk", q, k) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(logits.astype(jnp.promote_types(q.dtype, jnp.float32)), axis=-1).astype(q.dtype)
    return jnp.einsum("bhqk,bkhc->bqhc", weights, v)
