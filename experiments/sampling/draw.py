"""Seeded sampling over all devices: sample i is the same image for any batch size, device count and order.

Everything that sample i draws comes from key_i = fold_in(key(seed), i): its initial noise from fold_in(key_i, 0), its
label, where labels are random, from fold_in(key_i, 1), the noise of stochastic solvers from fold_in(key_i, 2).
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.build.bases import turned
from experiments.support.keys import key_of, noises
from experiments.support.mesh import place, rounded, stream
from solvers import advance

OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")  # as accelerators and CPUs say it


class NotFinite(FloatingPointError):
    """Samples are NaN or infinite."""


class OutOfMemory(ValueError):
    """A batch does not fit into the memory of the devices."""


def make_draw(make: Callable, shape, scale: float, in_basis=False) -> Callable:
    """`draw(params, jump, table, rows, seed, indices [B], labels [B]) -> samples [B, *shape]`, three jitted programs.

    The first makes the noise; the others leave the start and the samples in its buffer. `make(params, label) ->
    model(x, t)`; `scale` is sigma(t_start), the noise that sampling starts from. `jump` takes it to where the table
    starts (an AffineMap with a component per class, or one for all), None if it starts there. Only the first `rows`
    rows of the table run (a traced number), so tables of equal shape share a program, with and without a jump. With
    `in_basis` the model is in the coordinates y = U^T x of params["basis"]; noise and samples are in pixels.
    """

    def start(jump, x, label):
        x = scale * x
        return x if jump is None else jump(x, label)

    @jax.jit  # in jit it is traced once, for tables of all shapes
    def network(params, label, x, t):
        return make(params, label)(x, t)

    def one(params, table, rows, seed, x, index, label):
        model, stochastic = partial(network, params, label), jax.random.fold_in(key_of(seed, index), 2)
        if not in_basis:
            return advance(model, table, x, rows, stochastic)
        basis = params["basis"]
        return turned(basis, advance(model, table, turned(basis.T, x), rows, stochastic))

    begin = jax.jit(jax.vmap(start, in_axes=(None, 0, 0)), donate_argnums=1)
    solve = jax.jit(jax.vmap(one, in_axes=(None, None, None, None, 0, 0, 0)), donate_argnums=4)

    def draw(params, jump, table, rows, seed, indices, labels):
        x = begin(jump, noises(seed, indices, tuple(shape)), labels)
        return solve(params, table, rows, seed, x, indices, labels)

    return draw


def generate(
    draw,
    params,
    table,
    rows,
    *,
    seed,
    indices,
    labels,
    batch,
    mesh,
    jump=None,
    finish=lambda samples: samples,
    level="t = {:.5g}".format,
) -> Iterator[tuple[np.ndarray, tuple]]:
    """Yields (indices [b], finish(samples [b, *shape] float32)) per batch; see mesh.stream.

    finish: what becomes of the samples on the devices. `params`, `table` and `jump` may be placed on the mesh
    beforehand. Raises NotFinite for samples that are not, by index and noise level, `level(t)`, and OutOfMemory
    with the batch that fits.
    """
    arrays = np.asarray(indices, np.int32), np.asarray(labels, np.int32)
    size = rounded(batch, len(indices), mesh)
    params, placed, jump = place(mesh, (params, table, jump))

    def work(indices, labels, rows=rows):
        samples = draw(params, jump, placed, rows, seed, indices, labels)
        return _finite(samples), finish(samples)

    try:
        for part, (finite, found) in stream(work, arrays, batch=batch, mesh=mesh):
            if not finite.all():
                bad = tuple(array[part][~finite] for array in arrays)
                raise NotFinite(_where(work, bad, size, mesh, rows, lambda n: level(np.asarray(table.t)[n])))
            yield arrays[0][part], found
        return
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in OUT_OF_MEMORY):
            raise
    raise OutOfMemory(_what_fits(partial(work, rows=1), arrays, size, mesh))


@jax.jit
def _finite(samples):
    return jnp.isfinite(samples).reshape(len(samples), -1).all(axis=1)


def _where(work, bad, size, mesh, rows, level) -> str:
    """Which samples, bad = (indices, labels), are not finite, and from which evaluation on: draws are cut before it."""
    shown = min(len(bad[0]), 8)
    batch = tuple(np.resize(array[:shown], size) for array in bad)  # of the size that is compiled
    first = np.full(shown, rows)
    for n in range(rows - 1, -1, -1):
        ((_, (finite, _)),) = stream(partial(work, rows=n), batch, batch=size, mesh=mesh)
        first[~finite[:shown]] = n
    names = (
        f"{index} after evaluation {n} of {rows}, at {level(n - 1)}" if n else f"{index} before the first evaluation"
        for index, n in zip(bad[0], first)
    )
    return (
        f"{len(bad[0])} samples of a batch of {size} are not finite: number {'; '.join(names)}"
        f"{'; ...' if len(bad[0]) > shown else ''}. The solver diverges or the network overflows: raise nfe, lower "
        "solver.order, or use model.dtype=float32"
    )


def _what_fits(work, arrays, size, mesh) -> str:
    """The largest half, quarter, ... of a batch that the devices have room for, found by trying."""
    smaller = size
    while smaller > mesh.devices.size:
        smaller = rounded(smaller // 2, size, mesh)
        try:
            next(stream(work, tuple(array[:smaller] for array in arrays), batch=smaller, mesh=mesh))
            return f"out of memory with batches of {size}: {smaller} fit, set sample.batch={smaller}"
        except (jax.errors.JaxRuntimeError, MemoryError):
            pass
    return f"out of memory with batches of {size}, and of {smaller}: use model.dtype=bfloat16, or more devices"


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
