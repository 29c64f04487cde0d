"""DPM-Solver-v3 (Zheng et al. 2023) as a table: an exponential solver tuned by empirical model statistics (EMS).

With l, s, b of the model (ems.py), f = (sigma eps - l x) / alpha, and s the start of a step (paper, Eqs. 8, 9, 14):

    g(lam)  = e^{-int_s l'} f - B(lam),  l' the statistic s,   B(lam) = int_s^lam e^{-int_s s} b          (1)
    x_t     = alpha_t A [ x_s/alpha_s - int E B - sum_k g^(k) int E (lam - lam_s)^k/k! ]                   (2)
    A       = e^{-int_s^t l},   E(lam) = e^{int_s^lam (l + s)}

g^(k) comes from predictions at other points (Eqs. 13, 15). All of it is linear in the f of these points, so it is
a table whose history stores f: the correction of x leaves f where it was, and (1) re-expresses old f from any s.
"""

import numpy as np

from solvers.ems_file import EMS, check_ems, interpolate
from solvers.exponential import Nodes, corrected_rows, nodes, orders
from solvers.prediction import convert
from solvers.table import Table, check, fuse


def dpm_v3(
    schedule,
    grid,
    prediction="eps",
    ems=None,
    order=3,
    corrector=True,
    half=None,
    predictor_pseudo=False,
    corrector_pseudo=False,
    lower_order_final=True,
    degenerate=False,
) -> Table:
    """DPM-Solver-v3 of orders 1 to 3, for any time grid inside the range of `ems`.

    `predictor_pseudo`: derivatives from nearest points only (Eqs. 15, 16). `corrector`: Algorithm 2; it uses as many
    points as the predictor, or with `corrector_pseudo` one more and pseudo derivatives; `half` "paper" or "code" uses
    it on a part of the range (`corrected_rows`). `degenerate`: l = 1, s = b = 0 in place of the statistics (data
    prediction; App. A.2), on their grid or, with no `ems`, on 1200 intervals.

    EMS are looked up at the lam of the sampling times, linearly between nodes; integrals are trapezoids on the EMS
    nodes and the sampling times together, so that times on the nodes give the published numbers. Their error is
    O(G^-2) with G intervals. Raises ValueError where `ems` is missing, of another schedule, or of a smaller range.
    """
    at = nodes(schedule, grid)
    ems = _degenerate(ems, at.lam) if degenerate else check_ems(ems, schedule, lam=at.lam)
    statistics = _Statistics(ems, at)
    rows, shape = len(at.t) - 1, ems.l.shape[1:]
    a, c, c_corrected = np.zeros((3, rows, *shape))
    b, corrected = np.zeros((rows, order, *shape)), np.zeros((rows, order + 1, *shape))
    for n, p in enumerate(orders(rows, order, lower_order_final)):
        count = p + int(corrector_pseudo)
        step = statistics.step(n, oldest=n + 1 - max(p, count - 1))
        a[n] = at.alpha[n + 1] / at.alpha[n] * step.gain
        points, pseudo = n - np.arange(p), predictor_pseudo
        b[n, :p], c[n] = step.update(points, pseudo)
        if count > 1:  # otherwise the corrector has no more points than the predictor
            points, pseudo = np.array([n, n + 1, *range(n - 1, n + 1 - count, -1)]), corrector_pseudo
        corrected[n, n + 1 - points], c_corrected[n] = step.update(points, pseudo)
    p, q = _f_pair(at, statistics.l_at(at.lam[:-1]), prediction)
    table = check(Table(at.t[:-1], p, q, a, b, c))
    return check(fuse(table, corrected, c_corrected, corrected_rows(at.t, half))) if corrector else table


