"""Moments of rows, float64. Moments of parts can be merged: parts of any size, in any order, from any machine."""

from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Count, mean [D] and centred second moment [D, D] (a sum) of the rows seen; float64 on the host."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows) -> "Moments":
        """The moments of rows [N, ...], flattened to [N, D]."""
        rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
        if not len(rows):
            raise ValueError("no moments of 0 rows: give at least one")
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets of rows together (Chan et al. 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)

    def covariance(self) -> np.ndarray:
        """The covariance [D, D], divided by N - 1."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 rows, got {self.count}: raise sample.count")
        return self.scatter / (self.count - 1)


def moments(features) -> tuple[np.ndarray, np.ndarray]:
    """The mean [D] and covariance [D, D] (divided by N - 1), float64, of features [N, D]; N is at least 2."""
    total = Moments.of(features)
    return total.mean, total.covariance()
