"""Adams-Bashforth solvers on the slope eps: iPNDM, DEIS, LMS, PLMS.

With rho = sigma/alpha as time, the diffusion ODE is d(x/alpha) = eps drho (Karras et al. 2022). A step from s to t is

    x_t = alpha_t/alpha_s x_s + alpha_t int_s^t eps drho                                               (1)

and the methods put a polynomial through the known eps: in rho (DEIS rhoAB, LMS), in the schedule's time (DEIS tAB), or
with the weights of equal steps whatever the steps are (iPNDM, PLMS).
"""

from functools import cache

import numpy as np

from solvers.builders.exponential import check_choice, eps_or_x0_table, interval, nodes, orders, weights
from solvers.builders.multistep import leaves_pure_noise
from solvers.prediction import convert
from solvers.schedule import EDM, VP
from solvers.table import Table, check

ADAMS_BASHFORTH = {
    1: [1.0],
    2: [3 / 2, -1 / 2],
    3: [23 / 12, -16 / 12, 5 / 12],
    4: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
}


class _DeisTime(VP):
    """Linear VP with t = 1e-3 at sigma/alpha = 0.002 and t = 1 at 80; beta_min < 0, but beta > 0 from 1e-3 on."""

    def __init__(self):
        low, high = np.log1p(np.square([0.002, 80.0])) / (1e-3, 1.0)
        slope = 2 * (high - low) / (1 - 1e-3)
        object.__setattr__(self, "beta_min", high - slope / 2)
        object.__setattr__(self, "beta_max", high + slope / 2)

    def t_of_lam(self, lam):
        # the same root as VP's, in the form that does not cancel for beta_min < 0
        return (np.sqrt(self.beta_min**2 + 2 * self._slope * np.logaddexp(-2 * lam, 0)) - self.beta_min) / self._slope

    @property
    def _slope(self):
        return self.beta_max - self.beta_min

    def slope_of_rho(self, t):
        """d rho / dt, from 1 + rho^2 = exp(beta_min t + slope t^2 / 2)."""
        rho = self.sigma(t) / self.alpha(t)
        return (self.beta_min + self._slope * t) * (1 + rho**2) / (2 * rho)


DEIS_TIME = _DeisTime()  # the time in which diff-sampler's DEIS is a polynomial


@leaves_pure_noise
def ipndm(schedule, grid, prediction="eps", order=4, variant="equal") -> Table:
    """iPNDM, orders 1 to 4 (Zhang & Chen 2023): Adams-Bashforth weights on eps.

    `variant`: "equal" has the weights of equal steps; "variable" is the published variable-step iPNDM_v. Up to order 2
    that is `lms`, which it aims at. Of order 3 and 4 its weights (`_ipndm_v`) are off by up to 0.6 on EDM's grid; of
    order 4 they do not even sum to 1 where the steps are no geometric sequence (1e-3 there), and the error stalls. On
    the mixture of configs/convergence.py it is 0.009 at 10 evaluations all the same, that of `lms` 0.040.
    """
    check_choice("ipndm", "variant", variant, ("equal", "variable"))
    if variant == "equal":
        return _adams(schedule, grid, prediction, order, lambda at, n, p, total: total * np.array(ADAMS_BASHFORTH[p]))
    return _adams(schedule, grid, prediction, order, _ipndm_v, consistent=False)


def lms(schedule, grid, prediction="eps", order=4) -> Table:
    """Linear multistep (k-diffusion's `lms`) = DEIS rhoAB = variable-step Adams-Bashforth in rho, orders 1 to 4."""
    return deis(schedule, grid, prediction, order, "rhoab")


@leaves_pure_noise
def deis(schedule, grid, prediction="eps", order=4, variant="tab", time=None) -> Table:
    """DEIS (Zhang & Chen 2023), orders 1 to 4: tAB0 to tAB3 of the paper, which counts from 0, or rhoAB0 to rhoAB3.

    `variant`: the polynomial is in the time of the schedule ("tab") or in rho ("rhoab"), with exact integrals (to 1e-7
    in the time of a discrete schedule, which has kinks). `time` is another schedule whose time to take, by default
    DEIS_TIME for EDM, whose own time is rho. "tab_published" is diff-sampler's code: DEIS_TIME for every model, and
    sums over 10,000 points for integrals. They move samples by about 1e-4, and by 2e-3 where the last step is large.
    """
    check_choice("deis", "variant", variant, ("tab", "rhoab", "tab_published"))
    published = variant == "tab_published"
    time = time or (DEIS_TIME if published or isinstance(schedule, EDM) else schedule)

    def row(at, n, p, total):
        if variant == "rhoab":
            u, moments = at.sigma / at.alpha, total / np.arange(1, p + 1)
        else:
            u = at.t if time is schedule else time.t_of_lam(at.lam)
            moments = (_sums if published else _integrals)(time, u[n : n + 2], at.alpha[n + 1], p, total)
        return weights((u[n - np.arange(p)] - u[n]) / (u[n + 1] - u[n]), moments)

    return _adams(schedule, grid, prediction, order, row, consistent=not published)


