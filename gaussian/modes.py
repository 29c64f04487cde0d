"""The exact effect of a table on Gaussian data, without a network: a recursion of scalars for each mode.

For data N(mean, U diag(v) U^T) the exact denoiser acts on each coordinate of U^T x alone. With n = alpha^2 v + sigma^2

    E[x0 | x] = mean + alpha v / n (x - alpha mean),    E[eps | x] = sigma / n (x - alpha mean)              (1)

(gaussian/posterior.py), so a network of prediction `out = i x0 + j eps` is

    out = (i alpha v + j sigma) / n (x - alpha mean) + i mean                                               (2)

and the solver's end is affine in its start: x_end = gain x_T + offset + sum_n noise_n xi_n. The exact ODE has

    gain = sqrt(n_end / n_T),    offset = (alpha_end - gain alpha_T) mean                                   (3)

(the closed-form trajectories of arXiv 2412.09726). This holds for every table whose coefficients are one number for
all modes, and for tables with a number per mode, of the shape of `variances` (DPM-Solver-v3 in the basis U).
"""

from typing import NamedTuple

import numpy as np

from solvers.prediction import PREDICTIONS


class Spectrum(NamedTuple):
    """Per mode, all float64 [*M], the shape of `variances`.

    gain, exact_gain          of x_T: by the table, and by (3)
    offset, exact_offset      where x_T = 0 ends
    noise                     variance at the end of what a stochastic table adds; 0 for a deterministic one
    deviation, exact_deviation  the standard deviation at the end, of starts with the exact one, sqrt(n_T)
    """

    variances: np.ndarray
    gain: np.ndarray
    exact_gain: np.ndarray
    offset: np.ndarray
    exact_offset: np.ndarray
    noise: np.ndarray
    deviation: np.ndarray
    exact_deviation: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Relative error of the standard deviation at the end: above 0 where the solver leaves too much variance.

        It does not show the sign of the gain, which large steps can change: compare gain and exact_gain for that.
        """
        return self.deviation / self.exact_deviation - 1


def spectrum(table, schedule, variances, prediction, t_end, mean=0.0) -> Spectrum:
    """The exact action of `table`, from table.t[0] to `t_end`, on Gaussian data with these `variances` [*M] by mode.

    `prediction`: the one that the table was built for. `mean`: of the data, in the same coordinates, broadcast to
    [*M]. Raises ValueError for negative variances, for a mode without any variance at t_end (its relative error has
    no meaning), and for coefficients that are neither numbers nor of the shape of `variances`.
    """
    variances = np.asarray(variances, np.float64)
    shape = variances.shape
    alpha, sigma = (f(np.array([table.t[0], t_end])) for f in (schedule.alpha, schedule.sigma))
    column = (2,) + (1,) * variances.ndim
    n_start, n_end = alpha.reshape(column) ** 2 * variances + sigma.reshape(column) ** 2
    if np.min(variances, initial=0) < 0 or not np.all(n_end > 0):
        raise ValueError(
            f"variances must be >= 0, and above 0 where sigma(t_end) = 0, got {np.min(variances)} with sigma(t_end) = "
            f"{sigma[1]:g}: leave those modes out, or end at a larger t"
        )
    for name in ("p", "q", "a", "c"):
        if getattr(table, name).shape[1:] not in ((), shape):
            raise ValueError(
                f"the table is for modes of shape {getattr(table, name).shape[1:]} (column {name}), the variances have "
                f"shape {shape}: build it with statistics of these modes"
            )
    mean = np.broadcast_to(np.asarray(mean, np.float64), shape)
    response = _responses(table, schedule, variances, prediction, mean)
    gain, offset, noise = response[0], response[1], (response[2:] ** 2).sum(axis=0)
    exact_gain = np.sqrt(n_end / n_start)
    exact_offset = (alpha[1] - exact_gain * alpha[0]) * mean
    deviation = np.sqrt(gain**2 * n_start + noise)
    return Spectrum(variances, gain, exact_gain, offset, exact_offset, noise, deviation, np.sqrt(n_end))


def _responses(table, schedule, variances, prediction, mean):
    """[2 or 2 + N, *M]: the response of x_end to x_T = 1; the end of x_T = 0; the response to each noise xi_n = 1.

    The recursion (1), (2) of solvers/table.py runs on all of them at once; only the second has constants.
    """
    scalar = (1,) * variances.ndim
    x = np.zeros((2 if table.s is None else 2 + table.nfe, *variances.shape))
    x[0] = 1
    history = np.zeros((table.depth, *x.shape))
    for n, t in enumerate(table.t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        i, j = PREDICTIONS[prediction](alpha, sigma)
        slope = (i * alpha * variances + j * sigma) / (alpha**2 * variances + sigma**2)
        out = slope * x
        out[1] += (i - slope * alpha) * mean
        history = np.concatenate([(table.p[n] * x + table.q[n] * out)[None], history[:-1]])
        b = table.b[n].reshape(table.depth, 1, *(table.b.shape[2:] or scalar))
        x = table.a[n] * x + (b * history).sum(axis=0)
        x[1] += table.c[n]
        if table.s is not None:
            x[2 + n] += table.s[n]
    return x
