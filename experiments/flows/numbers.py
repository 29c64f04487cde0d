"""Compares trajectories of a network and of closed forms: the numbers of experiments/flows/trajectories.py.

Trajectories are (x, x0), states and denoised images, each [n, B, *D] at n falling noise levels for B samples.
"""

import numpy as np

from experiments.metrics.threads import one_thread
from gaussian import flow
from gaussian.analysis import mean_and_error

COLUMNS = ("name", "sigma", "x", "x_se", "denoised", "denoised_se")
KEPT = 1e-6  # modes with a smaller share of the largest variance are left out


def compare(mine, others, schedule, times, threshold, shown) -> dict:
    """All numbers of results.json, and under `images` what the pictures of samples show.

    mine: the network's trajectories; others: (name, distribution, trajectories) one by one, the Gaussian first; shown:
    how many samples the pictures show.
    """
    level = schedule.sigma(times) / schedule.alpha(times)
    found = {"levels": level.tolist(), "threshold": threshold, "rows": [], "summary": []}
    found |= {"images": {"network": pick(mine, shown)}, "plane": {"network": plane(mine[0], schedule, times)}}
    for name, distribution, theirs in others:
        x, denoised = (differences(*pair) for pair in zip(mine, theirs, strict=True))
        x /= schedule.alpha(times)[:, None] ** 2
        found["rows"] += rows(name, level, x, denoised)
        found["images"][name] = pick(theirs, shown)
        found["plane"][name] = plane(theirs[0], schedule, times)
        if not found["summary"]:
            first, law = denoised[-1], distribution
            found["modes"] = modes(law, mine[1], theirs[1], schedule, level)
        found["modes"]["explained"][name] = explained(law, mine[1][-1], theirs[1][-1])
        summary = summarise(name, level, x, denoised, variance_of(mine), threshold)
        # The solutions are of the same noise, so they compare sample by sample, too.
        found["summary"].append(summary | {"closer_than_gaussian": float((denoised[-1] < first).mean())})
    return found


def pick(solution, shown):
    """The denoised images of the first samples, the last of which are the samples themselves."""
    return solution[1][:, :shown]


def differences(a, b) -> np.ndarray:
    """Mean over pixels of the squared difference [n, B], float64."""
    axes = tuple(range(1, a.ndim - 1))
    return np.stack([np.square(p.astype(np.float64) - q).mean(axis=axes) for p, q in zip(a, b, strict=True)])


def variance_of(solution) -> float:
    """The variance of the final samples, mean over pixels."""
    return float(solution[1][-1].astype(np.float64).var(axis=0, ddof=1).mean())


def rows(name, level, x, denoised) -> list[dict]:
    statistics = [[mean_and_error(values) for values in kind] for kind in (x, denoised)]
    return [
        dict(zip(COLUMNS, (name, float(sigma), *of_x, *of_denoised), strict=True))
        for sigma, of_x, of_denoised in zip(level, *statistics, strict=True)
    ]


def summarise(name, level, x, denoised, variance, threshold) -> dict:
    """Numbers of the final samples, and where the solutions part: by the mean, and quartiles over samples."""
    last = denoised[-1]
    row = {"name": name, "final_mse": float(last.mean()), "final_std": float(last.std(ddof=1))}
    row |= {"final_median": float(np.median(last)), "final_explained": float(1 - last.mean() / variance)}
    for kind, values in (("x", x), ("denoised", denoised)):
        row[f"{kind}_parts_at"] = parting(level, values.mean(axis=1), threshold)
        of_samples = [parting(level, sample, threshold) or 0.0 for sample in values.T]
        row[f"{kind}_parts_quartiles"] = np.percentile(of_samples, (25, 50, 75)).tolist()
    return row


def parting(levels, values, threshold) -> float | None:
    """The noise level at which `values`, along falling `levels`, first exceed the threshold; None if they never do.

    Between two levels both are interpolated logarithmically.
    """
    above = np.asarray(values) > threshold
    if not above.any():
        return None
    at = int(above.argmax())
    return float(levels[0]) if at == 0 else crossing(levels, values, threshold, at)


def crossing(levels, values, wanted, at) -> float:
    """The level between `at` - 1 and `at` where the values are as wanted, both interpolated logarithmically."""
    low, high = np.log(np.maximum(values[at - 1 : at + 1], 1e-300))
    part = (np.log(wanted) - low) / (high - low)
    return float(np.exp(np.log(levels[at - 1]) * (1 - part) + np.log(levels[at]) * part))


def modes(law, mine, theirs, schedule, level) -> dict:
    """Denoised trajectories [n, B, *D] along the principal components of the data, by falling variance.

    deviation [n, modes]: standard deviation over samples, of the network and of the closed form; half [modes]: first
    noise level at which the network has half of its end, and the same by the formula; order: their rank correlation
    over the modes that hold 99 % of the variance; `explained` is filled in by `compare`.
    """
    from scipy.stats import spearmanr

    kept = law.variances[0] > KEPT * law.variances[0, 0]
    deviation, exact = (np.stack([coefficients(law, x0).std(axis=0) for x0 in states]) for states in (mine, theirs))
    t = flow.half_times(law.variances[0, kept], schedule)
    half, exact_half = [_half(level, curve) for curve in deviation.T[kept]], schedule.sigma(t) / schedule.alpha(t)
    most = int(np.searchsorted(law.variances[0].cumsum(), 0.99 * law.variances[0].sum())) + 1
    return {
        "variances": law.variances[0, kept].tolist(),
        "deviation": deviation[:, kept].tolist(),
        "deviation_exact": exact[:, kept].tolist(),
        "half": half,
        "half_exact": exact_half.tolist(),
        "order": float(spearmanr(half[:most], exact_half[:most]).statistic),
        "explained": {},
    }


def explained(law, last, foretold) -> list[float]:
    """The share of the network's final coefficients that a closed form predicts, for each mode.

    It is 1 - sum (a - b)^2 / sum a^2 over samples, with coefficients counted from the mean.
    """
    a, b = (coefficients(law, x0) for x0 in (last, foretold))
    kept = law.variances[0] > KEPT * law.variances[0, 0]
    return (1 - ((a - b) ** 2).sum(axis=0) / (a**2).sum(axis=0))[kept].tolist()


def coefficients(law, x0) -> np.ndarray:
    """The coefficients of x0 [B, *D] along the basis of a Gaussian, counted from its mean: [B, modes], float64."""
    return (x0.reshape(len(x0), -1).astype(np.float64) - law.means[0]) @ law.basis[0]


def _half(level, curve) -> float:
    at = int((curve >= curve[-1] / 2).argmax())
    return float(level[0]) if at == 0 else crossing(level, curve, curve[-1] / 2, at)


def plane(x, schedule, times) -> dict:
    """x [n, B, *D] in the plane of its first and last state: share of |x|^2 inside, by quantiles over samples, and the
    mean coordinates there, of x_t / sqrt(alpha^2 + sigma^2): along the last state and along the first."""
    with one_thread():
        shares, coordinates = zip(*(flow.in_plane(x[:, i]) for i in range(x.shape[1])), strict=True)
    norm = np.hypot(schedule.alpha(times), schedule.sigma(times))
    first, last = np.mean(coordinates, axis=0).T
    return {
        "share": np.percentile(shares, (5, 50, 95), axis=0).tolist(),
        "last": (last * norm[-1] / norm).tolist(),
        "first": (first * norm[0] / norm).tolist(),
    }
