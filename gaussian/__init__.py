"""What the Gaussian structure of a score tells us: exact denoisers, and statistics for solvers."""

from gaussian.distribution import Mixture, fit_gaussian, from_covariances, sample_data
from gaussian.score import denoiser, posterior_mean
from gaussian.statistics import gaussian_ems

__all__ = [
    "Mixture",
    "denoiser",
    "fit_gaussian",
    "from_covariances",
    "gaussian_ems",
    "posterior_mean",
    "sample_data",
]
