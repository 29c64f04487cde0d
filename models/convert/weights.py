"""From the tensors of a file to the parameters of a network, each named once.

A layout says for every parameter of the network, by its path, which tensors of the file it is made of: a `Source`.
Nothing is left over on either side, or `convert` fails with the whole list.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from models.checkpoint import flatten, unflatten

SHOWN = 8  # how many names of each kind an error lists
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}  # flax's names -> PyTorch's


class Source(NamedTuple):
    """A parameter is `make(*tensors of these names)`."""

    names: tuple[str, ...]
    make: Callable = lambda tensor: tensor


def shapes_of(net, channels: int = 3) -> dict:
    """Path -> shape of every parameter of a network for images of so many channels, without computing any."""
    x = jnp.zeros((1, net.resolution, net.resolution, channels))
    arguments = (x, jnp.zeros(1)) + ((jnp.zeros(1, jnp.int32),) if hasattr(net, "out_channels") else ())
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), *arguments))["params"]
    return {path: leaf.shape for path, leaf in flatten(params).items()}


def kernel(weight):
    """PyTorch's [out, in, ...] -> flax's [..., in, out]; a 1x1 convolution is a matrix."""
    if weight.ndim > 2 and max(weight.shape[2:]) == 1:
        weight = weight.reshape(weight.shape[:2])
    return weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0)


def heads_first(order: str, head: int) -> Callable:
    """Rows of query, key, value [3 C, ...] in `order`, a permutation of "3hc" (h: heads, c: channels) -> "3hc"."""

    def permute(rows):
        heads = len(rows) // 3 // head if head else 1
        sizes = {"3": 3, "h": heads, "c": len(rows) // 3 // heads}
        split = rows.reshape(*(sizes[letter] for letter in order), *rows.shape[1:])
        rest = range(3, split.ndim)
        return split.transpose(*(order.index(letter) for letter in "3hc"), *rest).reshape(rows.shape)

    return permute


def convert(sources: Mapping[str, Source], tensors: Mapping, shapes: Mapping, unused=lambda name: False) -> dict:
    """Nested float32 parameters of `shapes` from the tensors of a file.

    unused(name): whether a tensor is one that sampling has no use for. ValueError lists what is missing, what is left
    over, and what has another shape.
    """
    wanted = {name for source in sources.values() for name in source.names}
    missing = sorted(wanted - set(tensors))
    left = sorted(name for name in set(tensors) - wanted if not unused(name))
    params, wrong = {}, []
    for path, source in sources.items():
        if not set(source.names) <= set(tensors):
            continue
        try:
            params[path] = np.ascontiguousarray(source.make(*(tensors[name] for name in source.names)), np.float32)
            found = params[path].shape
        except (ValueError, IndexError):
            found = None
        if found != shapes[path]:
            given = ", ".join(f"{name} {np.shape(tensors[name])}" for name in source.names)
            wrong.append(f"{given} for {path} {shapes[path]}")
    lists = {"missing": missing, "unknown": left, "of another shape": wrong}
    if any(lists.values()):
        parts = (f"{len(names)} {what}: {_some(names)}" for what, names in lists.items() if names)
        raise ValueError(f"the file does not fit the network: {'; '.join(parts)}")
    return unflatten(params)


def _some(names) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
