"""Converts images between uint8 and numbers in [-1, 1]."""

import numpy as np


def to_float(images):
    """uint8 [0, 255] -> float32 [-1, 1]; numpy in, numpy out, jax in, jax out."""
    return images.astype(np.float32) / np.float32(127.5) - 1


def to_uint8(images):
    """float [-1, 1] -> uint8, clipped; `to_uint8(to_float(x)) == x`; numpy in, numpy out, jax in, jax out."""
    return (images * 127.5 + 128).clip(0, 255).astype(np.uint8)
