"""Solvers with more than one evaluation per step, as ordinary rows: x_n is eliminated through the previous stage."""

import numpy as np

from solvers.exponential import nodes
from solvers.prediction import convert
from solvers.table import Table, check


def edm_heun(schedule, grid, prediction="eps") -> Table:
    """Heun's 2nd order method as in EDM, Algorithm 1 (Karras et al. 2022), in the coordinates x/alpha, sigma/alpha.

    `grid` [n + 1] gives 2n rows, or 2n - 1 when it ends at sigma = 0, where the last step is Euler's. With d the
    slope eps and h the step in sigma/alpha, x' = x + h d_0 and then x + h (d_0 + d_1)/2 = x' + h (d_1 - d_0)/2.
    """
    at = nodes(schedule, grid)
    if at.alpha[0] == 0:
        raise ValueError(f"edm_heun steps in sigma/alpha, infinite at t={at.t[0]:g}: start where alpha > 0")
    t, a, b = [], [], []
    for n in range(len(at.t) - 1):
        h = at.alpha[n + 1] * (at.sigma[n + 1] / at.alpha[n + 1] - at.sigma[n] / at.alpha[n])
        t.append(n), a.append(at.alpha[n + 1] / at.alpha[n]), b.append([h, 0.0])
        if at.sigma[n + 1] > 0:
            t.append(n + 1), a.append(1.0), b.append([h / 2, -h / 2])
    p, q = convert(at.alpha[t], at.sigma[t], prediction, "eps")
    table = Table(at.t[t], p, q, np.array(a), np.array(b), np.zeros(len(t)))
    return check(table, schedule, at.t[-1], prediction)
