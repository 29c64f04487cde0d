"""Noise schedules: x_t = alpha x0 + sigma eps, lam = log(alpha / sigma), the half log-SNR.

A schedule is a frozen value with four functions of its own time t. numpy (or plain numbers) in gives numpy
float64 out, jax in gives jax out, so the same formulas serve the host's tables and a traced program.
lam decreases with t: sampling runs from `t_max` down to `t_min`, lam upwards. At an end point where
alpha = 0 or sigma = 0, lam is -inf or +inf. Near t = 0 every sigma comes from `expm1` or sine forms: computed
as sqrt(1 - alpha^2) in float32 it would be wrong in the third digit at t = 1e-4.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


def _in(value):
    """The array module (numpy or jax.numpy) for the argument, and the argument as an array."""
    if isinstance(value, jax.Array):
        return jnp, value
    return np, np.asarray(value, np.float64)


class Schedule:
    """The base class: subclasses define `alpha`, `sigma`, `t_of_lam`, and the range of sampling, `t_max` to `t_min`."""

    t_max: float = 1.0
    t_min: float = 1e-3

    def alpha(self, t):
        raise NotImplementedError

    def sigma(self, t):
        raise NotImplementedError

    def lam(self, t):
        """log(alpha / sigma); -inf where alpha = 0, +inf where sigma = 0."""
        xp, t = _in(t)
        with np.errstate(divide="ignore"):
            return xp.log(self.alpha(t)) - xp.log(self.sigma(t))

    def t_of_lam(self, lam):
        raise NotImplementedError


@dataclass(frozen=True)
class EDM(Schedule):
    """Variance exploding in EDM's units (Karras et al. 2022): alpha = 1, sigma = t."""

    t_max = 80.0
    t_min = 0.002

    def alpha(self, t):
        xp, t = _in(t)
        return xp.ones_like(t)

    def sigma(self, t):
        return _in(t)[1]

    def t_of_lam(self, lam):
        xp, lam = _in(lam)
        return xp.exp(-lam)


