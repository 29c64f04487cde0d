"""Empirical model statistics (EMS) of any model, for DPM-Solver-v3 (Zheng et al. 2023, Eqs. 5, 11, 60 to 63).

Over points x at lam, and per coordinate:

    l = E[diag(sigma d eps/dx)]
    f = (sigma eps - l x) / alpha,   f' its total derivative in lam along the diffusion ODE
    s = Cov(f, f') / Var f,          b = E f' - s E f

With u = x / alpha, y the predicted x0 and q = alpha diag(dy/dx):  sigma eps / alpha = u - y,  du/dlam = y - u,  hence

    l = 1 - E q,   f = (1 - l) u - y,   f' = (1 - l)(y - u) - l' u - y'                                   (1)

f and f' are affine in l and l'. So a pass over the points keeps only the moments of u, y, y' and q (moments.py); l, s
and b follow from them afterwards, with any smoothing. Standard errors are those of the mean (l) and of
least squares (s and b, with l and l' as given).
"""

from typing import NamedTuple

import numpy as np

from solvers.ems.data import EMS
from solvers.ems.moments import NAMES, Moments, Plan, gatherer


def estimate(
    model,
    schedule,
    data,
    lam,
    key,
    prediction="eps",
    rule="noised",
    condition=None,
    batch=64,
    probes=1,
    path=False,
    progress=None,
    recipe=None,
) -> EMS:
    """EMS of `model(x, t) -> out` at `lam` [G + 1] (increasing), from data [K, *D].

    rule: "noised", data are clean samples; "trajectory", data are states at lam[0], and the points lie on the model's
    own ODE from there: for guided models by far the better. With `condition` [K, ...], one entry per data point (a
    label, say), the model is `model(x, t, entry)`, and the statistics are over data and conditions together.

    The network is differentiated in forward mode. Point i uses the same noise and the same Hutchinson probes at every
    lam (from fold_in(key, i)), so that l is a smooth function of lam and l' its derivative; `probes`, `path`: see
    `moments.Plan`. `recipe`: a `Recipe`, how statistics are made of the moments. `progress(done, total)`, if given, is
    called after each batch with numbers of visits. Raises ValueError if the model is not finite somewhere.
    """
    lam, data = np.asarray(lam, np.float64), np.asarray(data)
    if lam.ndim != 1 or len(lam) < 3 or np.any(np.diff(lam) <= 0):
        raise ValueError(
            f"estimate needs at least 3 increasing values of lam, got {len(lam)}: use np.linspace(lo, hi, G + 1)"
        )
    if len(data) < 3:
        raise ValueError(f"estimate needs at least 3 data points for a variance, got {len(data)}: 1000 is usual")
    plan = Plan(lambda _, *args: model(*args), (), schedule, lam, key, prediction, rule, probes, path, batch)
    done, total = 0, len(data) * len(lam)

    def count(points):
        nonlocal done
        done += points
        progress(done, total)

    condition = () if condition is None else (np.asarray(condition),)
    moments, _ = gatherer(plan)(data, np.arange(len(data)), condition, progress=progress and count)
    ems = statistics(moments, lam, path, recipe or DEFAULT)
    meta = {"schedule": repr(schedule), "shape": list(data.shape[1:]), "points": len(data)}
    return ems._replace(meta=ems.meta | meta | {"identity": {"prediction": prediction}, "rule": rule})


class Raw(NamedTuple):
    """Estimates from the points before any recipe, [G + 1, *D] each: l, its derivative in lam, moments of f and f'."""

    l: np.ndarray
    dl: np.ndarray
    mean_f: np.ndarray
    mean_df: np.ndarray
    variance: np.ndarray  # Var f
    covariance: np.ndarray  # Cov(f, f')
    variance_df: np.ndarray
    scale: np.ndarray  # sum of the variances of the two terms whose difference is f
    error_l: np.ndarray


