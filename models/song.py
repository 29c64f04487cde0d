"""DDPM++ and NCSN++ (Song et al. 2021, arXiv 2011.13456) in the form of EDM (arXiv 2206.00364, appendix F).

    encoder   a level per resolution: `blocks` residual blocks, attention at `attention` resolutions           (1)
              NCSN++ adds the resampled image to each level: "skip" through a 1x1 convolution, "residual" by
              convolutions from level to level                                                                   (2)
    decoder   a level per resolution: `blocks` + 1 residual blocks on top of the encoder's outputs              (3)
              "skip" adds up an image from every level, "standard" makes one at the last                          (4)

DDPM++ embeds the noise level by `positional` sines, NCSN++ by random `fourier` frequencies, and resamples with the
filter (1, 3, 3, 1). The networks of ScoreSDE are the same ones (models/convert/score_sde.py).
"""

from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import Block, Part, Style, down, norm, positions, up


class SongUNet(nn.Module):
    """`__call__(x [B, H, W, C], c_noise [B], labels [B] int) -> [B, H, W, C]`.

    Labels run from 0 to `classes` - 1; `labels == classes` means "no label". H = W = `resolution`.
    """

    resolution: int = 32
    out_channels: int = 3
    classes: int = 0
    channels: int = 128
    multipliers: Sequence[int] = (2, 2, 2)
    blocks: int = 4
    attention: Sequence[int] = (16,)
    embedding: str = "positional"  # positional | fourier
    noise_multiplier: int = 1  # width of the noise embedding over `channels`
    encoder: str = "standard"  # standard | skip | residual
    decoder: str = "standard"  # standard | skip
    filter: Sequence[float] = (1, 1)
    dtype: jnp.dtype | None = None

    def encoding(self) -> Iterator[Part]:
        """The parts of (1) and (2), in order."""
        width = self.channels
        for level, multiplier in enumerate(self.multipliers):
            size = f"{self.resolution >> level}x{self.resolution >> level}"
            if not level:
                yield Part(f"{size}_conv", "conv", width)
            else:
                yield Part(f"{size}_down", "block", width, resample="down")
                if self.encoder == "skip":
                    yield Part(f"{size}_aux_down", "down", 0)
                if self.encoder != "standard":
                    yield Part(f"{size}_aux_{self.encoder}", self.encoder, width)
            width = self.channels * multiplier
            for i in range(self.blocks):
                yield Part(f"{size}_block{i}", "block", width, self.resolution >> level in self.attention)

    def decoding(self) -> Iterator[Part]:
        """The parts of (3) and (4), in order."""
        last = len(self.multipliers) - 1
        width = self.channels * self.multipliers[last]
        for level in range(last, -1, -1):
            size = f"{self.resolution >> level}x{self.resolution >> level}"
            if level == last:
                yield Part(f"{size}_in0", "block", width, True)
                yield Part(f"{size}_in1", "block", width)
            else:
                yield Part(f"{size}_up", "block", width, resample="up")
            width = self.channels * self.multipliers[level]
            for i in range(self.blocks + 1):
                attends = i == self.blocks and self.resolution >> level in self.attention
                yield Part(f"{size}_block{i}", "block", width, attends, pops=True)
            if self.decoder == "skip" or not level:
                if level < last and self.decoder == "skip":
                    yield Part(f"{size}_aux_up", "up", 0)
                yield Part(f"{size}_aux_norm", "norm", width)
                yield Part(f"{size}_aux_conv", "image", self.out_channels)

    def embed(self, c_noise, labels):
        width = self.noise_multiplier * self.channels
        dense = lambda out, name: nn.Dense(out, dtype=self.dtype, name=name)  # noqa: E731
        if self.embedding == "fourier":
            frequencies = self.param("freqs", nn.initializers.normal(16), (width // 2,))
            angles = c_noise[:, None] * (2 * np.pi * frequencies)
            noise = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        else:
            noise = jnp.roll(positions(c_noise, width, endpoint=True), width // 2, axis=-1)  # sines first
        if self.classes:
            noise = noise + dense(width, "map_label")(jax.nn.one_hot(labels, self.classes) * self.classes**0.5)
        noise = nn.silu(dense(4 * self.channels, "map_layer0")(noise))
        return nn.silu(dense(4 * self.channels, "map_layer1")(noise))

    @nn.compact
    def __call__(self, x, c_noise, labels):
        style = Style(self.dtype, 1e-6, False, 0.5**0.5, 0, tuple(self.filter), project=True)
        embedding = self.embed(c_noise, labels)
        x = x.astype(self.dtype or x.dtype)
        x, skips = self.encode(x, embedding, style)
        image = hidden = None
        for part in self.decoding():
            name = f"dec_{part.name}"
            if part.kind == "up":
                image = up(image, self.filter)
            elif part.kind == "norm":
                hidden = nn.silu(norm(style, part.channels, name)(x))
            elif part.kind == "image":
                more = nn.Conv(part.channels, (3, 3), dtype=self.dtype, name=name)(hidden)
                image = more if image is None else image + more
            else:
                x = jnp.concatenate([x, skips.pop()], axis=-1) if part.pops else x
                x = Block(part.channels, style, part.attention, part.resample, name=name)(x, embedding)
        return image

    def encode(self, x, embedding, style):
        """The last output of (1), (2), and all outputs that are joined with inputs of the decoder."""
        image, skips = x, []
        for part in self.encoding():
            name = f"enc_{part.name}"
            if part.kind == "down":
                image = down(image, self.filter)
            elif part.kind == "skip":
                x = skips[-1] = x + nn.Dense(part.channels, dtype=self.dtype, name=name)(image)
            elif part.kind == "residual":  # filter and convolution commute; EDM filters last, at four times the cost
                thin = nn.Conv(part.channels, (3, 3), 2, "VALID", dtype=self.dtype, name=name)
                x = skips[-1] = image = (
                    x + thin(down(image, self.filter, pad=1 + (len(self.filter) - 1) // 2))
                ) * 0.5**0.5
            else:
                if part.kind == "conv":
                    x = nn.Conv(part.channels, (3, 3), dtype=self.dtype, name=name)(x)
                else:
                    x = Block(part.channels, style, part.attention, part.resample, name=name)(x, embedding)
                skips.append(x)
        return x, skips