@dataclass(frozen=True)
class VP(Schedule):
    """Variance preserving, linear beta (Song et al. 2021): log alpha = -t^2 (beta_max - beta_min)/4 - t beta_min/2."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self):
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(f"VP needs 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max}")

    def log_alpha(self, t):
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t):
        xp, t = _in(t)
        return xp.exp(self.log_alpha(t))

    def sigma(self, t):
        xp, t = _in(t)
        return xp.sqrt(-xp.expm1(2 * self.log_alpha(t)))

    def t_of_lam(self, lam):
        # -2 log alpha = log(1 + e^{-2 lam}) is a quadratic in t; this root has no cancellation
        xp, lam = _in(lam)
        y = 2 * xp.logaddexp(-2 * lam, xp.zeros_like(lam))
        return y / (xp.sqrt(self.beta_min**2 + (self.beta_max - self.beta_min) * y) + self.beta_min)


@dataclass(frozen=True)
class VPCosine(Schedule):
    """Variance preserving, cosine (Nichol & Dhariwal 2021).

    alpha = cos(phi + c) / cos(c) with phi = t pi / (2 (1 + offset)), and c the phi of t = offset. It vanishes at
    t = 1; the default range ends at 0.9946, as in DPM-Solver.
    """

    offset: float = 0.008
    t_max = 0.9946

    @property
    def _c(self):
        return 0.5 * np.pi * self.offset / (1 + self.offset)

    def _phi(self, t):
        return t * (0.5 * np.pi / (1 + self.offset))

    def alpha(self, t):
        xp, t = _in(t)
        return xp.cos(self._phi(t) + self._c) / np.cos(self._c)

    def sigma(self, t):
        # 1 - alpha^2 = (cos^2 c - cos^2(phi + c)) / cos^2 c = sin(phi) sin(phi + 2c) / cos^2 c
        xp, t = _in(t)
        phi = self._phi(t)
        return xp.sqrt(xp.sin(phi) * xp.sin(phi + 2 * self._c)) / np.cos(self._c)

    def t_of_lam(self, lam):
        xp, lam = _in(lam)
        alpha2 = xp.exp(-xp.logaddexp(-2 * lam, xp.zeros_like(lam)))
        sigma2 = xp.exp(-xp.logaddexp(2 * lam, xp.zeros_like(lam)))
        cos2 = np.cos(self._c) ** 2
        theta = xp.arctan2(xp.sqrt(np.sin(self._c) ** 2 + cos2 * sigma2), xp.sqrt(cos2 * alpha2))
        return (theta - self._c) / (0.5 * np.pi / (1 + self.offset))


@dataclass(frozen=True, eq=False)
class VPDiscrete(Schedule):
    """Any discrete VP schedule: `alphas_cumprod` [N] (= alpha^2), label n at t = (n + 1) / N (Lu et al. 2022).

    log alpha is piecewise linear in t, continued linearly outside [1/N, 1], and at most 0. A last value of exactly 0
    (zero terminal SNR, Lin et al. 2024) has no logarithm: on the last interval alpha itself is linear then.
    """

    alphas_cumprod: np.ndarray

    def __post_init__(self):
        a = np.asarray(self.alphas_cumprod, np.float64)
        if a.ndim != 1 or len(a) < 3 or not (np.all(np.diff(a) < 0) and a[0] < 1 and a[-1] >= 0):
            raise ValueError(
                "VPDiscrete needs alphas_cumprod of shape [N], N >= 3, strictly decreasing inside [0, 1), got shape "
                f"{a.shape} with range [{a.min() if a.size else np.nan:.3g}, {a.max() if a.size else np.nan:.3g}]: "
                "pass cumprod(1 - betas)"
            )
        object.__setattr__(self, "alphas_cumprod", a)

    def __repr__(self):
        a = self.alphas_cumprod
        return f"VPDiscrete(N={len(a)}, first={a[0]:.8g}, last={a[-1]:.8g}, sum={a.sum():.8g})"

    def _knots(self):
        """t and log alpha where alpha > 0."""
        n, positive = len(self.alphas_cumprod), self.alphas_cumprod > 0
        return (np.arange(1, n + 1) / n)[positive], 0.5 * np.log(self.alphas_cumprod[positive])

    def log_alpha(self, t):
        xp, t = _in(t)
        times, values = self._knots()
        inside = xp.minimum(_interpolate(t, times, values), 0.0)
        if times[-1] == 1:
            return inside
        with np.errstate(divide="ignore"):
            falling = values[-1] + xp.log(xp.clip((1 - t) / (1 - times[-1]), 0, 1))
        return xp.where(t > times[-1], falling, inside)

    alpha = VP.alpha
    sigma = VP.sigma

    def t_of_lam(self, lam):
        xp, lam = _in(lam)
        times, values = self._knots()
        log_alpha = -0.5 * xp.logaddexp(-2 * lam, xp.zeros_like(lam))
        inside = _interpolate(log_alpha, values[::-1], times[::-1])
        falling = 1 - (1 - times[-1]) * xp.exp(xp.minimum(log_alpha - values[-1], 0))
        return xp.where(log_alpha < values[-1], falling, inside) if times[-1] < 1 else inside


def zero_terminal_snr(alphas_cumprod) -> np.ndarray:
    """`alphas_cumprod` [N] with sqrt shifted and scaled so that it ends at 0 and starts as before (Lin et al. 2024)."""
    root = np.sqrt(np.asarray(alphas_cumprod, np.float64))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return np.append(root[:-1], 0.0) ** 2


@dataclass(frozen=True)
class Flow(Schedule):
    """Rectified flow (Liu et al. 2023): alpha = 1 - t, sigma = t. At t = 1 lam is -inf, at t = 0 it is +inf."""

    t_max = 1.0
    t_min = 1e-3

    def alpha(self, t):
        return 1 - _in(t)[1]

    def sigma(self, t):
        return _in(t)[1]

    def t_of_lam(self, lam):
        xp, lam = _in(lam)
        return xp.exp(-xp.logaddexp(lam, xp.zeros_like(lam)))


def _interpolate(x, knots, values):
    """Piecewise linear through (knots, values), knots increasing, continued linearly beyond both ends."""
    xp, x = _in(x)
    i = xp.clip(xp.searchsorted(xp.asarray(knots), x) - 1, 0, len(knots) - 2)
    slope = np.diff(values) / np.diff(knots)
    return xp.asarray(values)[i] + xp.asarray(slope)[i] * (x - xp.asarray(knots)[i])
