"""Exponential multistep solvers, all one formula with different weights.

With lam as time, the diffusion ODE has an exact linear part (Lu et al. 2022). From s to t, h = lam_t - lam_s:

    x0 form:   x_t = sigma_t/sigma_s x_s + alpha_t int_0^h e^{tau-h} x0(tau) dtau                   (1)
    eps form:  x_t = alpha_t/alpha_s x_s - sigma_t int_0^h e^{h-tau} eps(tau) dtau                  (2)

Replace x0 or eps by the polynomial through known predictions, m(tau) = sum_j c_j (tau/h)^j. The update is then
sum_j w_j c_j with w_j the integral of (tau/h)^j, and linear in the predictions: b = V^{-T} w, V_kj = (tau_k/h)^j (3).
The solvers of multistep.py are (3) with some w_j replaced. This file has the parts, and `multistep`, which joins them.
"""

from math import factorial
from typing import NamedTuple

import numpy as np

from solvers.grid import check_times
from solvers.prediction import convert
from solvers.table import Table, check, fuse

HALF_W0 = {2: lambda w, _: [w[0], w[0] / 2]}  # a rule of `multistep`: w_1 of published methods at two nodes


class Nodes(NamedTuple):
    """The grid, and the schedule on it; all float64 [N + 1]."""

    t: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    lam: np.ndarray


def nodes(schedule, grid) -> Nodes:
    """The checked grid with alpha, sigma, lam."""
    t = check_times(grid)
    return Nodes(t, schedule.alpha(t), schedule.sigma(t), schedule.lam(t))


def cut(at: Nodes, index) -> Nodes:
    """The nodes at these indices."""
    return Nodes(*(column[index] for column in at))


def steps_of(at: Nodes) -> tuple[Nodes, Nodes]:
    """Where the N steps start, and where they end."""
    return cut(at, slice(None, -1)), cut(at, slice(1, None))


def orders(count, order, lower_order_final, most=3):
    """The order of each of `count` rows: warm-up from 1, and down to 1 at the end with `lower_order_final`."""
    if order not in range(1, most + 1):
        raise ValueError(f"order must be 1 to {most}, got {order}")
    steps = np.arange(count)
    return np.minimum(np.minimum(steps + 1, order), count - steps if lower_order_final else order)


def corrected_rows(times, half):
    """A bool per row [N] of the grid [N + 1]: whether its result is corrected. All are for `half=None`.

    The half corrector of DPM-Solver-v3, for large guidance: "paper" corrects states of t <= 0.5 (Section 3.3), "code"
    those of t > 0.5, as the published code does in contradiction to it. t is the schedule's own, in [0, 1] for VP.
    """
    check_choice("a corrector", "half", half, (None, "paper", "code"))
    late = times[1:] <= 0.5
    return {None: np.ones_like(late), "paper": late, "code": ~late}[half]


def multistep(schedule, grid, prediction, form, order, lower_order_final, rules, correct=None, half=None):
    """Rows of (1) or (2) with weights (3). `rules[k](w, linear) -> w` replaces the weights of k nodes, and
    `correct(ratio, w, linear, rules) -> b` makes the corrector. A step to sigma = 0 has no polynomial: its order is 1.
    """
    at = nodes(schedule, grid)
    rows = len(at.t) - 1
    a, b, corrected = np.zeros(rows), np.zeros((rows, order)), np.zeros((rows, order + 1))
    for n, p in enumerate(orders(rows, order, lower_order_final)):
        h = at.lam[n + 1] - at.lam[n]
        p = p if np.isfinite(h) else 1
        a[n], w, linear = interval(at, n, p + 1, form)
        # tau/h is 1 for the node at t, 0 at s, negative before
        ratio = (at.lam[n + 1 - np.arange(p + 1)] - at.lam[n]) / h if np.isfinite(h) else np.array([1.0, 0.0])
        b[n, :p] = weights(ratio[1:], w[:p], linear, rules)
        corrected[n, 1 : p + 1] = b[n, :p]
        if correct and np.isfinite(h):
            corrected[n, : p + 1] = correct(ratio, w, linear, rules)
    table = eps_or_x0_table(schedule, at, prediction, form, a, b)
    if not correct:
        return table
    return check(fuse(table, corrected, where=corrected_rows(at.t, half)), schedule, at.t[-1], prediction)


def weights(ratio, w, linear=None, rules=()):
    """b of (3) for nodes at ratio = tau/h [k] and integrals w [k]; `rules` as in `multistep`."""
    w = np.array(rules[len(ratio)](w, linear) if len(ratio) in rules else w)
    return np.linalg.solve(np.vander(ratio, increasing=True).T, w)


def interval(at: Nodes, n, count, form):
    """Row n of (1) or (2): `a`, the integrals w [count] with sign and scale, and that of a unit weight, +-scale h."""
    s, t = n, n + 1
    h = at.lam[t] - at.lam[s]
    with np.errstate(divide="ignore", invalid="ignore"):
        if form == "x0":
            a, scale, z = at.sigma[t] / at.sigma[s], at.alpha[t], -h
            infinite = at.alpha[t] - at.sigma[t] * at.alpha[s] / at.sigma[s]
        else:
            a, scale, z = at.alpha[t] / at.alpha[s], -at.sigma[t], h
            infinite = at.sigma[t] - at.alpha[t] * at.sigma[s] / at.alpha[s]
        w = [scale * h * phi(z, j + 1) * factorial(j) for j in range(count)] if np.isfinite(h) else [infinite] * count
        return a, np.array(w), scale * h


def phi(z, k):
    """phi_k(z) = int_0^1 e^{(1-r) z} r^{k-1}/(k-1)! dr; phi_0 = e^z, phi_k = (phi_{k-1} - 1/(k-1)!) / z; k >= 1.

    The recursion cancels near 0: below |z| = 1 the Taylor series, whose 20 terms reach round-off there.
    """
    if abs(z) < 1:
        return sum(z**i / factorial(i + k) for i in range(20))
    value = np.expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / factorial(j)) / z
    return value


def eps_or_x0_table(schedule, at, prediction, form, a, b, consistent=True, s=None) -> Table:
    """The checked table with these a, b, s, whose history holds `form`; `consistent`: must be exact on a point mass."""
    p, q = convert(at.alpha[:-1], at.sigma[:-1], prediction, form)
    table = Table(at.t[:-1], p, q, a, b, np.zeros(len(a)), s)
    return check(table, schedule, at.t[-1], prediction) if consistent else check(table)


def check_choice(who, option, value, known):
    if value not in known:
        raise ValueError(f"{who}: {option} must be one of {', '.join(map(str, known))}, got {value!r}")