def raw(moments: Moments, lam, path=False, window=1, l=None) -> Raw:
    """Equation (1), with `l` for the estimated l if it is given.

    l' is the derivative along the path of the points (`path`, if they were gathered with it), or differences of l,
    central and of second order also at the ends, averaged over `window` nodes (the published: 11).
    """
    count = moments.count.reshape((-1,) + (1,) * (moments.sums.ndim - 2))
    m = dict(zip(NAMES, np.moveaxis(moments.sums, 1, 0) / count, strict=True))
    if l is not None:
        m |= {name: np.full_like(m["q"], value) for name, value in {"q": 1 - l, "qq": (1 - l) ** 2, "dq": 0}.items()}
    u, y, dy, l = m["u"], m["y"], m["dy"], 1 - m["q"]
    dl = -m["dq"] if path else smooth(np.gradient(l, lam, axis=0, edge_order=2), window)
    var_u, cov_uy, var_y = m["uu"] - u * u, m["uy"] - u * y, m["yy"] - y * y
    cov_udy, cov_ydy, var_dy = m["udy"] - u * dy, m["ydy"] - y * dy, m["dydy"] - dy * dy
    k, of_u = 1 - l, l - 1 - dl  # f = k u - y,  f' = of_u u + k y - y'
    variance = k * k * var_u - 2 * k * cov_uy + var_y
    covariance = k * of_u * var_u + (k * k - of_u) * cov_uy - k * cov_udy - k * var_y + cov_ydy
    variance_df = of_u**2 * var_u + k * k * var_y + var_dy + 2 * (of_u * k * cov_uy - of_u * cov_udy - k * cov_ydy)
    error_l = np.sqrt(np.maximum(m["qq"] - m["q"] ** 2, 0) / (count - 1))
    mean_f, mean_df, scale = k * u - y, of_u * u + k * y - dy, k * k * var_u + var_y
    return Raw(l, dl, mean_f, mean_df, variance, covariance, variance_df, scale, error_l)


