"""Weights and images by seed, the same for the original code and for ours."""

import numpy as np

from models.convert import inception as files

SIZES = ((32, 32), (64, 64), (40, 56), (299, 299))
COUNT = 16  # images of each


def images_of(size) -> np.ndarray:
    """uint8 [16, H, W, 3]."""
    return np.random.default_rng(size).integers(0, 256, (COUNT, *size, 3), dtype=np.uint8)


def torch_weights() -> dict[str, np.ndarray]:
    """float32 by PyTorch's names, of a scale at which activations stay of order one."""
    rng, found = np.random.default_rng(0), {}
    for path, shape in sorted(files.layers().items()):
        layer, leaf = path.rsplit("/", 1)
        if leaf == "bias":
            continue
        if layer == "softmax":
            found |= {"fc.weight": rng.standard_normal(shape[::-1], np.float32) / 45}
            found |= {"fc.bias": rng.standard_normal(shape[1], np.float32)}
            continue
        name, (height, width, inside, outside) = files._torch(layer.replace(".", "/")), shape
        weight = rng.standard_normal((outside, inside, height, width), np.float32)
        found[f"{name}.conv.weight"] = weight * np.float32(np.sqrt(2 / (height * width * inside)))
        found[f"{name}.bn.weight"] = np.ones(outside, np.float32)
        found[f"{name}.bn.running_var"] = rng.uniform(0.5, 1.5, outside).astype(np.float32)
        for leaf in ("bias", "running_mean"):
            found[f"{name}.bn.{leaf}"] = rng.standard_normal(outside, np.float32) / 10
    return found
