"""ADM, the networks of guided diffusion (Dhariwal and Nichol 2021, arXiv 2105.05233), as EDM's DhariwalUNet has them.

    encoder   a level per resolution: `blocks` residual blocks, attention at `attention` resolutions, then halved   (1)
    decoder   the same upwards, `blocks` + 1 residual blocks on top of the encoder's outputs                        (2)
    head      norm, SiLU, 3x3 convolution                                                                           (3)

The embedding scales and shifts the second norm of every block; attention has heads of `head` channels. The noisy
classifier is (1), the middle of (2), and an attention that pools over positions:

    pooled = attention of the mean position over all positions, embedded                                            (4)
"""

from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.attention import attend
from models.layers import Block, Part, Style, norm, positions


def style_of(net) -> Style:
    return Style(net.dtype, 1e-5, True, 1.0, net.head)


def encoding(net) -> Iterator[Part]:
    """The parts of (1), in order."""
    for level, multiplier in enumerate(net.multipliers):
        size = f"{net.resolution >> level}x{net.resolution >> level}"
        if level:
            yield Part(f"{size}_down", "block", int(net.channels * net.multipliers[level - 1]), resample="down")
        else:
            yield Part(f"{size}_conv", "conv", int(net.channels * multiplier))
        for i in range(net.blocks):
            attends = net.resolution >> level in net.attention
            yield Part(f"{size}_block{i}", "block", int(net.channels * multiplier), attends)


def middle(net) -> Iterator[Part]:
    level = len(net.multipliers) - 1
    size, width = f"{net.resolution >> level}x{net.resolution >> level}", int(net.channels * net.multipliers[-1])
    yield Part(f"{size}_in0", "block", width, True)
    yield Part(f"{size}_in1", "block", width)


def decoding(net) -> Iterator[Part]:
    """The parts of (2), in order."""
    yield from middle(net)
    for level in range(len(net.multipliers) - 1, -1, -1):
        size, width = f"{net.resolution >> level}x{net.resolution >> level}", int(net.channels * net.multipliers[level])
        if level < len(net.multipliers) - 1:
            yield Part(f"{size}_up", "block", int(net.channels * net.multipliers[level + 1]), resample="up")
        for i in range(net.blocks + 1):
            yield Part(f"{size}_block{i}", "block", width, net.resolution >> level in net.attention, pops=True)


def embed_noise(net, c_noise):
    dense = lambda name: nn.Dense(4 * net.channels, dtype=net.dtype, name=name)  # noqa: E731
    noise = nn.silu(dense("map_layer0")(positions(c_noise, net.channels, endpoint=False)))
    return dense("map_layer1")(noise)


def run(net, part: Part, prefix: str, x, embedding):
    """One part of a network; called inside its `__call__`."""
    name = f"{prefix}_{part.name}"
    if part.kind == "conv":
        return nn.Conv(part.channels, (3, 3), dtype=net.dtype, name=name)(x)
    return Block(part.channels, style_of(net), part.attention, part.resample, name=name)(x, embedding)


class ADM(nn.Module):
    """`__call__(x [B, H, W, C], c_noise [B], labels [B] int) -> [B, H, W, out_channels]`.

    Labels run from 0 to `classes` - 1; `labels == classes` means "no label", which networks trained without label
    dropout do not know. Twice as many `out_channels` as C: mean and variance. H = W = `resolution`.
    """

    resolution: int = 64
    out_channels: int = 3
    classes: int = 0
    channels: int = 192
    multipliers: Sequence[float] = (1, 2, 3, 4)
    blocks: int = 3
    attention: Sequence[int] = (32, 16, 8)
    head: int = 64
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x, c_noise, labels):
        embedding = embed_noise(self, c_noise)
        if self.classes:
            table = self.param("map_label", nn.initializers.normal(1), (self.classes, 4 * self.channels))
            embedding = embedding + jax.nn.one_hot(labels, self.classes, dtype=embedding.dtype) @ table.astype(
                embedding.dtype
            )
        embedding, x = nn.silu(embedding), x.astype(self.dtype or x.dtype)
        skips = []
        for part in encoding(self):
            x = run(self, part, "enc", x, embedding)
            skips.append(x)
        for part in decoding(self):
            x = jnp.concatenate([x, skips.pop()], axis=-1) if part.pops else x
            x = run(self, part, "dec", x, embedding)
        x = nn.silu(norm(style_of(self), x.shape[-1], "out_norm")(x))
        return nn.Conv(self.out_channels, (3, 3), dtype=self.dtype, name="out_conv")(x)


class ADMClassifier(nn.Module):
    """The noisy classifier: `__call__(x [B, H, W, C], label of the time [B]) -> logits [B, classes]`."""

    resolution: int = 256
    classes: int = 1000
    channels: int = 128
    multipliers: Sequence[float] = (1, 1, 2, 2, 4, 4)
    blocks: int = 2
    attention: Sequence[int] = (32, 16, 8)
    head: int = 64
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x, time):
        embedding, x = nn.silu(embed_noise(self, time)), x.astype(self.dtype or x.dtype)
        for part in encoding(self):
            x = run(self, part, "enc", x, embedding)
        for part in middle(self):
            x = run(self, part, "dec", x, embedding)
        b, h, w, c = x.shape
        x = nn.silu(norm(style_of(self), c, "out_norm")(x)).reshape(b, h * w, c)
        x = jnp.concatenate([x.mean(1, keepdims=True), x], axis=1)  # (4)
        x = x + self.param("positions", nn.initializers.normal(c**-0.5), x.shape[1:]).astype(x.dtype)
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(x).reshape(b, h * w + 1, 3, -1, self.head)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        return nn.Dense(self.classes, dtype=self.dtype, name="proj")(attend(q[:, :1], k, v)[:, 0])
