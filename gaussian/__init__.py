"""What the Gaussian structure of a score tells us: exact denoisers, statistics for solvers, what tables do to it."""

from gaussian.distribution import (
    Mixture,
    as_gaussian,
    component,
    delta,
    from_covariances,
    isotropic,
    regularise,
    sample_data,
    truncate,
)
from gaussian.fit import fit_classes, fit_gaussian, fit_mixture
from gaussian.score import denoiser, expanded_mean, expansion, posterior_mean, posterior_score, score
from gaussian.spectrum import Spectrum, spectrum
from gaussian.statistics import gaussian_ems

__all__ = [
    "Mixture",
    "Spectrum",
    "as_gaussian",
    "component",
    "delta",
    "denoiser",
    "fit_classes",
    "fit_gaussian",
    "fit_mixture",
    "from_covariances",
    "gaussian_ems",
    "isotropic",
    "posterior_mean",
    "regularise",
    "sample_data",
    "spectrum",
    "truncate",
]
