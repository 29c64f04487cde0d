"""Inception-v3 of 2015-12-05, in the variant that FID is of (Heusel et al. 2017, arXiv 1706.08500).

It is not the Inception-v3 of other libraries: it has 1008 classes, its average pools do not count the padding, and the
last block has a maximum where the paper (Szegedy et al. 2016, arXiv 1512.00567) has an average. Parameters have the
names of the TensorFlow graph; batch normalisation is folded into kernels and biases (models/convert/inception.py).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

SIZE, FEATURES, CLASSES = 299, 2048, 1008
SPATIAL = "mixed_6/conv", 7  # the layer and its first channels, for sFID: 17 x 17 x 7 = 2023 numbers
RULE = "bilinear to 299 x 299 as TensorFlow 1 does, without half-pixel shift or antialiasing; (x - 128) / 128"
AVERAGE, MAXIMUM, HALVE = "3x3 mean", "3x3 maximum", "3x3 maximum of every second"


class Conv(NamedTuple):
    """A convolution and a ReLU."""

    name: str
    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


def _three(name, features, stride=1, padding="SAME"):
    return Conv(name, features, (3, 3), stride, padding)


def _second(name, features):
    return _three(name, features, 2, "VALID")


def _chain(tower: str, features, kernels) -> tuple:
    """tower/conv, tower/conv_1, ..."""
    names = (f"{tower}/conv" + (f"_{n}" if n else "") for n in range(len(kernels)))
    return tuple(map(Conv, names, features, kernels))


def _a(pooled):
    return [
        Conv("conv", 64),
        _chain("tower", (48, 64), ((1, 1), (5, 5))),
        _chain("tower_1", (64, 96, 96), ((1, 1), (3, 3), (3, 3))),
        (AVERAGE, Conv("tower_2/conv", pooled)),
    ]


def _c(width):
    return [
        Conv("conv", 192),
        _chain("tower", (width, width, 192), ((1, 1), (1, 7), (7, 1))),
        _chain("tower_1", (width, width, width, width, 192), ((1, 1), (7, 1), (1, 7), (7, 1), (1, 7))),
        (AVERAGE, Conv("tower_2/conv", 192)),
    ]


def _e(pool):
    def fork(tower):
        return [Conv(f"{tower}/mixed/conv", 384, (1, 3)), Conv(f"{tower}/mixed/conv_1", 384, (3, 1))]

    return [
        Conv("conv", 320),
        (Conv("tower/conv", 384), fork("tower")),
        (Conv("tower_1/conv", 448), _three("tower_1/conv_1", 384), fork("tower_1")),
        (pool, Conv("tower_2/conv", 192)),
    ]


_B = [
    _second("conv", 384),
    (Conv("tower/conv", 64), _three("tower/conv_1", 96), _second("tower/conv_2", 96)),
    HALVE,
]
_D = [
    (Conv("tower/conv", 192), _second("tower/conv_1", 320)),
    (*_chain("tower_1", (192, 192, 192), ((1, 1), (1, 7), (7, 1))), _second("tower_1/conv_3", 192)),
    HALVE,
]
STEM = (
    _second("conv", 32),
    _three("conv_1", 32, padding="VALID"),
    _three("conv_2", 64),
    HALVE,
    Conv("conv_3", 80),
    _three("conv_4", 192, padding="VALID"),
    HALVE,
)
BLOCKS = {  # name: branches, whose outputs are concatenated; a tuple is a chain
    **{"mixed": _a(32), "mixed_1": _a(64), "mixed_2": _a(64), "mixed_3": _B},
    **{"mixed_4": _c(128), "mixed_5": _c(160), "mixed_6": _c(160), "mixed_7": _c(192)},
    **{"mixed_8": _D, "mixed_9": _e(AVERAGE), "mixed_10": _e(MAXIMUM)},
}


class Inception(nn.Module):
    """`__call__(images uint8 [B, H, W, 1 or 3]) -> (features [B, 2048], spatial [B, 2023])`, float32.

    A single channel is repeated. ValueError for anything but uint8 of one or three channels. All products are float32,
    also where an accelerator would use fewer bits by default.
    """

    def __call__(self, images):
        if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            found = f"{images.dtype} {images.shape}"
            raise ValueError(f"Inception takes uint8 [B, H, W, 1 or 3], got {found}: convert with data.to_uint8")
        return self.trunk(resize(images.astype(jnp.float32)))

    @nn.compact
    def trunk(self, x):
        """(features, spatial) of resized images, float32 [B, 299, 299, 1 or 3] with values from 0 to 255."""
        seen, x = {}, (x - 128) / 128
        if x.shape[-1] == 1:
            x = jnp.repeat(x, 3, axis=-1)
        x = self._run(x, STEM, "", seen)
        for name, branches in BLOCKS.items():
            x = self._run(x, branches, f"{name}/", seen)
        name, channels = SPATIAL
        return x.mean(axis=(1, 2)), seen[name][..., :channels].reshape(len(x), -1)

    def _run(self, x, part, prefix, seen):
        """Runs a Conv, a pool, a tuple (a chain), or a list (branches)."""
        if isinstance(part, list):
            return jnp.concatenate([self._run(x, branch, prefix, seen) for branch in part], axis=-1)
        if isinstance(part, str):
            return POOLS[part](x)
        if not isinstance(part, Conv):
            for step in part:
                x = self._run(x, step, prefix, seen)
            return x
        name = prefix + part.name
        options: dict[str, Any] = {"strides": part.stride, "padding": part.padding, "precision": "highest"}
        seen[name] = nn.relu(nn.Conv(part.features, part.kernel, **options, name=name.replace("/", "."))(x))
        return seen[name]


def resize(images):
    """float32 [B, H, W, C] -> [B, 299, 299, C]: pixel i is at i H / 299, and the last one is repeated beyond."""
    for axis in (2, 1):
        size = images.shape[axis]
        if size == SIZE:
            continue
        at = np.arange(SIZE, dtype=np.float32) * np.float32(size / SIZE)
        low = at.astype(np.int32)
        shape = [SIZE if a == axis else 1 for a in range(4)]
        first, second = (jnp.take(images, i, axis=axis) for i in (low, np.minimum(low + 1, size - 1)))
        images = first + (second - first) * (at - low).reshape(shape)
    return images


def _shifts(x, axis, stride=1):
    """Three views along an axis, which start at 0, 1 and 2: on CPUs, pools of slices are faster than windows."""
    size = (x.shape[axis] - 3) // stride + 1
    for start in range(3):
        at = [slice(None)] * 4
        at[axis] = slice(start, start + (size - 1) * stride + 1, stride)
        yield x[tuple(at)]


def _halve(x):
    for axis in (2, 1):
        a, b, c = _shifts(x, axis, 2)
        x = jnp.maximum(jnp.maximum(a, b), c)
    return x


def _maximum(x):
    for axis in (2, 1):
        a, b, c = _shifts(_pad(x, axis, -jnp.inf), axis)
        x = jnp.maximum(jnp.maximum(a, b), c)
    return x


def _average(x):
    """The mean over the neighbours inside the image."""
    for axis in (2, 1):
        inside = np.full(x.shape[axis], 3, np.float32)
        inside[[0, -1]] -= 1
        x = sum(_shifts(_pad(x, axis, 0), axis)) / inside.reshape([-1 if a == axis else 1 for a in range(4)])
    return x


def _pad(x, axis, value):
    return jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)], constant_values=value)


POOLS = {AVERAGE: _average, MAXIMUM: _maximum, HALVE: _halve}


def logits(params, features, bias: bool = False) -> np.ndarray:
    """Logits [.., 1008] of features [.., 2048], float32. Inception scores are usually computed without the bias."""
    found = np.asarray(features, np.float32) @ np.asarray(params["softmax"]["kernel"])
    return found + np.asarray(params["softmax"]["bias"]) if bias else found
