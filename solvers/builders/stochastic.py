"""Stochastic solvers: tables with an s column, the standard deviation of the noise added after a row's update.

From s to t, h = lam_t - lam_s, and x0, eps the model's at x_s, with x_s = alpha_s x0 + sigma_s eps:

    x_t = alpha_t x0 + sigma_t (g eps + sqrt(1 - g^2) xi),    g^2 = 1 - eta^2 (1 - e^{-2h})                  (1)

is DDIM(eta) (Song et al. 2021a), which keeps the marginals of one data point for every eta. eta = 0 is DDIM, eta = 1
the posterior of the forward process, DDPM, where g = e^{-h}. In terms of x_s and x0:

    x_t = g sigma_t/sigma_s x_s + alpha_t (1 - g e^{-h}) x0 + sigma_t sqrt(1 - g^2) xi                       (2)

SDE-DPM-Solver++ solves the reverse SDE, and is (2) with eta = 1 as long as x0 is held constant.
A table that adds no noise at all is deterministic, s = None, and needs no key.
"""

import numpy as np

from solvers.builders.exponential import Nodes, check_choice, eps_or_x0_table, nodes, steps_of
from solvers.builders.singlestep import heun_steps
from solvers.table import Table, check


def ddpm(schedule, grid, prediction="eps", eta=1.0, variance="small") -> Table:
    """DDPM (Ho et al. 2020), and with eta < 1 DDIM(eta) (Song et al. 2021a): (2).

    `variance` is the choice of DDPM for its noise: "small" is the posterior's of one data point, as in (2), "large"
    that of the forward step from t to s, sigma_s^2 - (alpha_s/alpha_t)^2 sigma_t^2 = sigma_s^2 (1 - e^{-2h}), for
    eta = 1. "large" is exact on normal data of unit variance under a variance preserving schedule; on others it
    leaves more noise than the marginal has. As published, a step to sigma = 0 then adds none.
    """
    check_choice("ddpm", "variance", variance, ("small", "large"))
    if not 0 <= eta <= 1:
        raise ValueError(f"ddpm needs eta from 0 (DDIM, no noise) to 1 (DDPM), got {eta}")
    if variance == "large" and eta != 1:
        raise ValueError(f"variance 'large' is a choice of DDPM, eta = 1, got eta = {eta}: use variance 'small'")
    at = nodes(schedule, grid)
    a, b, s = _ancestral(at, eta)
    if variance == "large":
        s = np.where(at.sigma[1:] > 0, at.sigma[:-1] * np.sqrt(-np.expm1(-2 * np.diff(at.lam))), 0.0)
    return eps_or_x0_table(schedule, at, prediction, "x0", a, b[:, None], consistent=False, s=_noise(s))


def sde_dpmpp_2m(schedule, grid, prediction="eps", order=2) -> Table:
    """SDE-DPM-Solver++ of order 1, and 2M (Lu et al. 2022b; "midpoint" of k-diffusion's dpmpp_2m_sde).

    (2) with eta = 1 and, at order 2, x0 + D/2 in place of x0, D the last difference of x0 extrapolated to a step of
    h: D = (x0_s - x0_r) h / (lam_s - lam_r). The first step has order 1, and so has one whose h or D is infinite.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order}")
    at = nodes(schedule, grid)
    a, w, s = _ancestral(at, 1.0)
    b = np.zeros((len(w), order))
    b[:, 0] = w
    if order == 2:
        h = np.diff(at.lam)
        now, before = h[1:], h[:-1]
        finite = np.isfinite(now) & np.isfinite(before)
        half = w[1:] * np.divide(now, 2 * before, out=np.zeros_like(now), where=finite)
        b[1:] += np.stack([half, -half], axis=1)
    return eps_or_x0_table(schedule, at, prediction, "x0", a, b, consistent=False, s=_noise(s))


def edm_stochastic(schedule, grid, prediction="eps", s_churn=0.0, s_min=0.0, s_max=np.inf, s_noise=1.0) -> Table:
    """EDM, Algorithm 2 (Karras et al. 2022), in the coordinates x/alpha, sigma/alpha: `edm_heun` with churn.

    Step n of N begins by raising sigma/alpha by the factor 1 + gamma, gamma = min(s_churn / N, sqrt(2) - 1), with noise
    of `s_noise` times the standard deviation that this takes; only where sigma/alpha is in [s_min, s_max]. A row's
    noise comes after its update, so this is the end of step n - 1, and x there is already the raised one. Hence the
    first step is never raised: x_T belongs to grid[0] as in all solvers. (No published setting raises it: s_max < 80.)
    """
    if not (s_churn >= 0 and s_noise >= 0 and 0 <= s_min <= s_max):
        raise ValueError(
            "edm_stochastic needs s_churn >= 0, s_noise >= 0 and 0 <= s_min <= s_max, "
            f"got {s_churn}, {s_noise}, {s_min}, {s_max}"
        )
    at = nodes(schedule, grid)
    start, end = steps_of(at)
    with np.errstate(divide="ignore"):
        ratio = start.sigma / start.alpha
    gamma = np.where((s_min <= ratio) & (ratio <= s_max), min(s_churn / len(ratio), np.sqrt(2) - 1), 0.0)
    gamma[0] = 0.0
    t = np.where(gamma > 0, schedule.t_of_lam(start.lam - np.log1p(gamma)), start.t)
    if t.max() > at.t[0]:
        raise ValueError(
            f"churn raises t={start.t[t.argmax()]:.6g} to {t.max():.6g}, above the start of the grid, {at.t[0]:.6g}: "
            f"use s_max up to {ratio[0] / (1 + gamma.max()):.6g}, or a smaller s_churn"
        )
    start = Nodes(t, schedule.alpha(t), schedule.sigma(t), schedule.lam(t))
    table, last = heun_steps(start, end, prediction)
    rows, lift = last[:-1], start.alpha[1:] / end.alpha[:-1]
    table.a[rows] *= lift
    table.b[rows] *= lift[:, None]
    s = np.zeros(table.nfe)
    s[rows] = s_noise * start.alpha[1:] * (ratio * np.sqrt(gamma * (2 + gamma)))[1:]
    return check(table._replace(s=_noise(s)))


def _ancestral(at: Nodes, eta):
    """(2) on all rows: a [N], the weight of x0 [N], s [N]. Right for infinite h, and without cancellation for small."""
    h = np.diff(at.lam)
    decay, gone = np.exp(-h), -np.expm1(-2 * h)
    g = np.hypot(np.sqrt((1 - eta) * (1 + eta)), eta * decay)
    one_minus_g = eta**2 * gone / (1 + g)
    a = g * at.sigma[1:] / at.sigma[:-1]
    return a, at.alpha[1:] * (decay * one_minus_g - np.expm1(-h)), eta * at.sigma[1:] * np.sqrt(gone)


def _noise(s):
    """The s column, or None where it is zero."""
    return s if np.any(s) else None
