"""Layers and blocks of the U-Nets of EDM, ScoreSDE and guided diffusion (arXiv 2206.00364, appendix F; 2105.05233).

Images are [B, H, W, C]; `dtype` is the precision of the matrix products (None: that of the parameters and the input).
Statistics and softmax are taken in float32 or better, whatever the precision.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.attention import attend


class GroupNorm(nn.Module):
    """Group normalisation, followed by an optional affine map per sample.

    The statistics, the learned affine map and `(scale, shift)` [B, C] are merged into one multiply-add per
    element: passes over the feature map cost more than the arithmetic.
    """

    groups: int
    eps: float = 1e-5

    @nn.compact
    def __call__(self, x, scale=None, shift=None):
        b, c = x.shape[0], x.shape[-1]
        wide = jnp.promote_types(x.dtype, jnp.float32)
        gamma = self.param("scale", nn.initializers.ones, (c,))
        beta = self.param("bias", nn.initializers.zeros, (c,))
        y = x.astype(wide)
        axes, size = tuple(range(1, x.ndim - 1)), c // self.groups
        per_group = lambda mean: jnp.repeat(mean.reshape(b, self.groups, size).mean(-1), size, axis=-1)  # noqa: E731
        mean = per_group(y.mean(axes))
        variance = per_group(jnp.square(y).mean(axes)) - jnp.square(mean)
        gain = jax.lax.rsqrt(jnp.maximum(variance, 0.0) + self.eps) * gamma
        offset = beta - mean * gain
        if scale is not None:
            scale, shift = 1 + scale.astype(wide), shift.astype(wide)
            gain, offset = gain * scale, offset * scale + shift
        over = (b, *(1,) * len(axes), c)
        return (y * gain.reshape(over) + offset.reshape(over)).astype(x.dtype)


def taps(x, axis: int, weights, start: int, count: int, stride: int):
    """sum_k weights[k] x[start + stride i + k] for i < count along an axis, with zeros beyond the ends.

    Computed as shifted sums: a grouped convolution of this kind is many times slower on a CPU.
    """
    before = max(0, -start)
    after = max(0, start + stride * (count - 1) + len(weights) - x.shape[axis])
    x = jnp.pad(x, [(before, after) if a == axis else (0, 0) for a in range(x.ndim)])
    first = start + before
    last = first + stride * (count - 1) + 1
    parts = (jax.lax.slice_in_dim(x, first + k, last + k, stride, axis) * w for k, w in enumerate(weights))
    return sum(parts)


def down(x, kernel: Sequence[float] = (1, 1), pad: int = 0):
    """Half the resolution, after a separable low-pass filter; `pad` > 0: filtered at full resolution, for a
    convolution of stride 2 without padding."""
    weights = np.asarray(kernel, np.float32) / np.sum(kernel)
    stride, edge = (1, pad) if pad else (2, (len(kernel) - 1) // 2)
    for axis in (1, 2):
        count = (x.shape[axis] + 2 * edge - len(kernel)) // stride + 1
        x = taps(x, axis, weights.astype(x.dtype), -edge, count, stride)
    return x


def up(x, kernel: Sequence[float] = (1, 1)):
    """Twice the resolution: zeros between pixels, then a separable low-pass filter of gain 2 per axis."""
    if tuple(kernel) == (1, 1):
        return x.repeat(2, axis=1).repeat(2, axis=2)
    weights = 2 * np.asarray(kernel, np.float32) / np.sum(kernel)
    edge = (len(kernel) - 1) // 2
    for axis in (1, 2):
        n, phases = x.shape[axis], []
        for phase in (0, 1):  # of output 2 j + phase, the taps with k = phase + edge (mod 2), from pixel j on backwards
            part = weights[(phase + edge) % 2 :: 2][::-1].astype(x.dtype)
            newest = (phase + edge) // 2
            phases.append(taps(x, axis, part, newest - len(part) + 1, n, 1))
        x = jnp.stack(phases, axis=axis + 1).reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x


def positions(time, channels: int, endpoint: bool):
    """Cosines, then sines, [B, channels] of `time` [B] times frequencies from 1 down to 1e-4."""
    half = channels // 2
    powers = np.arange(half) / (half - endpoint)
    angles = time[:, None] * (1e-4**powers).astype(np.float32)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class Part(NamedTuple):
    """A part of a U-Net, named as in EDM: kind is block, conv, or what the image's own path does."""

    name: str
    kind: str
    channels: int
    attention: bool = False
    resample: str = ""
    pops: bool = False  # its input is joined with an output of the encoder


class Style(NamedTuple):
    """Settings that all blocks of one family share."""

    dtype: jnp.dtype | None
    eps: float  # added to the variance in norms
    adaptive: bool  # the embedding scales and shifts the second norm; else it is added before it
    scale: float  # factor of residual sums
    head: int  # channels of an attention head; 0: one head
    filter: tuple = (1, 1)  # for resampling
    project: bool = False  # a resampled shortcut is always projected


def norm(style: Style, channels: int, name: str) -> GroupNorm:
    """GroupNorm with at most 32 groups of at least 4 channels."""
    return GroupNorm(min(32, channels // 4), style.eps, name=name)


class Block(nn.Module):
    """Residual block, [B, H, W, C] and an embedding [B, E] -> [B, H', W', channels]; attention after it.

    resample: "" | "up" | "down", inside the block and on its shortcut.
    """

    channels: int
    style: Style
    attention: bool = False
    resample: str = ""

    @nn.compact
    def __call__(self, x, embedding):
        style, channels = self.style, self.channels
        dense = lambda width, name: nn.Dense(width, dtype=style.dtype, name=name)  # noqa: E731
        conv = lambda name: nn.Conv(channels, (3, 3), dtype=style.dtype, name=name)  # noqa: E731
        turn = {"": lambda x: x, "up": lambda x: up(x, style.filter), "down": lambda x: down(x, style.filter)}
        y = nn.silu(norm(style, x.shape[-1], "norm0")(x))
        y = conv("conv0")(turn[self.resample](y))
        told = dense((1 + style.adaptive) * channels, "affine")(embedding)
        if style.adaptive:
            y = norm(style, channels, "norm1")(y, *jnp.split(told, 2, axis=-1))
        else:
            y = norm(style, channels, "norm1")(y + told[:, None, None])
        y = conv("conv1")(nn.silu(y))
        short = turn[self.resample](x)
        if x.shape[-1] != channels or (self.resample and style.project):
            short = dense(channels, "skip")(short)
        x = (short + y) * style.scale
        if not self.attention:
            return x
        b, h, w, c = x.shape
        flat = norm(style, c, "norm2")(x).reshape(b, h * w, c)
        qkv = dense(3 * c, "qkv")(flat).reshape(b, h * w, 3, -1, style.head or c)
        y = dense(c, "proj")(attend(*jnp.moveaxis(qkv, 2, 0)))
        return (x + y.reshape(x.shape)) * style.scale
