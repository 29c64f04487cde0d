"""Empirical model statistics (EMS) of any model, for DPM-Solver-v3 (Zheng et al. 2023, Eqs. 5, 11, 60 to 63).

Over points x = alpha x0 + sigma z, and per coordinate:

    l = E[diag(sigma d eps/dx)]
    f = (sigma eps - l x) / alpha,   f' its total derivative in lam along the diffusion ODE
    s = Cov(f, f') / Var f,          b = E f' - s E f

With u = x / alpha and y the predicted x0:  sigma eps / alpha = u - y  and  du/dlam = y - u, hence

    l = 1 - alpha E[diag(dy/dx)],   f = (1 - l) u - y,   f' = (1 - l)(y - u) - l' u - y'              (1)

f and f' are affine in l and l', so one pass over the points suffices: it gathers the moments of u, y and y', and
everything else follows from them. Per point and noise level: one linearisation of the model, two tangents.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from solvers.ems_file import EMS, check_ems, load_ems, save_ems
from solvers.prediction import convert

__all__ = ["EMS", "check_ems", "estimate", "load_ems", "save_ems"]


class Moments(NamedTuple):
    """Sums over K points at one lam, float64 [*D]: of y, y', u, of v dy/dx v (v: Rademacher), and of the products."""

    count: float
    y: np.ndarray
    dy: np.ndarray
    u: np.ndarray
    jacobian: np.ndarray
    uu: np.ndarray
    uy: np.ndarray
    yy: np.ndarray
    udy: np.ndarray
    ydy: np.ndarray


def estimate(model, schedule, data, lam, key, prediction="eps", batch=64, progress=None, condition=None) -> EMS:
    """EMS of `model(x, t) -> out` at `lam` [G + 1] (increasing), from data [K, *D].

    With `condition` [K, ...], one entry per data point (a label, say), the model is `model(x, t, entry)`, and the
    statistics are over data and conditions together.

    The network is differentiated in forward mode. Point i uses the same noise and the same Hutchinson probe at every
    lam (from fold_in(key, i)), so that l is a smooth function of lam and l' its derivative. `progress(done, total)`,
    if given, is called after each lam. Sums are float64. Raises ValueError when the model is not finite somewhere.
    """
    lam, data = np.asarray(lam, np.float64), np.asarray(data)
    if lam.ndim != 1 or len(lam) < 3 or np.any(np.diff(lam) <= 0):
        raise ValueError(
            f"estimate needs at least 3 increasing values of lam, got {len(lam)}: use np.linspace(lo, hi, G + 1)"
        )
    if len(data) < 2:
        raise ValueError(f"estimate needs at least 2 data points for a variance, got {len(data)}: 1000 is usual")
    condition = () if condition is None else (np.asarray(condition),)
    points = jax.jit(jax.vmap(partial(_point, model), in_axes=(None, 0, None, 0, 0)))
    moments = []
    for node, value in enumerate(lam):
        moments.append(_gather(points, _coefficients(schedule, value, prediction), data, condition, key, batch))
        if not all(np.all(np.isfinite(x)) for x in moments[-1]):
            t = float(schedule.t_of_lam(value))
            raise ValueError(
                f"the model is not finite at lam={value:.4g} (t={t:.4g}): narrow the range of lam, or mend it"
            )
        if progress:
            progress(node + 1, len(lam))
    meta = {"schedule": repr(schedule), "shape": list(data.shape[1:]), "points": len(data), "prediction": prediction}
    return _solve(lam, schedule.alpha(schedule.t_of_lam(lam)), moments, meta)


class _Coefficients(NamedTuple):
    """What `_point` needs of the schedule at one lam; d* are derivatives in lam."""

    t: float
    dt: float
    alpha: float
    sigma: float
    rate: float  # d log alpha / d lam
    u: float  # x0 = u x + v out
    du: float
    v: float
    dv: float


