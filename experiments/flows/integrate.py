"""Solutions of the diffusion ODE with all that happens on the way: states and denoised images at every noise level."""

from functools import partial

import jax
import numpy as np

from experiments.support.mesh import make_mesh, place, stream
from solvers import SOLVERS, Table, denoise_to_zero, init, step


def fine_table(schedule, times) -> Table:
    """UniPC of order 3 through `times` [n], with an evaluation at the last one too: n rows, for a model of x0."""
    table = SOLVERS["unipc"](schedule, times, prediction="x0", order=3)
    return denoise_to_zero(table, schedule, times[-1], "x0")


def follow(function, arguments, schedule, times, start, labels=0, *, batch=64, progress=lambda count: None):
    """(x, E[x0 | x]) at `times` [n], decreasing, of the solutions from start [B, *D] at times[0]: two [n, B, *D].

    function(arguments, x, (alpha, sigma, t), label) -> x0 of one sample, as in explained.py; labels: one or [B].
    Samples are split over all devices, arguments are on each; everything in the float type of `start`.
    """
    start, mesh = np.asarray(start), make_mesh()
    count, dtype = len(start), start.dtype
    arguments = jax.tree.map(lambda leaf: _floating(leaf, dtype), arguments)
    work = partial(_trace, function, schedule, *place(mesh, (arguments, fine_table(schedule, times).astype(dtype))))
    labels = np.broadcast_to(np.asarray(labels, np.int32), count)
    found = tuple(np.empty((len(times), *start.shape), dtype) for _ in range(2))
    for part, got in stream(work, (start, labels), batch=batch, mesh=mesh):
        for whole, states in zip(found, got, strict=True):
            whole[:, part] = states.swapaxes(0, 1)
        progress(part.stop - part.start)
    return found


@partial(jax.jit, static_argnums=(0, 1))
def _trace(function, schedule, arguments, table, start, labels):
    def one(x, label):
        def model(x, t):
            return function(arguments, x, (schedule.alpha(t), schedule.sigma(t), t), label)

        def body(state, row):
            after = step(model, state, row)
            return after, (state.x, after.history[0])  # the table works with x0: what the model said of this state

        return jax.lax.scan(body, init(table, x), table)[1]

    return jax.vmap(one)(start, labels)


def _floating(leaf, dtype):
    leaf = np.asarray(leaf)
    return leaf.astype(dtype, copy=False) if np.issubdtype(leaf.dtype, np.floating) else leaf
