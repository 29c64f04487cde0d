"""Seeded sampling over all devices. Sample i is the same image for any batch size, device count and order.

The random numbers of a sample depend on the seed and its index only (support/keys.py).
"""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.build import turned
from experiments.sampling.failures import NotFinite, OutOfMemory, is_memory, what_fits, where
from experiments.support.keys import key_of, noises
from experiments.support.mesh import place, rounded, stream
from solvers import advance


def make_draw(make: Callable, shape, scale: float, in_basis=False) -> Callable:
    """Makes `draw(params, jump, table, rows, seed, indices [B], labels [B]) -> samples [B, *shape]`.

    draw runs three jitted programs: noise, start, solution; the later two reuse the buffer of the noise.
    `make(params, label)` returns model(x, t). `scale` is sigma(t_start), the noise level where sampling starts. `jump`
    maps the noise to the start of the table (an AffineMap with a component per class, or one for all); None without a
    jump. Only the first `rows` rows of the table run. That number is traced, so tables of equal shape share a program,
    with and without a jump. With `in_basis` the model is in the coordinates y = U^T x of params["basis"]; noise and
    samples are in pixels.
    """

    def start(jump, x, label):
        x = scale * x
        return x if jump is None else jump(x, label)

    @jax.jit  # jit traces it once for tables of all shapes
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

    finish: a function applied to each batch before it leaves the devices. `params`, `table` and `jump` may already be
    on the mesh. Raises NotFinite if samples are not finite, with index and noise level (the text `level(t)`), and
    OutOfMemory with the batch size that fits.
    """
    arrays = np.asarray(indices, np.int32), np.asarray(labels, np.int32)
    size = rounded(batch, len(indices), mesh)
    params, placed, jump = place(mesh, (params, table, jump))

    def work(indices, labels, rows=rows):
        samples = draw(params, jump, placed, rows, seed, indices, labels)
        return finite_samples(samples), finish(samples)

    try:
        for part, (finite, found) in stream(work, arrays, batch=batch, mesh=mesh):
            if not finite.all():
                bad = tuple(array[part][~finite] for array in arrays)
                raise NotFinite(where(work, bad, size, mesh, rows, lambda n: level(np.asarray(table.t)[n])))
            yield arrays[0][part], found
        return
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
    raise OutOfMemory(what_fits(partial(work, rows=1), arrays, size, mesh))


@jax.jit
def finite_samples(samples):
    return jnp.isfinite(samples).reshape(len(samples), -1).all(axis=1)