def _coefficients(schedule, lam, prediction):
    """Float64 values and central differences on the host (step 1e-4: truncation and round-off are both below 1e-8)."""

    def values(lam):
        t = schedule.t_of_lam(lam)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return np.array([t, alpha, sigma, np.log(alpha), *convert(alpha, sigma, prediction, "x0")])

    step = 1e-4
    t, alpha, sigma, _, u, v = values(lam)
    dt, _, _, rate, du, dv = (values(lam + step) - values(lam - step)) / (2 * step)
    return _Coefficients(*(jnp.asarray(x) for x in (t, dt, alpha, sigma, rate, u, du, v, dv)))


def _point(model, c, x0, key, index, condition):
    """u, y, y' and v dy/dx v of one point, each [*D]."""
    key = jax.random.fold_in(key, index)
    z = jax.random.normal(jax.random.fold_in(key, 0), x0.shape, x0.dtype)
    probe = jax.random.rademacher(jax.random.fold_in(key, 1), x0.shape, x0.dtype)
    x = c.alpha * x0 + c.sigma * z
    out, tangent = jax.linearize(lambda x, t: model(x, t, *condition), x, jnp.asarray(c.t, x.dtype))
    y = c.u * x + c.v * out
    jacobian = probe * (c.u * probe + c.v * tangent(probe, jnp.zeros((), x.dtype)))
    dx = (c.rate - 1) * x + c.alpha * y  # the diffusion ODE: dx/dlam = rate x - sigma eps
    dy = c.du * x + c.u * dx + c.dv * out + c.v * tangent(dx, jnp.asarray(c.dt, x.dtype))
    return x / c.alpha, y, dy, jacobian


def _gather(points, coefficients, data, condition, key, batch) -> Moments:
    """Moments over all data at one lam; the last batch is filled up, and the filling left out of the sums."""
    sums = None
    for start in range(0, len(data), batch):
        index = np.arange(start, start + batch)
        valid = int((index < len(data)).sum())
        index = np.minimum(index, len(data) - 1)
        x0 = jnp.asarray(data[index], jnp.result_type(float))
        got = points(coefficients, x0, key, index, tuple(x[index] for x in condition))
        u, y, dy, jacobian = (np.asarray(x, np.float64)[:valid] for x in got)
        new = [y, dy, u, jacobian, u * u, u * y, y * y, u * dy, y * dy]
        new = [float(valid), *(x.sum(axis=0) for x in new)]
        sums = new if sums is None else [x + y for x, y in zip(sums, new, strict=True)]
    return Moments(*sums)


# Where the share of Var f in its terms' variance is below ROUND_OFF, f is constant as far as float32 can tell (an
# exact Gaussian); RIDGE, in units of the mean variance over coordinates, quiets coordinates that hardly vary.
ROUND_OFF = 1e-6
RIDGE = 1e-3


def _solve(lam, alpha, moments, meta) -> EMS:
    """l, s, b from the moments at every lam, by (1)."""
    m = Moments(*(np.stack(x) for x in zip(*moments, strict=True)))
    column = (-1,) + (1,) * (m.y.ndim - 1)
    count = m.count.reshape(column)
    y, dy, u, jacobian, uu, uy, yy, udy, ydy = (x / count for x in m[1:])
    l = 1 - alpha.reshape(column) * jacobian
    dl = np.gradient(l, lam, axis=0, edge_order=2)
    var_u, cov_uy, var_y = uu - u * u, uy - u * y, yy - y * y
    cov_udy, cov_ydy = udy - u * dy, ydy - y * dy
    # f = k u - y and f' = (l - 1 - l') u + (1 - l) y - y'
    k, of_u = 1 - l, l - 1 - dl
    variance = k * k * var_u - 2 * k * cov_uy + var_y
    covariance = k * of_u * var_u + (k * k - of_u) * cov_uy - k * cov_udy - k * var_y + cov_ydy
    mean_f, mean_df = k * u - y, of_u * u + k * y - dy
    floor = ROUND_OFF * (k * k * var_u + var_y) + RIDGE * variance.mean(axis=tuple(range(1, l.ndim)), keepdims=True)
    s = covariance / (np.maximum(variance, 0) + floor + np.finfo(np.float64).tiny)
    return EMS(lam, l, s, mean_df - s * mean_f, meta)