class _Statistics:
    """l, s, b and the running integrals L = int l, S = int s on the EMS nodes and the sampling times together."""

    def __init__(self, ems, at: Nodes):
        self.at = at
        self.lam = np.union1d(ems.lam, at.lam)
        self.l, self.s, self.b = (interpolate(self.lam, ems.lam, x) for x in (ems.l, ems.s, ems.b))
        self.L, self.S = _cumulative(self.lam, self.l), _cumulative(self.lam, self.s)

    def l_at(self, lam):
        return self.l[np.searchsorted(self.lam, lam)]

    def step(self, n, oldest) -> "_Step":
        """The integrals of (1) and (2) for the step from time n to n + 1, with points back to `oldest`."""
        first, s, t = np.searchsorted(self.lam, self.at.lam[[oldest, n, n + 1]])
        window, forward = slice(first, t + 1), slice(s, t + 1)
        lam = self.lam[window]
        S = self.S[window] - self.S[s]
        B = _cumulative(lam, np.exp(-S) * self.b[window])
        B -= B[s - first]
        E = np.exp(self.L[forward] - self.L[s] + S[s - first :])
        gain = np.exp(self.L[s] - self.L[t])
        return _Step(self.at, n, lam, S, B, E, gain)


class _Step:
    """One step of (2): S and B on the window `lam` [M, *D], E on its part from s to t, gain = A."""

    def __init__(self, at, n, lam, S, B, E, gain):
        self.at, self.n, self.lam, self.S, self.B, self.E, self.gain = at, n, lam, S, B, E, gain

    def update(self, points, pseudo):
        """Coefficients of f at the grid indices `points` [k], s = n first, and the constant: [k, *D], [*D]."""
        at, n = self.at, self.n
        h = at.lam[n + 1] - at.lam[n]
        forward = self.lam[-len(self.E) :]
        ratio = (forward - at.lam[n]).reshape((-1,) + (1,) * (self.E.ndim - 1)) / h
        w = np.stack([_integral(forward, self.E * ratio**k) for k in range(len(points))])
        scale = -at.alpha[n + 1] * self.gain
        of_g = scale * np.einsum("kj,k...->j...", _derivatives((at.lam[points] - at.lam[n]) / h, pseudo), w)
        where = np.searchsorted(self.lam, at.lam[points])
        constant = scale * _integral(forward, self.E * self.B[-len(self.E) :])
        return of_g * np.exp(-self.S[where]), constant - (of_g * self.B[where]).sum(axis=0)


def _derivatives(ratio, pseudo):
    """M [k, k] with g^(j) h^j / j! = sum_i M_ji g_i: the inverse Vandermonde matrix, or leading divided differences."""
    if not pseudo:
        return np.linalg.inv(np.vander(ratio, increasing=True))
    k = len(ratio)
    table = np.zeros((k, k))
    for j in range(k):
        gaps = ratio[: j + 1, None] - ratio[None, : j + 1] + np.eye(j + 1)
        table[j, : j + 1] = 1 / gaps.prod(axis=1)
    return table


def _f_pair(at, l, prediction):
    """(p, q) of the rows, f = (sigma eps - l x) / alpha = p x + q out."""
    u, v = convert(at.alpha[:-1], at.sigma[:-1], prediction, "eps")
    column = (-1,) + (1,) * (l.ndim - 1)
    alpha, sigma = at.alpha[:-1].reshape(column), at.sigma[:-1].reshape(column)
    return (sigma * u.reshape(column) - l) / alpha, at.sigma[:-1] * v / at.alpha[:-1]


def _degenerate(ems, lam):
    lam = np.linspace(lam[0], lam[-1], 1201) if ems is None else ems.lam
    zero = np.zeros(len(lam))
    return EMS(lam, zero + 1, zero, zero, {})


def _integral(lam, y):
    return np.trapezoid(y, lam, axis=0)


def _cumulative(lam, y):
    """Running trapezoid of y [M, *D] along lam [M], 0 at the first node."""
    cells = 0.5 * np.diff(lam).reshape((-1,) + (1,) * (y.ndim - 1)) * (y[1:] + y[:-1])
    return np.concatenate([np.zeros_like(y[:1]), np.cumsum(cells, axis=0)])
