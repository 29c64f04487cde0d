"""A solver as a table: one row per network evaluation.

    out     = model(x_n, t_n)
    m_n     = p_n x_n + q_n out                                            (1)  prediction map
    x_{n+1} = a_n x_n + sum_k b_{n,k} m_{n-k} + c_n + s_n xi_n             (2)  update, newest m first

Builders make tables on the host in float64; `sample` (engine.py) runs any of them.
"""

from typing import NamedTuple

import jax
import numpy as np

from solvers.prediction import PREDICTIONS


class Table(NamedTuple):
    """N rows of depth K; every coefficient is a scalar per row, or an array of the data shape D (DPM-Solver-v3).

    t [N] evaluation times · p, q, a, c [N, *D?] · b [N, K, *D?] · s [N] or None for a deterministic solver.
    """

    t: np.ndarray
    p: np.ndarray
    q: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    s: np.ndarray | None = None

    @property
    def nfe(self) -> int:
        """Network evaluations: the number of rows."""
        return self.t.shape[0]

    @property
    def depth(self) -> int:
        """How many predictions an update combines, K."""
        return self.b.shape[1]

    def astype(self, dtype) -> "Table":
        """All coefficients in another floating type (tables are built in float64 and usually run in float32)."""
        return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), self)


def pad(table: Table, depth: int) -> Table:
    """The same solver with `depth` columns in b: tables of equal rows and depth share one compiled program."""
    missing = depth - table.depth
    if missing < 0:
        raise ValueError(
            f"the table has depth {table.depth} and cannot shrink to {depth}: pad to {table.depth} or more"
        )
    return table._replace(b=_widen(table.b, missing))


def concat(first: Table, second: Table) -> Table:
    """A table that runs `first`, then `second` from where it ended. The second uses its own predictions only."""
    if first.t[-1] < second.t[0]:
        raise ValueError(f"the second table starts at t={second.t[0]}, above the first's last row at t={first.t[-1]}")
    depth = max(first.depth, second.depth)
    first, second = pad(first, depth), pad(second, depth)
    if first.s is not None or second.s is not None:
        first, second = (x if x.s is not None else x._replace(s=np.zeros(x.nfe)) for x in (first, second))
    return jax.tree.map(_join, first, second)


def fuse(
    predictor: Table, corrected: np.ndarray, c: np.ndarray | None = None, where: np.ndarray | None = None
) -> Table:
    """A predictor and its corrector as one table of depth K + 1, at no further network evaluation.

    The corrector of row n has the predictor's a_n and uses the network at the predicted point only:
    x^c_{n+1} = a_n x^c_n + sum_j corrected_{n,j} m_{n+1-j} + c_n, so `corrected` is [N, K + 1, *D?] with
    m_{n+1} first, and `c` [N, *D?] (the predictor's when None); `where` [N] tells which rows to correct (all when
    None). It differs from the predicted point by
    delta = corrected - (0, b) and gamma = c - c_predictor, both linear in what the next row holds anyway:

        b_{n+1} <- b_{n+1} + a_{n+1} delta_n,   c_{n+1} <- c_{n+1} + a_{n+1} gamma_n.

    The last state is not corrected, as in UniPC (Zhao et al. 2023) and DPM-Solver-v3 (Algorithm 2).
    """
    b = _widen(predictor.b, 1)
    delta = corrected - np.roll(b, 1, axis=1)
    gamma = np.zeros_like(predictor.c) if c is None else c - predictor.c
    if where is not None:
        delta[~where], gamma[~where] = 0.0, 0.0
    a = predictor.a[1:]
    b[1:] += a[:, None] * delta[:-1]
    return predictor._replace(b=b, c=np.concatenate([predictor.c[:1], predictor.c[1:] + a * gamma[:-1]]))


def check(table: Table, schedule=None, t_end=None, prediction=None) -> Table:
    """Returns the table, or raises ValueError if it cannot be a solver.

    Shapes must agree, numbers must be finite, times may increase only after a row with noise, and no row may use a
    prediction from before the first row. With the other arguments, the table must also follow the straight
    trajectories of a single data point exactly.
    """
    n, depth = table.nfe, table.depth
    for name, value in table._asdict().items():
        if value is None:
            continue
        if value.shape[0] != n:
            raise ValueError(f"{name} has {value.shape[0]} rows, t has {n}")
        if not np.all(np.isfinite(value)):
            row = int(np.argmin(np.isfinite(value.reshape(n, -1)).all(axis=1)))
            raise ValueError(
                f"coefficient {name} of row {row} (t={table.t[row]:.6g}) is not finite: "
                "the method cannot step there; use order 1 there (lower_order_final=True), or move t_start or t_end"
            )
    silent = np.ones(n, bool) if table.s is None else table.s == 0  # noise may raise t: EDM's churn
    if np.any(np.diff(table.t)[silent[:-1]] > 0):
        raise ValueError(f"times increase along the table: {table.t.tolist()}; sort the grid from noise to data")
    for row in range(min(n, depth)):
        if np.any(table.b[row, row + 1 :] != 0):
            raise ValueError(f"row {row} uses a prediction from before the first row: order {depth} needs a warm-up")
    if schedule is not None:
        _check_exact(table, schedule, t_end, prediction)
    return table


def _check_exact(table, schedule, t_end, prediction):
    """On one data point, x_t = alpha x0 + sigma eps with x0 and eps constant: any consistent method is exact."""
    alpha, sigma = schedule.alpha(table.t), schedule.sigma(table.t)
    ends = schedule.alpha(t_end), schedule.sigma(t_end)
    i, j = PREDICTIONS[prediction](alpha, sigma)
    for x0, eps in ((1.0, 0.0), (0.0, 1.0)):
        out = np.broadcast_to(i * x0 + j * eps, (table.nfe,))
        x, m = alpha[0] * x0 + sigma[0] * eps, np.zeros(table.depth)
        # running bounds of the round-off in x and m, 16 units per operation (coefficients are rounded too)
        unit, x_bound, m_bound = 16 * np.finfo(np.float64).eps, 0.0, np.zeros(table.depth)
        for n in range(table.nfe):
            p, q, a, b = table.p[n], table.q[n], table.a[n], table.b[n]
            m, m_bound = np.roll(m, 1), np.roll(m_bound, 1)
            m[0] = p * x + q * out[n]
            m_bound[0] = abs(p) * x_bound + unit * (abs(p * x) + abs(q * out[n]))
            x_bound = abs(a) * x_bound + np.abs(b) @ m_bound + unit * (abs(a * x) + np.abs(b) @ np.abs(m))
            x = a * x + b @ m + table.c[n]
        exact = ends[0] * x0 + ends[1] * eps
        if not abs(x - exact) <= x_bound + unit * abs(exact):
            raise ValueError(
                f"the table is inconsistent: a point mass with x0={x0:g}, eps={eps:g} ends at {x:.12g}, "
                f"not at {exact:.12g}"
            )


def _widen(b, columns):
    return np.concatenate([b, np.zeros((b.shape[0], columns) + b.shape[2:])], axis=1)


def _join(x, y):
    """Rows of x, then of y; where one has the data axes and the other not, they are added."""
    ndim = max(x.ndim, y.ndim)
    x, y = (v.reshape(v.shape + (1,) * (ndim - v.ndim)) for v in (x, y))
    shape = np.broadcast_shapes(x.shape[1:], y.shape[1:])
    return np.concatenate([np.broadcast_to(v, v.shape[:1] + shape) for v in (x, y)])
