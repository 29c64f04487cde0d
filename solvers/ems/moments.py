"""Moments of a model at all noise levels, in one pass: its empirical statistics (EMS) are computed from them.

At lam, over points x: u = x / alpha, y the predicted x0, y' = dy/dlam along the diffusion ODE, q = alpha diag(dy/dx).
The statistics follow from the means of u, y, y', q and of the products of the first three (estimation.py): nothing has
to be known beforehand, and a point is visited once. Per point and noise level: one linearisation of the model, and a
tangent per probe (Hutchinson: q = E[v dy/dx v] alpha, v of random signs) and one along the ODE. Points are

    noised      x = alpha x0 + sigma z, from data x0 [K, *D]: of a data set, or samples of the model
    trajectory  states of the model's own ODE, from states [K, *D] at the first lam on, by UniPC-3 from node to node

The network runs in its own precision. Sums are float64 on the device, in which products of float32 numbers are exact;
on a TPU, which has no float64, pairs of float32 numbers that lose as little (sums.py).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from solvers.backend import warn_of_wrong_sums
from solvers.builders.multistep import unipc
from solvers.ems.sums import summation
from solvers.engine import init, step
from solvers.prediction import convert

# The sums: products of u, y, dy, q and dq, where dq is dq/dlam.
NAMES = ("u", "y", "dy", "uu", "uy", "yy", "udy", "ydy", "dydy", "q", "qq", "dq")
FACTORS = ((0,), (1,), (2,), (0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (3,), (3, 3), (4,))
AHEAD = 2  # noise levels that are queued on the devices while the host waits, so that they are never idle


class Moments(NamedTuple):
    """count [G + 1], and sums [G + 1, S, *D] over so many points, float64, S in the order of NAMES.

    Moments of different points at the same lam add up: `merge`.
    """

    count: np.ndarray  # type: ignore[assignment]  # hides a method of tuples
    sums: np.ndarray


def merge(parts) -> Moments:
    """The moments of all points of several `Moments`."""
    return Moments(*(sum(columns) for columns in zip(*parts, strict=True)))


class Coefficients(NamedTuple):
    """Functions of the schedule at lam, [G + 1] each, that a visit needs; d* are derivatives in lam."""

    t: np.ndarray
    dt: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    rate: np.ndarray  # d log alpha / d lam
    u: np.ndarray  # x0 = u x + v out
    du: np.ndarray
    v: np.ndarray
    dv: np.ndarray


def coefficients(schedule, lam, prediction) -> Coefficients:
    """Computes them on the host in float64, derivatives by central differences (step 1e-4, errors below 1e-8).

    dt is the inverse of the derivative that a model sees which calls the schedule: a discrete one has kinks in t.
    """

    def values(lam):
        t = schedule.t_of_lam(lam)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return [
            np.broadcast_to(x, lam.shape)
            for x in (t, alpha, sigma, np.log(alpha), *convert(alpha, sigma, prediction, "x0"))
        ]

    gap = 1e-4
    t, alpha, sigma, _, u, v = values(lam)
    _, _, _, rate, du, dv = ((a - b) / (2 * gap) for a, b in zip(values(lam + gap), values(lam - gap)))
    with jax.enable_x64(True):
        dt = 1 / np.asarray(jax.vmap(jax.grad(schedule.lam))(jnp.asarray(t, jnp.float64)))
    return Coefficients(t, dt, alpha, sigma, rate, u, du, v, dv)


class Plan(NamedTuple):
    """How moments are gathered; the same for every part of the work.

    model    model(params, x, t, *condition) of one point; the parameters are an argument of what is compiled
    lam      [G + 1], increasing
    rule     noised | trajectory
    probes   the number of random sign vectors per point, or "exact": all D unit vectors
    path     also dq/dlam along the motion of the points, by differentiating the tangents again (twice the cost)
    groups   a batch has the layout [groups, batch / groups], and each group has its own sums until they are on the
             host: with a group per device (`place` puts arrays there), devices need not communicate
    sums     float64 | compensated | auto: compensated on TPUs, float64 elsewhere
    """

    model: Callable
    params: object
    schedule: object
    lam: np.ndarray
    key: jax.Array
    prediction: str = "eps"
    rule: str = "noised"
    probes: int | str = 1
    path: bool = False
    batch: int = 64
    groups: int = 1
    place: Callable = lambda tree: tree
    sums: str = "auto"


def gatherer(plan: Plan) -> Callable:
    """`gather(data, index, condition=(), block=slice(None), carry=None, progress=None) -> (Moments, carry)`.

    gather returns the moments at lam[block] of the points `index` [K], whose random numbers come from fold_in(key,
    index). data [K, *D] are x0 of noised points, or states at lam[0]; condition: arrays [K, ...] for the model. A block
    that is not the first goes on from the `carry` of the block before it (noised points may also begin anew).
    `progress(points)` is called after each batch at each lam. gather raises ValueError, naming lam, if the model is not
    finite. All calls share the compiled programs.
    """
    warn_of_wrong_sums()
    table = _table(plan)
    known = coefficients(plan.schedule, np.asarray(plan.lam, np.float64), plan.prediction)
    at = jax.tree.map(lambda x: np.asarray(x, jnp.result_type(float)), (known, table))
    start = _batched(partial(_start, plan, table), (0, 0))
    visit = _batched(partial(_visit, plan), (None, None, None, 0, 0, 0))
    add, total = summation(FACTORS, plan.sums)

    def gather(data, index, condition=(), block=slice(None), carry=None, progress=None):
        nodes, carries = np.arange(len(plan.lam))[block], []
        sums = [None] * len(nodes)
        for where, valid in _batches(plan, len(data)):
            take = partial(_take, plan, where)
            number, labels = take((np.asarray(index, np.int32), tuple(condition)))
            state = plan.place(start(take(data), number)) if carry is None else take(carry)
            weight = plan.place(valid)
            for k, n in enumerate(nodes):
                state, values = visit(plan.params, at, n, state, number, labels)
                sums[k] = add(sums[k], values, weight)
                if k >= AHEAD:
                    jax.block_until_ready(sums[k - AHEAD])
                if progress:
                    progress(int(valid.sum()))
            carries.append(jax.tree.map(lambda x, valid=valid: np.asarray(x)[valid], state))
        found = np.stack([total(x).sum(axis=0) for x in sums])
        _check_finite(plan, nodes, found)
        carry = jax.tree.map(lambda *parts: np.concatenate(parts), *carries)
        return Moments(np.full(len(nodes), float(len(data))), found), carry

    return gather


def _table(plan):
    """For trajectories, the table from node to node; its last row is repeated for the last node, which has no step."""
    if plan.rule != "trajectory":
        return ()
    table = unipc(plan.schedule, plan.schedule.t_of_lam(plan.lam), prediction=plan.prediction, lower_order_final=False)
    return jax.tree.map(lambda x: np.concatenate([x, x[-1:]]), table)


def _batches(plan, count):
    """(where, valid) [groups, b] of each batch of `count` points; the last is filled up with the last point."""
    size = -(-min(plan.batch, count) // plan.groups) * plan.groups
    for begin in range(0, count, size):
        where = np.arange(begin, begin + size).reshape(plan.groups, -1)
        yield np.minimum(where, count - 1), where < count


def _take(plan, where, tree):
    return plan.place(jax.tree.map(lambda x: np.asarray(x)[where], tree))


def _batched(function, axes):
    """The function mapped over both axes of a batch, [groups, b], and compiled."""
    return jax.jit(jax.vmap(jax.vmap(function, axes), axes))


def _start(plan, table, data, index):
    """The state of a point that is kept from lam to lam: (x0, z), or the solver's state."""
    if plan.rule == "trajectory":
        return init(table, data)
    key = jax.random.fold_in(jax.random.fold_in(plan.key, index), 0)
    return data, jax.random.normal(key, data.shape, data.dtype)


