"""Multistep exponential solvers: DDIM, DPM-Solver, DPM-Solver++, UniPC.

All are one formula (exponential.py, Eq. 3), in which the published methods replace some weights; `variant="exact"`
replaces none and has the order that its name promises.
"""

from functools import wraps

import numpy as np

from solvers.builders.exponential import HALF_W0, check_choice, multistep, weights
from solvers.grid import check_times
from solvers.prediction import convert
from solvers.table import Table, check, concat


def leaves_pure_noise(builder):
    """A decorator for builders that need a finite lam. If the grid starts at alpha = 0 (zero-terminal-SNR betas,
    rectified flow from t = 1), the first step is DDIM's, which needs none, and the method starts with the second."""

    @wraps(builder)
    def build(schedule, grid, prediction="eps", *options, **named):
        grid = check_times(grid)
        if schedule.alpha(grid[0]) > 0:
            return builder(schedule, grid, prediction, *options, **named)
        first = ddim(schedule, grid[:2], prediction)
        return first if len(grid) == 2 else concat(first, builder(schedule, grid[1:], prediction, *options, **named))

    return build


def ddim(schedule, grid, prediction="eps") -> Table:
    """DDIM (Song et al. 2021) = DPM-Solver-1 = DPM-Solver++ of order 1."""
    return multistep(schedule, grid, prediction, "x0", 1, True, {})


def denoise_to_zero(table, schedule, t_end, prediction="eps") -> Table:
    """The table with one more evaluation at its end `t_end`, where the prediction of x0 replaces x.

    The code of the DPM solvers calls it denoise_to_zero. It is DDIM's step to sigma = 0.
    """
    p, q = convert(schedule.alpha([t_end]), schedule.sigma([t_end]), prediction, "x0")
    one, none = np.ones((1, 1)), np.zeros(1)
    return concat(table, check(Table(np.array([float(t_end)]), p, q, none, one, none)))


@leaves_pure_noise
def dpm_solver(schedule, grid, prediction="eps", order=3, variant="dpmsolver", lower_order_final=True) -> Table:
    """DPM-Solver multistep, orders 1 to 3 (Lu et al. 2022): the polynomial goes through eps. Variants as in `dpmpp`."""
    rules = _dpm_rules("dpm_solver", variant)
    return multistep(schedule, grid, prediction, "eps", order, lower_order_final, rules)


@leaves_pure_noise
def dpmpp(schedule, grid, prediction="eps", order=3, variant="dpmsolver", lower_order_final=True) -> Table:
    """DPM-Solver++ multistep, orders 1 to 3 (Lu et al. 2022b): the polynomial goes through x0.

    `variant` is the published `solver_type` of order 2: "dpmsolver" halves w_0 in place of w_1, "taylor" keeps w_1.
    In both, order 3 is the published code's: its second derivative lacks a factor 2, so its local error is O(h^3),
    like order 2's. "exact" is the method of order 3 that the paper describes (= UniP-3). On the mixture of
    configs/convergence.py (EDM) the median RMSE is 0.040 as published and 0.055 exact at 10 evaluations, 5.1e-4 and
    4.0e-4 at 40.
    """
    rules = _dpm_rules("dpmpp", variant)
    return multistep(schedule, grid, prediction, "x0", order, lower_order_final, rules)


def _dpm_rules(who, variant):
    check_choice(who, "variant", variant, ("dpmsolver", "taylor", "exact"))
    half_w0 = HALF_W0 if variant == "dpmsolver" else {}
    return half_w0 if variant == "exact" else half_w0 | {3: lambda w, _: [w[0], w[1], w[2] / 2]}


@leaves_pure_noise
def unipc(
    schedule,
    grid,
    prediction="eps",
    order=3,
    variant="bh2",
    corrector=True,
    half=None,
    form="x0",
    lower_order_final=True,
) -> Table:
    """UniPC, orders 1 to 3 (Zhao et al. 2023): the predictor UniP-p, and the corrector UniC-p, which has one more node.

    `variant` is B(h): "bh1" is h, "bh2" is e^h - 1. It only matters where two nodes are used: there the published
    code replaces w_1 by B/2. "vary_coeff" replaces nothing in the predictor; its published corrector counts the new
    node in one term only (`_vary_coeff`), which leaves order 1. "exact" corrects with Eq. 3 (8.6e-3 and 8.7e-5 at 40
    evaluations on the mixture of configs/convergence.py; equal at 10). `form` is what the polynomial goes through, "x0"
    (data) or "eps" (noise prediction); `half` is explained in `corrected_rows`.
    """
    check_choice("unipc", "variant", variant, ("bh1", "bh2", "vary_coeff", "exact"))
    check_choice("unipc", "form", form, ("x0", "eps"))
    rules = {"bh1": {2: lambda w, linear: [w[0], linear / 2]}, "bh2": HALF_W0}.get(variant, {})
    correct = None if not corrector else _vary_coeff if variant == "vary_coeff" else weights
    return multistep(schedule, grid, prediction, form, order, lower_order_final, rules, correct, half)


def _vary_coeff(ratio, w, linear, rules):
    """The published corrector of UniPC's `vary_coeff`, node 0 at t and node 1 at s, in slopes D_j = (m_j - m_s) / r_j.

    With M the inverse of r_j^(k-1), Eq. 3 is w_0 m_s + sum_k w_k sum_j M_kj D_j over k = 1..K. The code sums k to K - 1
    without the slope at t, which it adds once: with w_K M_{K-1,t} / K. First order then fails where K > 1.
    """
    others = [0, *range(2, len(ratio))]
    K = len(others)
    M = np.linalg.inv(np.vander(ratio[others], increasing=True))
    slopes = w[1:K] @ M[: K - 1]
    slopes[0] = w[K] * M[max(K - 2, 0), 0] / K
    b = np.zeros(K + 1)
    b[others] = slopes / ratio[others]
    b[1] = w[0] - b.sum()
    return b
