"""DPM-Solver-v3 (Zheng et al. 2023) as a table: an exponential solver tuned by empirical model statistics (EMS).

With l, s, b of the model (estimation.py), f = (sigma eps - l x) / alpha, s the start of a step (paper, Eqs. 8, 9, 14):

    g(lam)  = e^{-int_s l'} f - B(lam),  l' the statistic s,   B(lam) = int_s^lam e^{-int_s s} b          (1)
    x_t     = alpha_t A [ x_s/alpha_s - int E B - sum_k g^(k) int E (lam - lam_s)^k/k! ]                   (2)
    A       = e^{-int_s^t l},   E(lam) = e^{int_s^lam (l + s)}

g^(k) comes from predictions at other points (Eqs. 13, 15). All of it is linear in the f of these points, so it is
a table whose history stores f: the correction of x leaves f where it was, and (1) re-expresses old f from any s.
"""

import numpy as np

from solvers.builders.exponential import check_choice, corrected_rows, nodes, orders
from solvers.ems.data import EMS, check_ems
from solvers.ems.integrals import INTERPOLANTS, integrate
from solvers.prediction import convert
from solvers.recipes import dpm_v3_options
from solvers.table import Table, check, fuse


def dpm_v3(
    schedule,
    grid,
    prediction="eps",
    ems=None,
    order=None,
    variant=None,
    corrector=None,
    half=None,
    predictor_pseudo=None,
    corrector_pseudo=None,
    lower_order_final=True,
    degenerate=False,
    interpolation="spline",
    published=False,
) -> Table:
    """DPM-Solver-v3 of orders 1 to 3, for any time grid inside the range of `ems`.

    If none of order, variant, corrector and the pseudo flags is given, they are those that measured best for the number
    of steps and the guidance of the statistics (recipes.py). If some are given, or with `published`, the others are
    order=3, variant="taylor", corrector=True, and no pseudo derivatives.

    `variant`: "taylor", the published weights of (2), or in the predictor "dpmsolver": E counts as constant in the
    integrals of k >= 1, which is the rule of DPM-Solver++(2M), to which l = 1, s = b = 0 then leads; few long steps
    extrapolate less with it. `predictor_pseudo`: derivatives from nearest points only (Eqs. 15, 16). `corrector`:
    Algorithm 2; it uses as many points as the predictor, or with `corrector_pseudo` one more and pseudo derivatives;
    `half` "paper" or "code" uses it on a part of the range (`corrected_rows`). `degenerate`: l = 1, s = b = 0 in place
    of the statistics (data prediction; App. A.2).

    Between its G + 1 nodes the EMS is interpolated, "linear" or by a cubic "spline", and the interpolant integrated to
    round-off (integrals.py): the error is that of interpolation, O(G^-2) or O(G^-4). `published`: the trapezoids of
    the published code, O(G^-2), on the nodes and the sampling times together, so that times on the nodes give its
    numbers; there the degenerate method has the nodes of `ems`, or 1201.

    Raises ValueError where `ems` is missing, of another schedule, or of a smaller range.
    """
    check_choice("dpm_v3", "interpolation", interpolation, INTERPOLANTS)
    at = nodes(schedule, grid)
    ems = _degenerate(ems, at.lam, published) if degenerate else check_ems(ems, schedule, lam=at.lam)
    rows, shape = len(at.t) - 1, ems.l.shape[1:]
    given = {"order": order, "variant": variant, "corrector": corrector}
    given |= {"predictor_pseudo": predictor_pseudo, "corrector_pseudo": corrector_pseudo}
    guidance = ems.meta.get("identity", {}).get("guidance", 1.0)
    order, variant, corrector, predictor_pseudo, corrector_pseudo = dpm_v3_options(given, rows, guidance, published)
    check_choice("dpm_v3", "variant", variant, ("taylor", "dpmsolver"))
    steps = integrate(ems, at.lam, order + 1, interpolation, published)
    flat = variant == "dpmsolver"
    a, c, c_corrected = np.zeros((3, rows, *shape))
    b, corrected = np.zeros((rows, order, *shape)), np.zeros((rows, order + 1, *shape))
    for n, p in enumerate(orders(rows, order, lower_order_final)):
        a[n] = at.alpha[n + 1] / at.alpha[n] * np.exp(-steps.L[n])
        points, pseudo = n - np.arange(p), predictor_pseudo
        b[n, :p], c[n] = _update(at, steps, n, points, pseudo, flat)
        count = p + int(corrector_pseudo)
        if count > 1:  # otherwise the corrector has the points of the predictor, and gives the same
            points, pseudo = np.array([n, n + 1, *range(n - 1, n + 1 - count, -1)]), corrector_pseudo
        corrected[n, n + 1 - points], c_corrected[n] = _update(at, steps, n, points, pseudo)
    p, q = _f_pair(at, steps.l, prediction)
    table = check(Table(at.t[:-1], p, q, a, b, c))
    return check(fuse(table, corrected, c_corrected, corrected_rows(at.t, half))) if corrector else table


def _update(at, steps, n, points, pseudo, flat=False):
    """(2): coefficients [k, *D] of f at the grid indices `points` [k], s = n first, and the constant [*D].

    flat: int E (lam - lam_s)^k as if E were constant.
    """
    h = at.lam[n + 1] - at.lam[n]
    scale = -at.alpha[n + 1] * np.exp(-steps.L[n])
    of_derivatives = _derivatives((at.lam[points] - at.lam[n]) / h, pseudo)
    w = steps.w[n, : len(points)]
    if flat:
        w = w[0] / np.arange(1, len(points) + 1).reshape((-1,) + (1,) * (w.ndim - 1))
    of_g = scale * np.tensordot(of_derivatives.T, w, 1)
    S, B = _seen_from(n, points, steps)
    return of_g * np.exp(-S), scale * steps.C[n] - (of_g * B).sum(axis=0)


def _seen_from(n, points, steps):
    """S = int_s s and B of (1) [k, *D] at the grid indices `points`, with s the time n."""
    S, B = np.zeros((2, len(points), *steps.S.shape[1:]))
    for k, point in enumerate(points):
        if point > n:
            S[k], B[k] = steps.S[n], steps.B[n]
        for j in range(n - 1, point - 1, -1):  # back over step j; steps.B[j] is relative to the start of step j
            S[k] -= steps.S[j]
            B[k] -= np.exp(-S[k]) * steps.B[j]
    return S, B


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


def _degenerate(ems, lam, published):
    """l = 1, s = b = 0 as statistics. Constants need two nodes only, the published trapezoids as many as they have."""
    count = 1201 if published else 2
    lam = ems.lam if published and ems is not None else np.linspace(lam[0], lam[-1], count)
    one = np.ones(len(lam))
    return EMS(lam, one, 0 * one, 0 * one, {})
