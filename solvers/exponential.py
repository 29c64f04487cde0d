"""Exponential multistep solvers, all one formula with different weights.

With lam as time, the diffusion ODE has an exact linear part (Lu et al. 2022). From s to t, h = lam_t - lam_s:

    x0 form:   x_t = sigma_t/sigma_s x_s + alpha_t int_0^h e^{tau-h} x0(tau) dtau                   (1)
    eps form:  x_t = alpha_t/alpha_s x_s - sigma_t int_0^h e^{h-tau} eps(tau) dtau                  (2)

Put the polynomial through known predictions for x0 or eps, m(tau) = sum_j c_j (tau/h)^j. The update is then
sum_j w_j c_j with w_j the integral of (tau/h)^j, and linear in the predictions: b = V^{-T} w, V_kj = (tau_k/h)^j (3).
DDIM, DPM-Solver++ and UniPC differ only in some w_j. iPNDM has Adams-Bashforth weights instead of (3).
"""

from math import factorial
from typing import NamedTuple

import numpy as np

from solvers.grid import check_times
from solvers.prediction import convert
from solvers.table import Table, check, fuse


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


def orders(count, order, lower_order_final, most=3):
    """The order of each of `count` rows: warm-up from 1, and down to 1 at the end with `lower_order_final`."""
    if order not in range(1, most + 1):
        raise ValueError(f"order must be 1 to {most}, got {order}")
    steps = np.arange(count)
    return np.minimum(np.minimum(steps + 1, order), count - steps if lower_order_final else order)


def ddim(schedule, grid, prediction="eps") -> Table:
    """DDIM (Song et al. 2021) = DPM-Solver-1 = DPM-Solver++ of order 1."""
    return _multistep(schedule, grid, prediction, "x0", 1, True, {})


def dpmpp(schedule, grid, prediction="eps", order=3, variant="dpmsolver", lower_order_final=True) -> Table:
    """DPM-Solver++ multistep, orders 1 to 3 (Lu et al. 2022b), as published.

    `variant` is the published `solver_type` of order 2: "dpmsolver" halves w_0 in place of w_1, "taylor" keeps w_1.
    Order 3 is the published code's: its second derivative lacks a factor 2, so its local error is O(h^3).
    """
    _choice("dpmpp", "variant", variant, ("dpmsolver", "taylor"))
    rules = {3: lambda w, _: [w[0], w[1], w[2] / 2]}
    if variant == "dpmsolver":
        rules[2] = lambda w, _: [w[0], w[0] / 2]
    return _multistep(schedule, grid, prediction, "x0", order, lower_order_final, rules)


def unipc(
    schedule, grid, prediction="eps", order=3, variant="bh2", corrector=True, form="x0", lower_order_final=True
) -> Table:
    """UniPC, orders 1 to 3 (Zhao et al. 2023): predictor UniP-p, and corrector UniC-p with one node more.

    `variant` is B(h): "bh1" is h, "bh2" is e^h - 1. It only matters where two nodes are used, for there the published
    code replaces w_1 by B/2. `form` is what the polynomial goes through, "x0" (data) or "eps" (noise prediction).
    """
    _choice("unipc", "variant", variant, ("bh1", "bh2"))
    rule = {"bh1": lambda w, linear: [w[0], linear / 2], "bh2": lambda w, _: [w[0], w[0] / 2]}[variant]
    return _multistep(schedule, grid, prediction, form, order, lower_order_final, {2: rule}, corrector)


ADAMS_BASHFORTH = {
    1: [1.0],
    2: [3 / 2, -1 / 2],
    3: [23 / 12, -16 / 12, 5 / 12],
    4: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
}


def ipndm(schedule, grid, prediction="eps", order=4) -> Table:
    """iPNDM, orders 1 to 4 (Zhang & Chen 2023): Adams-Bashforth weights of equal steps on eps, in sigma/alpha."""
    at = nodes(schedule, grid)
    rows = len(at.t) - 1
    a, b = np.zeros(rows), np.zeros((rows, order if order in ADAMS_BASHFORTH else 1))
    for n, p in enumerate(orders(rows, order, False, most=4)):
        a[n], w, _ = interval(at, n, 1, "eps")
        b[n, :p] = w[0] * np.array(ADAMS_BASHFORTH[p])
    return _table(schedule, at, prediction, "eps", a, b)


def _multistep(schedule, grid, prediction, form, order, lower_order_final, rules, corrector=False):
    """Rows of (1) or (2) with weights (3). `rules[k](w, linear) -> w` replaces the weights of k nodes.

    A node at infinite lam carries no slope, and a step of infinite h has no polynomial: there the order is lowered.
    """
    _choice("a multistep solver", "form", form, ("x0", "eps"))
    at = nodes(schedule, grid)
    rows = len(at.t) - 1
    a, b, corrected = np.zeros(rows), np.zeros((rows, order)), np.zeros((rows, order + 1))
    for n, p in enumerate(orders(rows, order, lower_order_final)):
        p = int(min(p, np.isfinite(at.lam[: n + 1]).sum() or 1)) if np.isfinite(at.lam[n : n + 2]).all() else 1
        a[n], w, linear = interval(at, n, p + 1, form)
        h = at.lam[n + 1] - at.lam[n]
        tau = (at.lam[n + 1 - np.arange(p + 1)] - at.lam[n]) if np.isfinite(h) else np.array([h, 0.0])
        with np.errstate(invalid="ignore"):
            ratio = np.where(tau == h, 1.0, tau / h)  # 1 for the node at t, 0 at s, negative before
        b[n, :p] = weights(ratio[1:], w[:p], linear, rules)
        corrected[n, 1 : p + 1] = b[n, :p]
        if corrector and np.isfinite(h):
            corrected[n, : p + 1] = weights(ratio, w, linear, rules)
    table = _table(schedule, at, prediction, form, a, b)
    return check(fuse(table, corrected), schedule, at.t[-1], prediction) if corrector else table


def weights(ratio, w, linear, rules):
    """b of (3) for nodes at ratio = tau/h [k] and integrals w [k]; `rules` as in `_multistep`."""
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


def _table(schedule, at, prediction, form, a, b):
    p, q = convert(at.alpha[:-1], at.sigma[:-1], prediction, form)
    return check(Table(at.t[:-1], p, q, a, b, np.zeros(len(a))), schedule, at.t[-1], prediction)


def _choice(who, option, value, known):
    if value not in known:
        raise ValueError(f"{who}: {option} must be one of {', '.join(known)}, got {value!r}")