def smooth(values, window):
    """Moving average over `window` (odd) nodes, truncated at the ends; values [G + 1, *D]."""
    if window % 2 == 0 or not 0 < window <= len(values):
        raise ValueError(f"window must be odd, from 1 to the {len(values)} noise levels, got {window}")
    total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    node = np.arange(len(values))
    first, last = np.maximum(node - window // 2, 0), np.minimum(node + window // 2 + 1, len(values))
    return (total[last] - total[first]) / (last - first).reshape((-1,) + (1,) * (values.ndim - 1))


class Recipe(NamedTuple):
    """How statistics are made of moments; the defaults measured best (docs/ems.md, "Which statistics").

    l          this number for l, in place of the estimate (1: f is minus the predicted x0; published for ImageNet-256)
    window     nodes that l' is averaged over where it comes from differences of l (the published script: 11)
    ridge      added to Var f, in units of its mean over coordinates: quiets coordinates that hardly vary
    round_off  added to Var f, in units of the variance of its terms: below that f is constant as far as float32 can
               tell (6e-8 of each term), as of an exact Gaussian, where the published s is 0 / 0
    negligible s is dropped where s^2 Var f, what it explains of Var f', is below this share of the mean square of f:
               there it is a ratio of errors (of l' by differences, say) that integrals would amplify
    cap        largest |s|: integrals of s are exponents
    shrink     s is multiplied by max(0, 1 - shrink (standard error / s)^2)
    r2         s is multiplied by this power of the share of Var f' that it explains
    """

    l: float | None = None
    window: int = 1
    ridge: float = 1e-3
    round_off: float = 1e-12
    negligible: float = 1e-8
    cap: float = 3.0
    shrink: float = 0.0
    r2: float = 0.0


DEFAULT = Recipe()
PLAIN = Recipe(ridge=0.0, round_off=0.0, negligible=0.0, cap=np.inf)  # the definition itself
COORDINATES = 256  # per block: some thirty arrays [G + 1, COORDINATES] are needed beside the result


def statistics(moments: Moments, lam, path=False, recipe=DEFAULT) -> EMS:
    """The EMS at lam [G + 1] from the moments of points; meta has their standard errors.

    path: l' is the derivative along the path of the points, which must have been gathered with it.
    """
    lam, shape = np.asarray(lam, np.float64), moments.sums.shape[2:]
    sums = moments.sums.reshape(*moments.sums.shape[:2], -1)
    blocks = [slice(first, first + COORDINATES) for first in range(0, sums.shape[2], COORDINATES)]
    of_block = lambda at: raw(Moments(moments.count, sums[..., at]), lam, path, recipe.window, recipe.l)  # noqa: E731
    means = _means((of_block(at) for at in blocks), sums.shape[2])
    l, s, b = np.empty((3, len(lam), sums.shape[2]))
    squares = {name: np.zeros(len(lam)) for name in "lsb"}
    for at in blocks:
        (l[:, at], s[:, at], b[:, at]), errors = _of_block(of_block(at), moments.count, recipe, *means)
        for name, error in errors.items():
            squares[name] += np.square(error).sum(axis=1)
    rms = {name: np.sqrt(total / sums.shape[2]).tolist() for name, total in squares.items()}
    l, s, b = (x.reshape(-1, *shape) for x in (l, s, b))
    return EMS(lam, l, s, b, {"standard_error": rms})


def _means(parts, count):
    """Var f and the mean square of f over all `count` coordinates, [G + 1, 1]; parts: `Raw` of some coordinates."""
    parts = ((r.variance.sum(axis=1), (np.maximum(r.variance, 0) + r.mean_f**2).sum(axis=1)) for r in parts)
    return [sum(sums)[:, None] / count for sums in zip(*parts)]


def _of_block(r: Raw, count, recipe, mean_variance, mean_square):
    """(l, s, b) [G + 1, n] of some coordinates, and the standard errors of each."""
    floor = recipe.round_off * r.scale + recipe.ridge * mean_variance + np.finfo(np.float64).tiny
    variance = np.maximum(r.variance, 0) + floor
    s = r.covariance / variance
    errors = _errors(r, s, variance, count)
    s = np.clip(s, -recipe.cap, recipe.cap)
    s = s * _reliability(r, s, errors["s"], recipe, mean_square)
    return (r.l, s, r.mean_df - s * r.mean_f), errors


def _reliability(r: Raw, s, error, recipe, mean_square):
    """The factor of s, in [0, 1]: how far it is to be trusted."""
    tiny, variance = np.finfo(np.float64).tiny, np.maximum(r.variance, 0)
    counts = s**2 * variance / (s**2 * variance + recipe.negligible * mean_square + tiny)
    certain = np.maximum(0, 1 - recipe.shrink * error**2 / (s**2 + tiny))
    share = np.clip(r.covariance**2 / (variance * np.maximum(r.variance_df, 0) + tiny), 0, 1)
    return counts * certain * share**recipe.r2


def _errors(r: Raw, s, variance, count) -> dict:
    """Standard errors of l, s and b [G + 1, n], with `variance` what Cov(f, f') was divided by."""
    freedom = (np.maximum(count, 3) - 2)[:, None]
    residual = np.maximum(r.variance_df - 2 * s * r.covariance + s * s * r.variance, 0) / freedom
    error = np.sqrt(residual * np.maximum(r.variance, 0)) / variance
    return {"l": r.error_l, "s": error, "b": np.sqrt(residual + (error * r.mean_f) ** 2)}


def points_wanted(ems: EMS, error: float) -> dict:
    """{l, s, b: the number of points that brings its standard error down to `error`}.

    The error is the root mean square over nodes and coordinates. It falls as one over the root of the number of points;
    `ems.meta` holds both as they are now.
    """
    found = {name: np.sqrt(np.mean(np.square(values))) for name, values in ems.meta["standard_error"].items()}
    return {name: int(np.ceil(ems.meta["points"] * (value / error) ** 2)) for name, value in found.items()}
