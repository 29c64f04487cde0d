"""Places arrays on a mesh of devices, and streams batches through it."""

from collections.abc import Callable, Iterator
from functools import cache

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.support.errors import config_errors


def make_mesh(devices=None) -> Mesh:
    """A mesh of all devices of all processes (or of those given) along one axis, `batch`."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("batch",), (AxisType.Auto,), devices=devices)


def first_devices(count: int, key: str = "sample.devices") -> list:
    """The first `count` devices; 0 for all. ValueError if there are fewer; it names the `key` that sets the count."""
    devices, several = jax.devices(), jax.process_count() > 1
    if not 0 <= count <= len(devices) or (several and 0 < count < len(devices)):
        choice = "several processes use all: choose 0" if several else f"choose 1 to {len(devices)}, or 0 for all"
        more = "; cpu_devices simulates more" if devices[0].platform == "cpu" else ""
        raise ValueError(f"{key} = {count}: there are {len(devices)} devices, {choice}{more}")
    return devices[: count or None]


def first_mesh(count: int, key: str = "sample.devices") -> Mesh:
    """A mesh of the first `count` devices, 0 for all; ConfigError if there are fewer."""
    with config_errors():
        return make_mesh(first_devices(count, key))


def place(mesh: Mesh, tree, batch=False):
    """Copies arrays to every device of the mesh; with `batch`, splits them along their first axis.

    Each of several processes gives the whole array, equal on all; nothing is exchanged or compared.
    """
    sharding = NamedSharding(mesh, PartitionSpec("batch") if batch else PartitionSpec())
    tree = jax.tree.map(_canonical, tree)
    if not mesh.is_multi_process:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: _from_all(leaf, sharding), tree)


def _canonical(leaf):
    """Converts numpy's float64 to float32, unless jax computes in float64.

    jax (0.10.2) does so itself, except for an array that it has used in float64 before: then programs crash.
    """
    if isinstance(leaf, np.ndarray) and leaf.dtype != (dtype := jax.dtypes.canonicalize_dtype(leaf.dtype)):
        return leaf.astype(dtype)
    return leaf


def _from_all(leaf, sharding):
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda part: leaf[part])


def rounded(batch: int, count: int, mesh: Mesh) -> int:
    """The batch size for `count` samples: at most `batch`, rounded up to equal numbers on all devices."""
    return -(-min(batch, count) // mesh.devices.size) * mesh.devices.size


def stream(function: Callable, arrays, *, batch: int, mesh: Mesh) -> Iterator[tuple[slice, tuple]]:
    """Yields (part, function(*arrays at part)) batch after batch. arrays: [n, ...], split over the mesh.

    function maps device arrays [B, ...] to a tree of them. Results come as numpy arrays [stop - start, ...], whole on
    every process. The last batch is filled with repetitions, which are cut off again. Results are read only after the
    next batch has been sent, so the devices work while the caller does.
    """
    count = len(arrays[0])
    size, waiting = rounded(batch, count, mesh), None
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        split = place(mesh, tuple(array[rows] for array in arrays), batch=True)
        results = _gathered(mesh, function(*split))
        if waiting is not None:
            yield _read(*waiting)
        waiting = slice(start, min(start + size, count)), results
    if waiting is not None:
        yield _read(*waiting)


def _read(part, results):
    return part, jax.tree.map(lambda leaf: np.asarray(leaf)[: part.stop - part.start], results)


def _gathered(mesh, tree):
    """Gives every process the whole arrays: several processes exchange their parts on the devices."""
    return _replicate(NamedSharding(mesh, PartitionSpec()))(tree) if mesh.is_multi_process else tree


@cache
def _replicate(sharding):
    return jax.jit(lambda tree: tree, out_shardings=sharding)
