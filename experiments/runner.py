"""Seeded sampling over all devices: sample i is the same image for any batch size, device count and order.

Everything that sample i draws comes from key_i = fold_in(key(seed), i): its initial noise from fold_in(key_i, 0),
the noise of stochastic solvers from fold_in(key_i, 2). Labels are a function of i (build.build_labels).
"""

import time
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.bases import turned
from solvers import Table, advance, pad


def noise(seed, index, shape):
    """The initial noise of sample `index`, N(0, 1) of `shape`, float32."""
    return jax.random.normal(jax.random.fold_in(_key(seed, index), 0), shape, jnp.float32)


def initial_noise(seed: int, indices, shape) -> np.ndarray:
    """The same for several samples, [n, *shape]."""
    return np.asarray(jax.jit(jax.vmap(lambda index: noise(seed, index, shape)))(np.asarray(indices, np.int32)))


def _key(seed, index):
    return jax.random.fold_in(jax.random.key(seed), index)


def make_draw(make: Callable, shape, scale: float, in_basis=False) -> Callable:
    """The jitted `draw(params, jump, table, rows, seed, indices [B], labels [B]) -> samples [B, *shape]`.

    `make(params, label) -> model(x, t)`; `scale` is sigma(t_start), the noise that sampling starts from. `jump` takes
    it to where the table starts (an AffineMap with a component per class, or one for all), None if it starts there.
    Only the first `rows` rows of the table run (a traced number), so tables of equal shape share a program.
    With `in_basis` the model is in the coordinates y = U^T x of params["basis"]; noise and samples are in pixels.
    """

    def one(params, jump, table, rows, seed, index, label):
        model, stochastic = make(params, label), jax.random.fold_in(_key(seed, index), 2)
        x = scale * noise(seed, index, shape)
        if jump is not None:
            x = jump(x, label)
        if not in_basis:
            return advance(model, table, x, rows, stochastic)
        basis = params["basis"]
        return turned(basis, advance(model, table, turned(basis.T, x), rows, stochastic))

    return jax.jit(jax.vmap(one, in_axes=(None, None, None, None, None, 0, 0)))


def align(tables: Mapping, dtype=np.float32) -> dict:
    """The same tables in `dtype`, padded to as few shapes as possible: {key: (table, rows that count)}.

    Tables of one kind (scalar coefficients, coefficients of the data shape, with or without noise) get equal depth
    and equal rows; the added rows never run.
    """
    kinds = {}
    for key, table in tables.items():
        kind = tuple(None if column is None else column.shape[1:] for column in table._replace(b=table.b[:, 0]))
        kinds.setdefault(kind, []).append(key)
    aligned = {}
    for keys in kinds.values():
        rows, depth = (max(getattr(tables[key], name) for key in keys) for name in ("nfe", "depth"))
        for key in keys:
            table = pad(tables[key], depth).astype(dtype)
            aligned[key] = _lengthen(table, rows - table.nfe), tables[key].nfe
    return {key: aligned[key] for key in tables}


def _lengthen(table: Table, more: int) -> Table:
    return jax.tree.map(
        lambda column: np.concatenate([column, np.zeros((more, *column.shape[1:]), column.dtype)]), table
    )


def make_mesh(devices=None) -> Mesh:
    """All devices (or those given) along one axis, `batch`."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("batch",), (AxisType.Auto,), devices=devices)


def place(mesh: Mesh, tree, batch=False):
    """Arrays on every device of the mesh; with `batch`, split along their first axis."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("batch") if batch else PartitionSpec()))


def generate(
    draw, params, table, rows, *, seed, indices, labels, batch, mesh, jump=None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (indices [b], samples [b, *shape] float32) per batch; the last batch is padded and cut.

    `params`, `table` and `jump` may be placed on the mesh beforehand. Raises FloatingPointError for samples that are
    not finite, by index.
    """
    indices, labels = np.asarray(indices, np.int32), np.asarray(labels, np.int32)
    devices = mesh.devices.size
    batch = -(-min(batch, len(indices)) // devices) * devices
    params, table, jump = place(mesh, (params, table, jump))
    for start in range(0, len(indices), batch):
        part = slice(start, start + batch)
        missing = batch - len(indices[part])
        padded = [np.pad(values[part], (0, missing), mode="edge") for values in (indices, labels)]
        samples = draw(params, jump, table, rows, seed, *place(mesh, tuple(padded), batch=True))
        samples = np.asarray(samples)[: len(indices[part])]
        _check_finite(samples, indices[part])
        yield indices[part], samples


def collect(draw, params, table, rows, on_batch=lambda count: None, **batches) -> tuple[np.ndarray, float]:
    """All samples [n, *shape] of `generate`, and the seconds they took, compilation left out.

    on_batch(count) is called after each batch with the number of its samples.
    """
    next(generate(draw, params, table, 0, **batches))  # no row runs: compiles, if this is the first of its shape
    begin, parts = time.perf_counter(), []
    for indices, part in generate(draw, params, table, rows, **batches):
        parts.append(part)
        on_batch(len(indices))
    return np.concatenate(parts), time.perf_counter() - begin


def _check_finite(samples, indices):
    bad = ~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1)
    if bad.any():
        raise FloatingPointError(
            f"{bad.sum()} of {len(bad)} samples are not finite, first of all number {indices[bad][0]} (all: "
            f"{', '.join(map(str, indices[bad][:8]))}{', ...' if bad.sum() > 8 else ''}): the solver diverges or the "
            "network overflows; raise nfe, lower solver.order, or use model.dtype=float32"
        )
