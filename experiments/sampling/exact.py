"""Solves the diffusion ODE to high accuracy on the host, as a reference for solvers on closed-form models.

With y = x / alpha and D the predicted x0, the probability-flow ODE is

    dy/dlam = D(alpha y, t) - y                                                                  (1)

since d(x / alpha) = eps d(sigma / alpha), sigma / alpha = e^-lam and eps = (x - alpha D) / sigma.
"""

import jax
import numpy as np


def solve(model, schedule, x, t_start, t_end, rtol=1e-9) -> np.ndarray:
    """Carries x [n, *D] from t_start to t_end by DOP853 on (1), in float64. `model(x, t)` predicts x0 of one sample."""
    from scipy.integrate import solve_ivp

    shape = x.shape
    with jax.enable_x64(True):
        denoise = jax.jit(jax.vmap(model, in_axes=(0, None)))

        def slope(lam, y):
            t = schedule.t_of_lam(lam)
            x = (schedule.alpha(t) * y).reshape(shape)
            return np.asarray(denoise(x, float(t)), np.float64).ravel() - y

        start = (x.astype(np.float64) / schedule.alpha(t_start)).ravel()
        span = tuple(float(schedule.lam(t)) for t in (t_start, t_end))
        solution = solve_ivp(slope, span, start, method="DOP853", rtol=rtol, atol=rtol, t_eval=span[1:])
    if not solution.success:
        raise FloatingPointError(
            f"the reference solution failed ({solution.message}): narrow grid.t_start to grid.t_end"
        )
    return schedule.alpha(t_end) * solution.y[:, -1].reshape(shape)
