"""The distributions of `flows_2d`, of equal mean and covariance, and their trajectories from the same noise."""

import jax
import numpy as np

import gaussian
from experiments import structure
from experiments.flows.integrate import Ode, follow, follow_exactly


def distributions(mixture: gaussian.Mixture, seed: int, count: int) -> dict:
    """The mixture, the Gaussian with its mean and covariance, and `count` points drawn from it.

    The points are moved by the affine map that gives them that mean and covariance exactly.
    """
    normal = gaussian.as_gaussian(mixture)
    points = np.asarray(gaussian.sample_data(mixture, jax.random.key(seed), count), np.float64)
    own = gaussian.fit_gaussian(points, biased=True)
    # U sqrt(v) U^T of both: the symmetric roots, which turn nothing.
    whiten, colour = (
        (g.basis[0] * g.variances[0] ** power) @ g.basis[0].T for g, power in ((own, -0.5), (normal, 0.5))
    )
    return {
        "gaussian": normal,
        "mixture": mixture,
        "delta": gaussian.delta((points - own.means[0]) @ whiten @ colour + normal.means[0]),
    }


def times_of(schedule, span, count) -> np.ndarray:
    """Decreasing times [count] at which sigma / alpha runs from the first to the second of `span`, logarithmically."""
    return schedule.t_of_lam(-np.log(np.geomspace(*span, count)))


def follow_all(laws, schedule, times, z) -> dict:
    """{name: (x, E[x0 | x])}, each [n, count, 2], from sigma z at times[0]: the Gaussian's by the formula."""
    ode = Ode(schedule, times, np.float32(schedule.sigma(times[0]) * z))
    exact = structure.closed_form(gaussian.posterior_mean)
    paths = {name: follow(exact, law, ode, batch=len(z)) for name, law in laws.items() if name != "gaussian"}
    return {"gaussian": follow_exactly(laws["gaussian"], ode)} | paths
