"""Solvers with more than one evaluation per step, as ordinary rows.

From x_n, a step evaluates m_0 at x_n and then m_j at each intermediate state; the last state is x_{n+1}:

    x^(j) = a_j x_n + sum_{i<j} b_{ji} m_i,    j = 1..p                                                      (1)

x_n is eliminated through the previous stage (a_0 = 1, b_0 = 0), so that stage j is an ordinary row:

    x^(j) = A x^(j-1) + sum_{i<j} (b_ji - A b_{j-1,i}) m_i,    A = a_j / a_{j-1}                             (2)

DPM-Solver's stages are the exponential formulas (1) to (3) of exponential.py from x_n to each inner node. Heun's are
x' = x + h d_0 and x + h (d_0 + d_1) / 2, with d the right-hand side of the ODE in one of the forms

    d(x/alpha) / d(sigma/alpha) = eps        dx/dt = alpha'(t) x0 + sigma'(t) eps                             (3)
"""

import jax
import jax.numpy as jnp
import numpy as np

from solvers.builders.exponential import HALF_W0, Nodes, check_choice, cut, interval, nodes, steps_of, weights
from solvers.grid import GRIDS
from solvers.prediction import convert
from solvers.table import Table, check


def dpm_solver_singlestep(
    schedule, grid, prediction="eps", order=3, variant="dpmsolver", orders=None, inner="lam_uniform"
) -> Table:
    """DPM-Solver-1, -2 and -3 (Lu et al. 2022, Algorithms 1 and 2): singlestep, in eps. Options as `dpmpp_singlestep`.

    Order 2 on the inner nodes of lam_uniform is diff-sampler's "DPM-Solver-2, r = 1/2": a slope at the middle of lam,
    taken over the step in sigma/alpha.
    """
    return _singlestep(schedule, grid, prediction, "eps", order, variant, orders, inner)


def dpmpp_singlestep(
    schedule, grid, prediction="eps", order=3, variant="dpmsolver", orders=None, inner="lam_uniform"
) -> Table:
    """DPM-Solver++ singlestep, orders 1 to 3 (Lu et al. 2022b, 2S in Algorithm 1): DPM-Solver's stages in x0.

    `grid` [K + 1] holds the outer steps and `orders` [K] their evaluations (None: all `order`); see `fast_orders` and
    `outer_grid` for the published choices. The inner nodes of a step are `GRIDS[inner]` on it.
    `variant` is the published `solver_type` of the last stage. "taylor" puts a polynomial through all nodes;
    "dpmsolver" leaves out the middle one at order 3, and halves w_0 in place of w_1 at order 2.
    A step of infinite h (from alpha = 0, or to sigma = 0) must have order 1: lowering it here would change the nfe.
    """
    return _singlestep(schedule, grid, prediction, "x0", order, variant, orders, inner)


def fast_orders(nfe, order=3) -> tuple:
    """Orders that spend exactly `nfe` (DPM-Solver-fast, Lu et al. 2022): as many of `order` as fit, then the rest.

    Order 3 always ends lower: with (2, 1) where nfe is a multiple of 3.
    """
    _check_budget(nfe, order)
    full, rest = divmod(nfe, order)
    if order == 3 and rest == 0:
        return (3,) * (full - 1) + (2, 1)
    return (order,) * full + (rest,) * (rest > 0)


