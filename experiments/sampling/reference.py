"""The fine solution from the same noise; errors of solvers are relative to it."""

import numpy as np

from experiments.build import Method, Problem, method
from experiments.sampling import exact

REFERENCE = "reference"


def fine_method(problem: Problem, nfe: int) -> Method:
    """The method of the fine solution: UniPC of order 3, uniform in lam, with many evaluations."""
    options = {"name": "unipc", "order": 3, "grid": {"name": "lam_uniform"}, "teleport": None}
    return method(problem, REFERENCE, options, nfe)


def solve_exactly(problem: Problem, seed: int, indices, rtol: float = 1e-9) -> np.ndarray:
    """The exact solution [n, *shape] of a closed-form model, float64, from the noise of samples `indices`."""
    model = problem.network.make(problem.network.params, problem.network.classes)
    return exact.solve(model, problem.schedule, problem.start(seed, indices), *problem.span, rtol=rtol)
