"""Nearest neighbours from matrix products, float64; ties and duplicates are decided as if by differences.

|a|^2 + |b|^2 - 2 a.b is quick, and wrong by up to SLACK (F + 4) (|a|^2 + |b|^2), which is much for points that are
close: every comparison within that bound is made again with |a - b|^2.
"""

import numpy as np

CELLS = 2**23  # numbers of an intermediate array
SLACK = 2 * np.finfo(np.float64).eps  # of three inner products of F terms, and of |a - b|^2 itself (Higham 2002, 3.1)


def radii(points, k: int) -> np.ndarray:
    """Squared distances [N] of points [N, F] to the k-th nearest of the others; 1 <= k < N."""
    points = np.asarray(points, np.float64)
    found = np.empty(len(points))
    for part in _parts(len(points), CELLS // len(points)):
        low, high = _bounds(points[part], points)
        own = np.arange(len(low)), np.arange(part.start, part.stop)
        low[own] = high[own] = np.inf
        near = np.nonzero(low <= np.partition(high, k - 1)[:, k - 1, None])
        low[:] = np.inf
        low[near] = _squares(points[part], points, *near)
        found[part] = np.partition(low, k - 1)[:, k - 1]
    return found


def covered(queries, points, radii) -> np.ndarray:
    """Which [N] of queries [N, F] lie in or on the ball of any of points [M, F], of squared radii [M]."""
    queries, points = np.asarray(queries, np.float64), np.asarray(points, np.float64)
    found = np.empty(len(queries), bool)
    for part in _parts(len(queries), CELLS // len(points)):
        low, high = _bounds(queries[part], points)
        inside = (high <= radii).any(1)
        rows, columns = np.nonzero((low <= radii) & ~inside[:, None])
        inside[rows[_squares(queries[part], points, rows, columns) <= radii[columns]]] = True
        found[part] = inside
    return found


def _bounds(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [N, M], from below and from above, of the squared distances of a [N, F] to b [M, F]."""
    total = np.square(a).sum(1)[:, None] + np.square(b).sum(1)
    slack = SLACK * (a.shape[1] + 4) * total
    total -= 2 * (a @ b.T)
    return total - slack, total + slack


def _squares(a, b, rows, columns) -> np.ndarray:
    """|a[rows] - b[columns]|^2, whichever way round to the last bit."""
    found = np.empty(len(rows))
    for part in _parts(len(rows), CELLS // a.shape[1]):
        found[part] = np.square(a[rows[part]] - b[columns[part]]).sum(1)
    return found


def _parts(count: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
