"""Solves the diffusion ODE and keeps the states and denoised images at every noise level."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

import gaussian
from experiments import structure
from experiments.support.mesh import make_mesh, place, stream
from gaussian import flow
from solvers import SOLVERS, Table, denoise_to_zero, init, step


class Ode(NamedTuple):
    """The ODE of a schedule from `start` [B, *D] at times[0]; states are kept at all `times` [n], decreasing."""

    schedule: Any
    times: np.ndarray
    start: np.ndarray


def fine_table(schedule, times) -> Table:
    """UniPC of order 3 through `times` [n], with an evaluation at the last one too: n rows, for a model of x0."""
    table = SOLVERS["unipc"](schedule, times, prediction="x0", order=3)
    return denoise_to_zero(table, schedule, times[-1], "x0")


def follow(function, arguments, ode: Ode, labels=0, *, batch=64, progress=lambda count: None):
    """(x, E[x0 | x]) at all times of the solutions from all starts: two [n, B, *D].

    function(arguments, x, (alpha, sigma, t), label) -> x0 of one sample, as in structure/explained.py; labels: one or
    [B]. Samples are split over all devices, arguments are on each; everything in the float type of the start.
    """
    schedule, times, start = ode
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


def follow_exactly(mixture, ode: Ode, components=0):
    """The same as `follow` for Gaussians, by their formula; sample i has component components[i] (or one for all)."""
    components = np.broadcast_to(components, len(ode.start))
    run = jax.jit(jax.vmap(flow.trajectory(mixture, ode.schedule, ode.times), out_axes=1))
    return tuple(np.asarray(states) for states in run(ode.start, components))


def follow_closed_forms(images, classes, ode: Ode, labels, integrate: Callable) -> Iterator[tuple]:
    """Yields (name, distribution, (x, x0) [n, B, *D] each) of the closed forms of images [N, *D] with classes [N].

    labels [B]: the class of each sample, whose closed forms are taken then; None: those of all images. integrate:
    `follow` with its options.
    """
    normal = gaussian.fit_gaussian(images)
    yield "gaussian", normal, follow_exactly(normal, ode)
    mixture = gaussian.fit_classes(images, classes)
    exact = structure.closed_form(gaussian.posterior_mean)
    if labels is None:
        yield "mixture", mixture, integrate(exact, mixture, ode)
        points = gaussian.delta(images)
        yield "delta", points, integrate(exact, points, ode)
        return
    yield "class_gaussian", mixture, follow_exactly(mixture, ode, labels)
    of_class = np.empty((2, len(ode.times), *ode.start.shape), np.float32)
    for label in np.unique(labels):
        points = gaussian.delta(images[classes == label])
        of_class[:, :, labels == label] = integrate(exact, points, ode._replace(start=ode.start[labels == label]))
    yield "class_delta", None, of_class


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
