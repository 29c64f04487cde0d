"""Computes features of images on all local devices."""

import jax
import numpy as np

from experiments.metrics.spaces import Space
from experiments.support.mesh import make_mesh, place, stream


def features(space: Space, images, batch: int = 250) -> np.ndarray:
    """Features float32 [N, F] of images uint8 [N, H, W, C], on all local devices."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"features are of uint8 images, got {images.dtype}: convert them with pixels.to_uint8")
    mesh = make_mesh(jax.local_devices())
    placed = space._replace(params=place(mesh, space.params))
    return np.concatenate([found for _, found in stream(placed.on_device, (images,), batch=batch, mesh=mesh)])
