"""Nearest neighbours from matrix products, float64, as exact as from differences, also for ties and duplicates.

|a|^2 + |b|^2 - 2 a.b is fast, but its error is up to SLACK (F + 4) (|a|^2 + |b|^2), which is large for close points.
Every comparison within that bound is repeated with |a - b|^2. The distances of `rows` points to all others are in
memory at a time.
"""

import numpy as np

from experiments.metrics.checks import slices

CELLS = 2**23  # the most numbers in an array of differences
SLACK = 2 * np.finfo(np.float64).eps  # three inner products of F terms, and |a - b|^2 itself (Higham 2002, 3.1)


def radii(points, k: int, rows: int) -> np.ndarray:
    """The squared distance [N] of each of points [N, F] to its k-th nearest other point; 1 <= k < N."""
    points = np.asarray(points, np.float64)
    norms, found = _norms(points), np.empty(len(points))
    for part in slices(len(points), rows):
        low, high = _bounds(points[part], points, norms[part], norms)
        own = np.arange(len(low)), np.arange(part.start, part.stop)
        low[own] = high[own] = np.inf
        at, others = np.nonzero(low <= np.partition(high, k - 1)[:, k - 1, None])  # at least k of each, row by row
        squares = _squares(points[part], points, at, others)
        ordered = squares[np.lexsort((squares, at))]
        found[part] = ordered[np.searchsorted(at, np.arange(len(low))) + k - 1]
    return found


def covered(queries, points, radii, rows: int) -> np.ndarray:
    """Whether [N] each of queries [N, F] lies in or on a ball around any of points [M, F], with squared radii [M]."""
    queries, points = np.asarray(queries, np.float64), np.asarray(points, np.float64)
    norms, found = _norms(points), np.empty(len(queries), bool)
    for part in slices(len(queries), rows):
        low, high = _bounds(queries[part], points, _norms(queries[part]), norms)
        inside = (high <= radii).any(1)
        at, others = np.nonzero((low <= radii) & ~inside[:, None])
        inside[at[_squares(queries[part], points, at, others) <= radii[others]]] = True
        found[part] = inside
    return found


def _norms(points) -> np.ndarray:
    return np.einsum("nf,nf->n", points, points)


def _bounds(a, b, norms_a, norms_b) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds [N, M] of the squared distances of a [N, F] to b [M, F]."""
    high = np.add.outer(norms_a, norms_b)
    slack = high * (SLACK * (a.shape[1] + 4))
    high += (-2 * a) @ b.T
    low = high - slack
    high += slack
    return low, high


def _squares(a, b, at, others) -> np.ndarray:
    """|a[at] - b[others]|^2; exchanging a and b does not change a bit."""
    found = np.empty(len(at))
    for part in slices(len(at), max(1, CELLS // a.shape[1])):
        found[part] = np.square(a[at[part]] - b[others[part]]).sum(1)
    return found
