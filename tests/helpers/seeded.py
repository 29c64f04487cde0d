"""Random weights and inputs that a name and a shape determine: the originals and our networks are given the same."""

import zlib

import numpy as np


def weights(name: str, shape) -> np.ndarray:
    """float32 [*shape], of a scale at which signals neither vanish nor grow from layer to layer."""
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) < 2:  # norms' factors are near 1, all offsets small
        factor = name.endswith(("weight", "scale")) or name.endswith("freqs") or name.endswith("W")
        return (factor + 0.1 * normal).astype(np.float32)
    return (normal * (np.prod(shape) / max(shape)) ** -0.5).astype(np.float32)


def inputs(batch: int, resolution: int, channels: int = 3) -> np.ndarray:
    """float32 [batch, resolution, resolution, channels]."""
    return np.random.default_rng(0).standard_normal((batch, resolution, resolution, channels)).astype(np.float32)
