"""The probability-flow ODE of Gaussian data in closed form: trajectories, teleportation (arXiv 2412.09726).

For data N(mu, U diag(v) U^T + floor (I - U U^T)), with n_t(v) = alpha_t^2 v + sigma_t^2 and d = x_T - alpha_T mu,

    x_t        = alpha_t mu + U diag(g(v)) U^T d + g(floor) (d - U U^T d),    g(v) = sqrt(n_t(v) / n_T(v))      (1)
    E[x0|x_t]  =         mu + the same with                       g(v) = alpha_t v / sqrt(n_t(v) n_T(v))        (2)

so that each is an affine map of x_T. (1) skips the first part of sampling without a network evaluation. It is also
what one step of first-order DPM-Solver-v3 does in the coordinates U^T x, with the statistics of this Gaussian.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class AffineMap(NamedTuple):
    """x -> end + U diag(gain) U^T d + gain_floor (d - U U^T d), d = x - start: of each of k components. A pytree.

    start, end [k, D]   basis U [k, D, r]   gain [k, r]   gain_floor [k]
    """

    start: np.ndarray
    end: np.ndarray
    basis: np.ndarray
    gain: np.ndarray
    gain_floor: np.ndarray

    def __call__(self, x, component=0):
        """Maps one sample x [*shape] by the map of this component, in the type of x.

        component: an index, may be traced. An index beyond the last is the last one: "no label", with one Gaussian.
        """
        start, end, basis, gain, gain_floor = (jnp.asarray(a, x.dtype) for a in self)
        # Projects by all components and drops all but one: under vmap one matrix product, not a basis per sample.
        chosen = (jnp.arange(len(start)) == jnp.minimum(component, len(start) - 1)).astype(x.dtype)
        pick = partial(jnp.einsum, "k,k...->...", chosen, precision="highest")
        d = x.reshape(-1) - pick(start)
        y = jnp.einsum("kdr,d->kr", basis, d, precision="highest") * chosen[:, None]
        rest = pick(gain_floor)
        moved = pick(end) + rest * d + jnp.einsum("kdr,kr->d", basis, (gain - rest) * y, precision="highest")
        return moved.reshape(x.shape)


def gain(variances, schedule, t_from, t_to):
    """g(v) of (1), the factor of a mode with this variance; `variances` and `t_to` broadcast."""
    return (_noisy(variances, schedule, t_to) / _noisy(variances, schedule, t_from)) ** 0.5


def denoised_gain(variances, schedule, t_from, t_to):
    """g(v) of (2): a mode's coefficient in E[x0 | x_t] at t = t_to, over that in x at t_from."""
    product = _noisy(variances, schedule, t_to) * _noisy(variances, schedule, t_from)
    return schedule.alpha(t_to) * variances / product**0.5


def _noisy(variances, schedule, t):
    return schedule.alpha(t) ** 2 * variances + schedule.sigma(t) ** 2


def half_times(variances, schedule) -> np.ndarray:
    """The t at which a mode's coefficient in the denoised trajectory (2) has half of its final value.

    At sigma / alpha = sqrt(3 v), for any start far above it: large variances emerge first. `variances` > 0, any shape.
    """
    variances = np.asarray(variances, np.float64)
    if not np.all(variances > 0):
        raise ValueError(f"variances must be above 0, got {variances.min()}: modes without variance never emerge")
    return schedule.t_of_lam(-0.5 * np.log(3 * variances))


def flow_map(mixture, schedule, t_from, t_to) -> AffineMap:
    """x at t_from -> x at t_to along the ODE of each component alone, eq. (1). sigma(t_from) > 0, or ValueError."""
    return _map(mixture, schedule, t_from, t_to, gain, schedule.alpha(t_to))


def denoised_map(mixture, schedule, t_from, t_to) -> AffineMap:
    """x at t_from -> the denoised E[x0 | x] at t_to on its trajectory, of each component alone, eq. (2)."""
    return _map(mixture, schedule, t_from, t_to, denoised_gain, 1.0)


def _map(mixture, schedule, t_from, t_to, gain, scale):
    if not schedule.sigma(t_from) > 0:
        raise ValueError(f"a trajectory cannot start at sigma = 0, got t_from = {t_from}: start at a larger t")
    means, basis = mixture.means, mixture.basis
    gains = (gain(v, schedule, t_from, t_to) for v in (mixture.variances, mixture.floor))
    return AffineMap(schedule.alpha(t_from) * means, scale * means, basis, *gains)


def teleport(mixture, schedule, t_from, t_to) -> AffineMap:
    """`x_skip = teleport(gaussian, schedule, t_from, t_to)(x_T)`: the exact ODE solution for Gaussian data.

    It replaces all solver steps from t_from to t_to and needs no network evaluation. It is close to the network's own
    solution as long as the network's score is close to the Gaussian's (`choose_skip`). For a mixture, with a component
    per class for instance, call `teleport(...)(x_T, component)`. For one sample [*shape]; vmap for a batch.
    """
    return flow_map(mixture, schedule, t_from, t_to)


def trajectory(mixture, schedule, times) -> Callable:
    """run(x_T [*shape], component=0) -> (x [n, *shape], E(x0 | x) [n, *shape]) at `times` [n], x_T at times[0]."""
    times = np.asarray(times, np.float64)
    maps = [make(mixture, schedule, times[0], t) for make in (flow_map, denoised_map) for t in times]
    along = AffineMap(None, 0, None, 0, 0)  # type: ignore[arg-type]  # axes of the arrays, in their places
    x_maps, x0_maps = (
        part[0]._replace(**{name: np.stack([getattr(m, name) for m in part]) for name in ("end", "gain", "gain_floor")})
        for part in (maps[: len(times)], maps[len(times) :])
    )

    def run(x, component=0):
        follow = jax.vmap(lambda affine: affine(x, component), in_axes=(along,))
        return follow(x_maps), follow(x0_maps)

    return run


def in_plane(states) -> tuple[np.ndarray, np.ndarray]:
    """(share [n], coefficients [n, 2]) of a trajectory [n, *shape] in the plane of its first and last state.

    share: how much of |x|^2 is in that plane; coefficients: the coordinates there, x_t ~ c_0 x_first + c_1 x_last. The
    published picture of a trajectory is a turn from noise to image in this plane (arXiv 2303.02490): a low-dimensional
    motion in a space of thousands.
    """
    flat = np.asarray(states, np.float64).reshape(len(states), -1)
    ends = flat[[0, -1]].T
    coefficients = np.linalg.lstsq(ends, flat.T, rcond=None)[0].T
    share = ((coefficients @ ends.T) ** 2).sum(axis=1) / (flat**2).sum(axis=1)
    return share, coefficients
