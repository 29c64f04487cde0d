"""A compact U-Net of the DDPM++ kind (Song et al. 2021, arXiv 2011.13456; EDM, arXiv 2206.00364, appendix F).

    stem    [H, W, C] -> patches of 2x2 -> 3x3 convolution                                     (1)
    level   `blocks` residual blocks; between levels the grid is halved and folded into channels  (2)
    middle  a residual block with self-attention, and one without                              (3)
    level   `blocks` residual blocks, each on top of the skip connection of its twin in (2)    (4)
    head    norm, SiLU, 3x3 convolution (zero at first) -> depth to space                      (5)

The patch stem makes an evaluation about three times cheaper than the same network at full resolution.
Noise enters through sines and cosines of c_noise = log(sigma) / 4 at frequencies from 0.25 to 8 only: higher
ones make the denoiser wiggle in sigma, which spoils derivatives in the noise level and stalls high-order solvers.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from models.attention import attend
from models.layers import GroupNorm

GROUP = 8  # channels per group of a GroupNorm
LOW, HIGH, COUNT = 0.25, 8.0, 16  # angular frequencies of the noise embedding: geometric from LOW to HIGH


def space_to_depth(x, size: int):
    """[B, H, W, C] -> [B, H / size, W / size, size * size * C]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // size, size, w // size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // size, w // size, size * size * c)


def depth_to_space(x, size: int):
    """[B, H, W, size * size * C] -> [B, H * size, W * size, C]; the inverse of `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, size, size, c // size**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * size, w * size, c // size**2)


def noise_features(c_noise):
    """c_noise [B] -> cosines and sines [B, 2 * COUNT]."""
    angle = c_noise[:, None] * np.geomspace(LOW, HIGH, COUNT).astype(np.float32)
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def group_norm(x, name: str) -> GroupNorm:
    return GroupNorm(x.shape[-1] // GROUP, name=name)


class Attention(nn.Module):
    """Self-attention over all positions, one head (as DDPM++; XLA:CPU is slow at many small products)."""

    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        y = group_norm(x, "norm")(x).reshape(b, h * w, c)
        q, k, v = jnp.split(nn.Dense(3 * c, dtype=self.dtype, name="qkv")(y)[:, :, None], 3, axis=-1)
        y = attend(q, k, v).reshape(x.shape)
        return x + nn.Dense(c, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(y)


class Block(nn.Module):
    """Residual block: norm, SiLU, convolution twice; the embedding [B, E] scales and shifts between them."""

    channels: int
    attention: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x, embedding):
        y = nn.silu(group_norm(x, "norm0")(x))
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype, name="conv0")(y)
        scale, shift = jnp.split(nn.Dense(2 * self.channels, dtype=self.dtype, name="affine")(embedding), 2, axis=-1)
        y = nn.silu(group_norm(y, "norm1")(y, scale, shift))
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype, kernel_init=nn.initializers.zeros, name="conv1")(y)
        if x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, dtype=self.dtype, name="skip")(x)
        x = (x + y) * 0.5**0.5
        return Attention(dtype=self.dtype, name="attention")(x) if self.attention else x


class UNet(nn.Module):
    """The network F of EDM. `__call__(x [B, H, W, C], c_noise [B], labels [B] int) -> [B, H, W, C]`.

    Labels run from 0 to `classes`; `labels == classes` means "no label". H and W must be multiples of
    `patch * 2**(levels - 1)`, channels of 8. `dtype` is the precision of the matrix products (None: that of the
    parameters and the input); parameters stay in float32.
    """

    channels: int = 48
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 2
    classes: int = 10
    patch: int = 2
    dtype: jnp.dtype | None = None

    def check(self, shape):
        size = self.patch * 2 ** (len(self.multipliers) - 1)
        if shape[1] % size or shape[2] % size:
            raise ValueError(
                f"images of {shape[1]} x {shape[2]} do not divide into {size} x {size}: pad them, or use "
                f"fewer than {len(self.multipliers)} levels or a patch below {self.patch}"
            )
        if self.channels % GROUP:
            raise ValueError(f"channels = {self.channels} is not a multiple of {GROUP}, the size of a norm's group")

    def embed(self, c_noise, labels):
        width = 4 * self.channels
        noise = nn.Dense(width, dtype=self.dtype, name="noise0")(noise_features(c_noise))
        noise = nn.Dense(width, dtype=self.dtype, name="noise1")(nn.silu(noise))
        return nn.silu(noise + nn.Embed(self.classes + 1, width, dtype=noise.dtype, name="label")(labels))

    @nn.compact
    def __call__(self, x, c_noise, labels):
        self.check(x.shape)
        out, last = x.shape[-1], len(self.multipliers) - 1
        widths = [self.channels * m for m in self.multipliers]
        dense = lambda width, name: nn.Dense(width, dtype=self.dtype, name=name)  # noqa: E731
        block = lambda width, name, attend: Block(width, attend, self.dtype, name=name)  # noqa: E731
        embedding = self.embed(c_noise, labels)
        x = nn.Conv(widths[0], (3, 3), dtype=self.dtype, name="stem")(space_to_depth(x, self.patch))  # (1)
        skips = []
        for level, width in enumerate(widths):  # (2)
            if level:
                x = dense(width, f"down{level}")(space_to_depth(x, 2))
            for i in range(self.blocks):
                x = block(width, f"down{level}_{i}", level == last)(x, embedding)
                skips.append(x)
        x = block(widths[-1], "middle0", True)(x, embedding)  # (3)
        x = block(widths[-1], "middle1", False)(x, embedding)
        for level, width in reversed(list(enumerate(widths))):  # (4)
            for i in range(self.blocks):
                x = block(width, f"up{level}_{i}", False)(jnp.concatenate([x, skips.pop()], axis=-1), embedding)
            if level:
                x = depth_to_space(dense(4 * widths[level - 1], f"up{level}")(x), 2)
        x = nn.silu(group_norm(x, "norm")(x))  # (5)
        x = nn.Conv(self.patch**2 * out, (3, 3), dtype=self.dtype, kernel_init=nn.initializers.zeros, name="head")(x)
        return depth_to_space(x, self.patch)