def _visit(plan, params, at, n, state, index, condition):
    """The state at the next lam, and u, y, y', q, q' [*D] at lam[n]; at: the coefficients and the table of all lam."""
    c, row = jax.tree.map(lambda x: x[n], at)
    if plan.rule == "trajectory":
        x = state.x
    else:
        x0, z = state
        x, velocity = c.alpha * x0 + c.sigma * z, c.rate * c.alpha * x0 + (c.rate - 1) * c.sigma * z
    zero = jnp.zeros((), x.dtype)
    t, dt = c.t.astype(x.dtype), c.dt.astype(x.dtype)
    net = lambda x, t: plan.model(params, x, t, *condition)  # noqa: E731
    out, tangent = jax.linearize(net, x, t)
    y = c.u * x + c.v * out
    dx = (c.rate - 1) * x + c.alpha * y  # the diffusion ODE: dx/dlam = rate x - sigma eps
    dy = c.du * x + c.u * dx + c.dv * out + c.v * tangent(dx, dt)
    of_probes = _probes(plan, x, index)
    diagonal = of_probes(lambda v: tangent(v, zero))
    q, dq = c.alpha * (c.u + c.v * diagonal), jnp.zeros_like(y)
    if plan.path:
        velocity = dx if plan.rule == "trajectory" else velocity
        of_point = lambda x, t: of_probes(lambda v: jax.jvp(net, (x, t), (v, zero))[1])  # noqa: E731
        slope = jax.jvp(of_point, (x, t), (velocity, dt))[1]
        dq = c.rate * q + c.alpha * (c.du + c.dv * diagonal + c.v * slope)
    following = step(lambda x, t: out, state, row) if plan.rule == "trajectory" else state
    return following, (x / c.alpha, y, dy, q, dq)


def _probes(plan, x, index):
    """diagonal(push) [*D] of the linear map `push` of x: exact, or by random signs."""
    if plan.probes == "exact":
        axes = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        return lambda push: jnp.diagonal(jax.vmap(push)(axes).reshape(x.size, x.size)).reshape(x.shape)
    key = jax.random.fold_in(jax.random.fold_in(plan.key, index), 1)
    signs = jax.random.rademacher(key, (plan.probes, *x.shape), x.dtype)
    return lambda push: (signs * jax.vmap(push)(signs)).mean(axis=0)


def _check_finite(plan, nodes, total):
    bad = ~np.isfinite(total.reshape(len(nodes), -1)).all(axis=1)
    if bad.any():
        lam = float(plan.lam[nodes[bad][0]])
        t = float(plan.schedule.t_of_lam(lam))
        raise ValueError(
            f"the model is not finite at lam={lam:.4g} (t={t:.4g}, {bad.sum()} of {len(nodes)} noise levels): narrow "
            "the range of lam, or mend the model"
        )