@leaves_pure_noise
def plms(schedule, grid, prediction="eps", order=4) -> Table:
    """PLMS, the pseudo linear multistep of Stable Diffusion (Liu et al. 2022, PNDM without Runge-Kutta), orders 1 to 4.

    `grid` [n + 1] gives n + 1 rows: the first step is Heun's on eps, whose second evaluation is used there only. On
    integer labels of a discrete schedule of N: the grid (label + 1) / N, ending at label 0.
    """
    at = nodes(schedule, grid)
    steps = len(at.t) - 1
    a, b = np.ones(steps + 1), np.zeros((steps + 1, order + 1))
    first, *rest = orders(steps, order, False, most=4)
    a[0], (total,), _ = interval(at, 0, 1, "eps")
    b[0, 0], b[1, :2] = total, [total / 2, -total / 2]
    for n, p in enumerate(rest, start=1):
        a[n + 1], (total,), _ = interval(at, n, 1, "eps")
        back = np.arange(p) + (np.arange(p) == n)  # the prediction of step 0 lies one row further back
        b[n + 1, back] = total * np.array(ADAMS_BASHFORTH[p])
    at_rows = np.r_[0, 1, np.arange(1, steps)]
    p, q = convert(at.alpha[at_rows], at.sigma[at_rows], prediction, "eps")
    return check(Table(at.t[at_rows], p, q, a, b, np.zeros(steps + 1)), schedule, at.t[-1], prediction)


def _adams(schedule, grid, prediction, order, row, consistent=True):
    """Rows of (1); `row(at, n, p, total) -> b [p]` from p predictions, total = alpha_t (rho_t - rho_s)."""
    at = nodes(schedule, grid)
    rows = len(at.t) - 1
    policy = orders(rows, order, False, most=4)
    a, b = np.zeros(rows), np.zeros((rows, order))
    for n, p in enumerate(policy):
        a[n], (total,), _ = interval(at, n, 1, "eps")
        b[n, :p] = row(at, n, p, total)
    return eps_or_x0_table(schedule, at, prediction, "eps", a, b, consistent)


def _integrals(time, ends, alpha, count, total):
    """alpha_t int tau^j drho for j < count, tau from 0 to 1 between the times `ends`.

    By parts, with no derivative of rho: the integral of tau^j is that of j tau^(j-1) (rho_t - rho(tau)) dtau.
    """
    tau, w = _quadrature()
    rho = lambda t: time.sigma(t) / time.alpha(t)  # noqa: E731
    rest = alpha * (rho(ends[1]) - rho(ends[0] + tau * (ends[1] - ends[0])))
    return np.array([total] + [j * (w * tau ** (j - 1) * rest).sum() for j in range(1, count)])


@cache
def _quadrature():
    """The 400 points and weights of Gauss-Legendre quadrature on [0, 1]: t = 1e-3 is near the branch point of sigma.

    scipy takes a band matrix. numpy takes a dense one, which needs seconds when other programs use the cores.
    """
    from scipy.special import roots_legendre  # half a second to import, for DEIS alone

    points, weights = roots_legendre(400)
    return (points + 1) / 2, weights / 2


def _sums(time, ends, alpha, count, total, points=10_000):
    """The published sums for `_integrals`: both ends are among the points, and each point counts for 1 / points. A
    single prediction has its exact weight."""
    tau = np.linspace(0, 1, points)
    slope = alpha * (ends[1] - ends[0]) * time.slope_of_rho(ends[0] + tau * (ends[1] - ends[0]))
    return np.array([(tau**j * slope).mean() for j in range(count)]) if count > 1 else np.array([total])


def _ipndm_v(at, n, p, total):
    """The weights of iPNDM_v as published: Newton's form with h_0, h_1... the newest steps in rho.

    With a = h_0 / (3 (h_0 + h_1)) and g = h_0 (h_0 + h_1) / (h_1 (h_1 + h_2)), the second-order term is (1 - a) g / 2;
    the code has (1 - a g) / 2. Of order 4, the last term is 11/24 on equal steps where Adams-Bashforth has 9/24, and
    the last weight takes h_1/h_2 where h_2/h_3 belongs.
    """
    rho = at.sigma / at.alpha
    h = -np.diff(rho)[n - np.arange(p)]
    if p == 1:
        return np.array([total])
    b = np.zeros(p)
    ratio = h[0] / h[1]
    b[:2] = 1 + ratio / 2, -ratio / 2
    if p >= 3:
        r = h[1] / h[2]
        a = h[0] / (3 * (h[0] + h[1]))
        g = h[0] * (h[0] + h[1]) / (h[1] * (h[1] + h[2]))
        term = (1 - a * g) / 2
        b[:3] += term * np.array([1, -1 - r, r])
    if p == 4:
        k = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
        third = (1 - a) / 2 + (1 - h[0] / (2 * (h[0] + h[1]))) * h[0] / (6 * (h[0] + h[1] + h[2]))
        third *= h[0] * (h[0] + h[1]) * (h[0] + h[1] + h[2])
        third /= h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3])
        b += third * np.array([1, -1 - r - k, r + k * (1 + h[2] / h[3]), -k * r])
    return total * b
