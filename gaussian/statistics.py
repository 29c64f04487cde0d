"""Closed-form empirical model statistics (EMS) of a Gaussian, for DPM-Solver-v3 (arXiv 2310.13268).

EMS depend on lam only, so take alpha = 1, sigma = e^-lam, x ~ N(mu, K), K = Sigma + sigma^2 I. With d = x - mu,
W = sigma^2 K^-1 (eigenvalues w = sigma^2 / (v + sigma^2), dw/dlam = -2 w (1 - w)) and ' = d/dlam along the ODE:

    sigma eps = W d,    l = diag(W),    f = sigma eps - l x = (W - l) d - l mu,    d' = -W d                (1)
    f' = [W' - l' - (W - l) W] d - l' mu                                                                   (2)
    s = Cov(f, f') / Var f,    b = E f' - s E f = (s l - l') mu                                             (3)

Pixel i of f is a sum over eigenvectors u_j with coefficients u_ij (w_j - l_i): written so, variances do not cancel.
"""

import numpy as np

from solvers.ems import EMS

# If Var f is below this share of l^2 K_ii, f is constant up to rounding (a covariance diagonal in pixels): s = 0 / 0.
CONSTANT = 1e-24


def gaussian_ems(mixture, lam) -> EMS:
    """EMS of a Gaussian (a Mixture of one component) at lam [G+1], increasing; l, s, b [G+1, *D] in float64.

    Where f does not vary (a covariance diagonal in pixels) s = 0 and b = -l' mu, with which first-order
    DPM-Solver-v3 is exact up to its integrals. ValueError for more than one component.
    """
    if len(mixture.weights) != 1:
        raise ValueError(f"a Gaussian has 1 component, got {len(mixture.weights)}: use solvers.ems.estimate instead")
    lam = np.asarray(lam, np.float64)
    basis, variances, mean = (np.asarray(a[0], np.float64) for a in (mixture.basis, mixture.variances, mixture.means))
    share = basis**2
    if share.shape[1] < share.shape[0]:
        # The complement of the basis is one more eigenspace, with the floor as its variance.
        share = np.concatenate([share, np.maximum(1 - share.sum(1, keepdims=True), 0)], axis=1)
        variances = np.append(variances, float(mixture.floor[0]))
    l, dl, s = (np.stack(a) for a in zip(*(_at(share, variances, noise) for noise in np.exp(-2 * lam)), strict=True))
    b = (s * l - dl) * mean
    meta = {"source": "closed form of a Gaussian", "shape": list(mixture.shape)}
    l, s, b = (a.reshape(-1, *mixture.shape) for a in (l, s, b))
    return EMS(lam, l, s, b, meta)


def _at(share, variances, noise):
    """l, l', s [D] at one sigma^2; share [D, r] holds the squares of the eigenvectors' coordinates."""
    total = variances + noise
    w = noise / total
    dw = -2 * w * variances / total
    l, dl = share @ w, share @ dw
    of_f = w - l[:, None]
    of_df = dw - dl[:, None] - of_f * w
    weight = share * total
    variance = (weight * of_f**2).sum(1)
    varies = variance > CONSTANT * l**2 * weight.sum(1)
    covariance = (weight * of_f * of_df).sum(1)
    return l, dl, np.where(varies, covariance / np.where(varies, variance, 1), 0)
