"""Nearest neighbours from matrix products, float64; ties and duplicates are decided as if by differences.

|a|^2 + |b|^2 - 2 a.b is quick, and wrong by up to SLACK (F + 4) (|a|^2 + |b|^2), which is much for points that are
close: every comparison within that bound is made again with |a - b|^2. Distances of `rows` points to all others are
in memory at a time.
"""

import numpy as np

from experiments.metrics.checks import slices

CELLS = 2**23  # numbers of an array of differences
SLACK = 2 * np.finfo(np.float64).eps  # of three inner products of F terms, and of |a - b|^2 itself (Higham 2002, 3.1)


def radii(points, k: int, rows: int) -> np.ndarray:
    """Squared distances [N] of points [N, F] to the k-th nearest of the others; 1 <= k < N."""
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
    """Which [N] of queries [N, F] lie in or on the ball of any of points [M, F], of squared radii [M]."""
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
    """Bounds [N, M], from below and from above, of the squared distances of a [N, F] to b [M, F]."""
    high = np.add.outer(norms_a, norms_b)
    slack = high * (SLACK * (a.shape[1] + 4))
    high += (-2 * a) @ b.T
    low = high - slack
    high += slack
    return low, high


def _squares(a, b, at, others) -> np.ndarray:
    """|a[at] - b[others]|^2, whichever way round to the last bit."""
    found = np.empty(len(at))
    for part in slices(len(at), max(1, CELLS // a.shape[1])):
        found[part] = np.square(a[at[part]] - b[others[part]]).sum(1)
    return found
