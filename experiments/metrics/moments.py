"""Moments of rows, float64, which merge: of parts of any size, in any order, on any number of machines."""

from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Count, mean [D] and centred second moment [D, D] (a sum) of the rows seen; float64 on the host."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows) -> "Moments":
        """Of rows [N, ...], flattened to [N, D]."""
        rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
        if not len(rows):
            raise ValueError("no moments of 0 rows: give at least one")
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def merge(self, other: "Moments") -> "Moments":
        """Of the union of both sets of rows (Chan et al. 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)

    def covariance(self) -> np.ndarray:
        """[D, D], divided by N - 1."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 rows, got {self.count}: raise sample.count")
        return self.scatter / (self.count - 1)


def moments(features) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] (divided by N - 1), float64, of features [N, D]; N is at least 2."""
    total = Moments.of(features)
    return total.mean, total.covariance()
