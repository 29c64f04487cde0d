"""The integrals over each step that DPM-Solver-v3 takes of the statistics l, s, b (Zheng et al. 2023, Eqs. 8 to 14).

For a step of length h, from its start lam_s to its end, l, s and b interpolated between the nodes of the EMS:

    L = int l,   S = int s,   B = int e^{-S} b,   E = e^{L + S}      running, from lam_s                      (1)
    w_k = int E ((lam - lam_s) / h)^k,   C = int E B                 over the whole step                      (2)

A cell is a part of a step on which the interpolant is one polynomial: what lies between two nodes, at most WIDEST. In
a cell of width d, functions are polynomials through their values y_j at m points left + d c_j, and integrals are

    int_left^{left + d x} y = d sum_j A(x)_j y_j,   A(x)_j = int_0^x of Lagrange's polynomial j                 (3)

to the points, x = c_i, and to the end, x = 1: collocation. At m Gauss points L and S are exact, and the rest is wrong,
per cell and relative to its width, by (m!)^4 / ((2m + 1) (2m)!^3) z^2m with z = (l + s) d [Gauss' rule on e^(z x)]:
for m = POINTS 2e-16 at z = 1, 8e-13 at z = 2. EMS cells have z below 0.5, as a rule. At the points 0 and 1 it is the
trapezoid of the published code, on the nodes and the sampling times together.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

POINTS, WIDEST = 6, 0.5
COORDINATES = 1024  # per block: they are independent, and the interpolant of all of them may not fit in memory


def _linear(nodes, values):
    return np.stack([np.diff(values, axis=0) / np.diff(nodes)[:, None, None], values[:-1]])


def _spline(nodes, values):
    from scipy.interpolate import CubicSpline  # its import takes half as long as that of jax

    return CubicSpline(nodes, values).c


# nodes [M], values [M, 3, D] -> coefficients [degree + 1, M - 1, 3, D] in lam - node, highest power first
INTERPOLANTS = {"linear": _linear, "spline": _spline}


class Steps(NamedTuple):
    """Integrals over N steps: l [N, *D] at the starts; L, S, B of (1) at the ends; w [N, count, *D] and C of (2)."""

    l: np.ndarray
    L: np.ndarray
    S: np.ndarray
    B: np.ndarray
    w: np.ndarray
    C: np.ndarray


def integrate(ems, lam, count, interpolation, published) -> Steps:
    """(1) and (2) for the steps between lam [N + 1], increasing, with w_0 to w_{count - 1}.

    `interpolation`: a key of INTERPOLANTS. `published`: trapezoids, and linear interpolation, whatever that says.
    """
    interpolant = INTERPOLANTS["linear" if published else interpolation]
    points = np.array([0.0, 1.0]) if published else (1 + legendre.leggauss(POINTS)[0]) / 2
    cuts = ems.lam if published else np.union1d(ems.lam, np.arange(lam[0], lam[-1], WIDEST))
    A, statistics, parts = _matrix(points), [x.reshape(len(x), -1) for x in ems[1:4]], []
    for first in range(0, statistics[0].shape[1], COORDINATES):
        values = np.stack([x[:, first : first + COORDINATES] for x in statistics], axis=1)
        pieces = interpolant(ems.lam, values)
        steps = [_step(ems.lam, pieces, _cells(cuts, *ends), points, A, count) for ends in pairwise(lam)]
        parts.append([np.stack(x) for x in zip(*steps, strict=True)])
    whole = (np.concatenate(x, axis=-1) for x in zip(*parts, strict=True))
    return Steps(*(x.reshape(*x.shape[:-1], *ems.l.shape[1:]) for x in whole))


def _matrix(points):
    """A of (3), [m + 1, m], for points [m] in [0, 1]: integrals to each of them, and to the end."""
    m = len(points)
    integrals = legendre.legint(np.eye(m), lbnd=-1) / 2  # column k belongs to the Legendre polynomial k on [0, 1]
    to = 2 * np.append(points, 1.0) - 1
    return legendre.legval(to, integrals).T @ np.linalg.inv(legendre.legvander(2 * points - 1, m - 1))


def _cells(cuts, start, end):
    """The ends of the cells of a step. A cut where a step begins or ends, up to rounding, makes no cell."""
    margin = 1e-10 * (end - start)
    return np.array([start, *cuts[(cuts > start + margin) & (cuts < end - margin)], end])


def _step(nodes, pieces, cells, points, A, count):
    """A row of Steps, for the step over `cells`."""

    def statistics(lam, i):
        """l, s, b [3, M, D] at lam [M] of piece i."""
        return np.tensordot(np.vander(lam - nodes[i], len(pieces)), pieces[:, i], 1).swapaxes(0, 1)

    piece = np.clip(np.searchsorted(nodes, (cells[1:] + cells[:-1]) / 2) - 1, 0, len(nodes) - 2)
    first = statistics(cells[:1], piece[0])[0, 0]
    L = S = B = np.zeros((1, len(first)))  # the last entry is the value at the end of the cells so far
    w, C = np.zeros((count, len(first))), np.zeros(len(first))
    for left, right, i in zip(cells[:-1], cells[1:], piece, strict=True):
        d = right - left
        lam = left + d * points
        l, s, b = statistics(lam, i)
        L, S = (y[-1] + d * (A @ of) for y, of in ((L, l), (S, s)))
        B = B[-1] + d * (A @ (np.exp(-S[:-1]) * b))
        E, weights = np.exp(L[:-1] + S[:-1]), d * A[-1]
        w += weights * ((lam - cells[0]) / (cells[-1] - cells[0])) ** np.arange(count)[:, None] @ E
        C += weights @ (E * B[:-1])
    return first, L[-1], S[-1], B[-1], w, C
