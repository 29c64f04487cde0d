"""How much of a model's score or denoiser a closed-form one explains, and from which noise level on.

    EV = mean_i [1 - |a_i - b_i|^2 / |a_i|^2],    a: the model's, b: the approximation's, sample i                 (1)

(the published metric of arXiv 2412.09726: a ratio per sample, then the mean; nothing is subtracted). With a and b the
scores (alpha D - x) / sigma^2 it is trivially 1 at high noise, where both are almost -x / sigma^2. The denoisers D do
not share that term; counted from the data's mean, D - mean, nothing trivial is left at all.
"""

import numpy as np


def explained(value, approximation) -> np.ndarray:
    """Eq. (1) before its mean, [n] in float64, of value and approximation [n, *D]; -inf where value is zero."""
    value, approximation = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (value, approximation))
    with np.errstate(divide="ignore"):
        return 1 - ((value - approximation) ** 2).sum(axis=1) / (value**2).sum(axis=1)


def mean_and_error(values) -> tuple[float, float]:
    """The mean of independent values [n] and its standard error; the error of one value is nan."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def smallest_sigma(sigmas, shares, share=0.99) -> float | None:
    """The smallest of `sigmas` at which, and at all larger ones, `shares` reach `share`; None if there is none."""
    fine = None
    for sigma, value in sorted(zip(sigmas, shares, strict=True), reverse=True):
        if not value >= share:
            break
        fine = float(sigma)
    return fine


def choose_skip(sigmas, shares, share=0.99) -> float:
    """The noise level down to which a closed form may replace the model: where `shares` cross `share`.

    As `smallest_sigma`, but between the sigmas: log(1 - shares) is interpolated linearly in log sigma. ValueError where
    the largest sigma does not reach `share`; if all do, the smallest one.
    """
    order = np.argsort(sigmas)
    sigmas, shares = (np.asarray(a, np.float64)[order] for a in (sigmas, shares))
    last = smallest_sigma(sigmas, shares, share)
    if last is None:
        raise ValueError(
            f"at sigma = {sigmas[-1]:g} only {shares[-1]:.4f} is explained, below {share}: lower the share, "
            "or take a better closed form"
        )
    upper = int(np.searchsorted(sigmas, last))
    if upper == 0:
        return last
    # Residuals of 0 (a perfect share) have no logarithm.
    low, high, wanted = np.log(np.maximum(1 - np.append(shares[upper - 1 : upper + 1], share), 1e-300))
    part = (low - wanted) / (low - high)
    return float(np.exp(np.log(sigmas[upper - 1]) * (1 - part) + np.log(last) * part))


def search_skip(error, sigmas, rounds=2) -> tuple[float, dict]:
    """The sigma with the smallest error(sigma), and all {sigma: error} that were tried.

    Over `sigmas`, then `rounds` times half way (in log sigma) between the best and its neighbours.
    """
    found = {float(sigma): error(float(sigma)) for sigma in sigmas}
    for _ in range(rounds):
        tried = sorted(found)
        at = tried.index(min(found, key=lambda sigma: found[sigma]))
        for other in tried[max(at - 1, 0) : at] + tried[at + 1 : at + 2]:
            sigma = float(np.sqrt(tried[at] * other))
            found[sigma] = error(sigma)
    return min(found, key=lambda sigma: found[sigma]), found