def fixed_orders(nfe, order=3) -> tuple:
    """`order` for all steps. nfe must be a multiple of it (the published code silently spends fewer evaluations)."""
    _check_budget(nfe, order)
    if nfe % order:
        raise ValueError(
            f"steps of order {order} cannot spend nfe {nfe}: use nfe {max(nfe // order, 1) * order} or "
            f"{(nfe // order + 1) * order}, or fast_orders"
        )
    return (order,) * (nfe // order)


def outer_grid(name, schedule, orders, t_start=None, t_end=None, **options):
    """The published outer times [K + 1] of steps with these `orders` [K], from `GRIDS[name]`.

    "lam_uniform" is uniform over the steps. Any other grid has a time per evaluation, of which each step takes as many
    as it spends; with equal orders that is uniform over the steps, too. (Uniform over unequal steps is GRIDS itself.)
    """
    check_choice("outer_grid", "name", name, GRIDS)
    if name == "lam_uniform":
        return GRIDS[name](schedule, len(orders), t_start, t_end, **options)
    return GRIDS[name](schedule, sum(orders), t_start, t_end, **options)[np.cumsum([0, *orders])]


def heun(schedule, grid, prediction="eps", coordinates="sigma") -> Table:
    """Heun's 2nd order method on either ODE of (3): `coordinates` "sigma" is `edm_heun`, "t" the schedule's own time.

    In "t" it is Heun on the probability flow ODE as Song et al. 2021 write it; for a network that predicts flow on
    rectified flow it integrates the network's output. Straight trajectories are not followed exactly unless alpha and
    sigma are linear in t, so the table is not checked for that. Rows as `edm_heun`.
    """
    check_choice("heun", "coordinates", coordinates, ("sigma", "t"))
    if coordinates == "sigma":
        return edm_heun(schedule, grid, prediction)
    at = nodes(schedule, grid)
    start, end = steps_of(at)
    keep, at, a, b = _heun_rows(start, end, np.ones_like(start.t), end.t - start.t)
    # one-sided derivatives, from inside the step: a piecewise schedule (VPDiscrete) may have its kinks on the grid
    inside = np.stack([start.t, end.t], axis=1) + 2.0**-40 * (end.t - start.t)[:, None] * np.array([1.0, -1.0])
    with jax.enable_x64(True):
        rates = [np.asarray(jax.vmap(jax.grad(f))(jnp.asarray(inside[keep]))) for f in (schedule.alpha, schedule.sigma)]
    pairs = [convert(at.alpha, at.sigma, prediction, target) for target in ("x0", "eps")]
    p, q = (rates[0] * x0 + rates[1] * eps for x0, eps in zip(*pairs))
    return check(Table(at.t, p, q, a, b, np.zeros_like(a)))


def edm_heun(schedule, grid, prediction="eps") -> Table:
    """Heun's 2nd order method as in EDM, Algorithm 1 (Karras et al. 2022), in the coordinates x/alpha, sigma/alpha.

    `grid` [n + 1] gives 2n rows, or 2n - 1 when it ends at sigma = 0, where the last step is Euler's. Appending 0 to a
    grid thus adds one evaluation: EDM's own grid, and the odd budgets of DPM-Solver-v3's Heun.
    """
    at = nodes(schedule, grid)
    table, _ = heun_steps(*steps_of(at), prediction)
    return check(table, schedule, at.t[-1], prediction)


def heun_steps(start: Nodes, end: Nodes, prediction):
    """(table, last): Heun in sigma/alpha from each of `start` [n] to `end` [n], and the last row of each step [n]."""
    if start.alpha[0] == 0:
        raise ValueError(f"Heun steps in sigma/alpha, infinite at t={start.t[0]:g}: start where alpha > 0")
    h = end.alpha * (end.sigma / end.alpha - start.sigma / start.alpha)
    keep, at, a, b = _heun_rows(start, end, end.alpha / start.alpha, h)
    p, q = convert(at.alpha, at.sigma, prediction, "eps")
    return Table(at.t, p, q, a, b, np.zeros_like(a)), np.cumsum(keep.sum(axis=1)) - 1


def _heun_rows(start, end, scale, h):
    """(keep [n, 2], nodes, a, b): which start and end of a step are evaluated (not sigma = 0); the others by row."""
    keep = np.stack([np.ones(len(h), bool), end.sigma > 0], axis=1)
    at = Nodes(*(np.stack(pair, axis=1)[keep] for pair in zip(start, end)))
    b = np.array([[1.0, 0.0], [0.5, 0.5]])
    steps = [(np.full(k, a), dt * b[:k, :k]) for a, dt, k in zip(scale, h, keep.sum(axis=1))]
    return keep, at, *_rows(steps)


def _rows(steps):
    """Equation (2): from (a [p], b [p, p], oldest prediction first) of each step to a [N], b [N, K], newest first."""
    depth = max(len(a) for a, _ in steps)
    a_rows, b_rows = [], []
    for a, b in steps:
        ratio = a / np.append(1.0, a[:-1])
        b = b - ratio[:, None] * np.vstack([np.zeros(len(a)), b[:-1]])
        a_rows.append(ratio)
        b_rows += [np.pad(b[j, j::-1], (0, depth - 1 - j)) for j in range(len(a))]
    return np.concatenate(a_rows), np.array(b_rows)


def _singlestep(schedule, grid, prediction, form, order, variant, orders, inner):
    outer = nodes(schedule, grid)
    orders = (order,) * (len(outer.t) - 1) if orders is None else tuple(orders)
    check_choice("a singlestep solver", "variant", variant, ("dpmsolver", "taylor"))
    check_choice("a singlestep solver", "inner", inner, [name for name in GRIDS if name != "given"])
    _check_steps(outer, orders, form)
    steps, times = [], []
    for p, s, t in zip(orders, outer.t, outer.t[1:]):
        t_inner = np.array([s, t]) if p == 1 else GRIDS[inner](schedule, p, s, t)
        steps.append(_stages(nodes(schedule, t_inner), form, variant))
        times.append(t_inner[:-1])
    t = np.concatenate(times)
    p, q = convert(schedule.alpha(t), schedule.sigma(t), prediction, form)
    a, b = _rows(steps)
    return check(Table(t, p, q, a, b, np.zeros_like(a)), schedule, outer.t[-1], prediction)


def _stages(at, form, variant):
    """Equation (1) for one step over the nodes `at` [p + 1]: a [p], b [p, p]."""
    p = len(at.t) - 1
    a, b = np.zeros(p), np.zeros((p, p))
    for j in range(1, p + 1):
        known = [0, p - 1] if variant == "dpmsolver" and 1 < j == p else list(range(j))
        rules = HALF_W0 if variant == "dpmsolver" and j == p == 2 else {}
        a[j - 1], w, linear = interval(cut(at, [0, j]), 0, len(known), form)
        # a node's relative position in lam; the first stage knows only the start of the step, whatever h is
        ratio = (at.lam[known] - at.lam[0]) / (at.lam[j] - at.lam[0]) if j > 1 else np.zeros(1)
        b[j - 1, known] = weights(ratio, w, linear, rules)
    return a, b


def _check_steps(outer, orders, form):
    if len(orders) != len(outer.t) - 1:
        raise ValueError(f"a grid of {len(outer.t) - 1} steps needs as many orders, got {len(orders)}: {orders}")
    if form == "eps" and outer.alpha[0] == 0:
        raise ValueError(f"the eps form divides by alpha, 0 at t={outer.t[0]:g}: start later, or use dpmpp_singlestep")
    for n, p in enumerate(orders):
        if p not in (1, 2, 3):
            raise ValueError(f"order must be 1 to 3, got {p}")
        if p > 1 and not np.all(np.isfinite(outer.lam[n : n + 2])):
            raise ValueError(
                f"the step from t={outer.t[n]:g} to {outer.t[n + 1]:g} has infinite h, where order {p} has no "
                "polynomial: give it order 1 with `orders`, or move t_start or t_end"
            )


def _check_budget(nfe, order):
    if order not in (1, 2, 3) or nfe != int(nfe) or nfe < 1:
        raise ValueError(f"singlestep solvers have order 1 to 3 and at least one evaluation, got {order} and nfe {nfe}")
