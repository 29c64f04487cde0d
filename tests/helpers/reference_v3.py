"""DPM-Solver-v3 (arXiv 2310.13268) as a slow sequential loop in float64 numpy; conventions as in reference.py.

Published: the EMS grid's trapezoid, every state and noise prediction kept, g recomputed from them at each step.
Not published: times may lie between nodes; l, s, b are then linear in lam and the times become nodes of the trapezoid.
"""

import math
from types import SimpleNamespace

import numpy as np

from tests.helpers.reference import coefficients, step_order


def _linear(lam, grid, values):
    """Values [G+1, *D] on an increasing grid, interpolated at lam [M] -> [M, *D]."""
    i = np.clip(np.searchsorted(grid, lam, side="right") - 1, 0, len(grid) - 2)
    w = np.clip((lam - grid[i]) / (grid[i + 1] - grid[i]), 0, 1)
    w = w.reshape(-1, *[1] * (values.ndim - 1))
    return (1 - w) * values[i] + w * values[i + 1]


def _running_trapezoid(y, lam):
    """Integral of y [M, *D] from lam[0] to every lam, [M, *D]."""
    width = np.diff(lam).reshape(-1, *[1] * (y.ndim - 1))
    return np.concatenate([np.zeros_like(y[:1]), np.cumsum(width * (y[1:] + y[:-1]) / 2, axis=0)])


def _ems_integrals(lam_times, lam_ems, l, s, b):
    """L, S, I, B, C of C.1.2 by trapezoid on the EMS grid with the sampling times inserted, and where the times are."""
    nodes = np.union1d(lam_ems, lam_times)
    l, s, b = (_linear(nodes, lam_ems, np.asarray(y, np.float64)) for y in (l, s, b))
    L, S = _running_trapezoid(l, nodes), _running_trapezoid(s, nodes)
    B = _running_trapezoid(np.exp(-S) * b, nodes)
    I, C = _running_trapezoid(np.exp(L + S), nodes), _running_trapezoid(np.exp(L + S) * B, nodes)
    return SimpleNamespace(nodes=nodes, at=np.searchsorted(nodes, lam_times), l=l, L=L, S=S, I=I, B=B, C=C)


def _derivatives(g, lam, pseudo):
    """g', g'', ... at lam[0] of values g at lam (eq. 13), or k! times the leading divided differences (eq. 15-16)."""
    if pseudo:
        table, found = list(g), []
        for k in range(1, len(g)):
            table = [(table[j + 1] - table[j]) / (lam[j + k] - lam[j]) for j in range(len(table) - 1)]
            found.append(math.factorial(k) * table[0])
        return found
    if len(g) == 1:
        return []
    n = len(g) - 1
    matrix = np.array([[(point - lam[0]) ** j for j in range(1, n + 1)] for point in lam[1:]])
    solved = np.linalg.solve(matrix, np.stack([y - g[0] for y in g[1:]]).reshape(n, -1))
    return [math.factorial(k) * solved[k - 1].reshape(g[0].shape) for k in range(1, n + 1)]


class _Run:
    """Integrals, and the caches of states `xs` and noise predictions `epss` at the times passed so far."""

    def __init__(self, schedule, times, lam_ems, l, s, b):
        self.alpha, self.sigma, self.lam = coefficients(schedule, times)
        self.q = _ems_integrals(self.lam, np.asarray(lam_ems, np.float64), l, s, b)
        self.xs, self.epss = [], []

    def g(self, i, ref):
        """Eq. 8 at time i with reference point `ref`."""
        q, i_, r_ = self.q, self.q.at[i], self.q.at[ref]
        f = (self.sigma[i] * self.epss[i] - q.l[i_] * self.xs[i]) / self.alpha[i]
        return np.exp(q.S[r_] - q.S[i_]) * f - np.exp(q.S[r_]) * (q.B[i_] - q.B[r_])

    def update(self, start, end, extra, pseudo):
        """Eq. 14: the state at time `end` from `start`, with the evaluations at `start` and `extra`."""
        q, a, z = self.q, self.q.at[start], self.q.at[end]
        g = [self.g(i, start) for i in (start, *extra)]
        new = np.exp(q.L[a] - q.L[z]) * self.xs[start] / self.alpha[start]
        new = new - np.exp(-q.L[z] - q.S[a]) * (q.I[z] - q.I[a]) * g[0]
        new = new - np.exp(-q.L[z]) * (q.C[z] - q.C[a] - q.B[a] * (q.I[z] - q.I[a]))
        nodes = q.nodes[a : z + 1]
        kernel = np.exp(q.L[a : z + 1] + q.S[a : z + 1] - q.L[a] - q.S[a])
        delta = (nodes - nodes[0]).reshape(-1, *[1] * (kernel.ndim - 1))
        for k, derivative in enumerate(_derivatives(g, self.lam[[start, *extra]], pseudo), 1):
            weight = _running_trapezoid(kernel * delta**k / math.factorial(k), nodes)[-1]
            new = new - np.exp(q.L[a] - q.L[z]) * weight * derivative
        return self.alpha[end] * new

    def replace(self, i, x):
        """Put a corrected state in the cache; eps changes so that N = sigma eps - l x does not."""
        mean = self.q.l[self.q.at[i]]
        unchanged = self.sigma[i] * self.epss[i] - mean * self.xs[i]
        self.xs[i], self.epss[i] = x, (unchanged + mean * x) / self.sigma[i]


def v3(
    eps_model,
    schedule,
    times,
    x,
    lam_ems,
    l,
    s,
    b,
    order=3,
    corrector=True,
    predictor_pseudo=False,
    corrector_pseudo=False,
    lower_order_final=True,
):
    """Algorithms 1 and 2; lam_ems [G+1] increasing; l, s, b [G+1, *D] with D the shape of a sample."""
    run = _Run(schedule, times, lam_ems, l, s, b)
    steps, used = len(times) - 1, 0
    for i in range(1, steps + 1):
        now = i - 1
        run.xs.append(x)
        run.epss.append(eps_model(x, times[now]))
        correct = used + int(corrector_pseudo)
        if corrector and used and correct > 1:
            older = range(now - 2, now - correct, -1)
            run.replace(now, run.update(now - 1, now, (now, *older), corrector_pseudo))
        used = step_order(i, steps, order, lower_order_final)
        x = run.update(now, now + 1, tuple(range(now - 1, now - used, -1)), predictor_pseudo)
    return x
