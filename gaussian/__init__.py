"""What the Gaussian structure of a score tells us: exact denoisers, statistics for solvers, what tables do to it."""

from gaussian.distribution import Mixture, fit_gaussian, from_covariances, sample_data
from gaussian.score import denoiser, posterior_mean
from gaussian.spectrum import Spectrum, spectrum
from gaussian.statistics import gaussian_ems

__all__ = [
    "Mixture",
    "Spectrum",
    "denoiser",
    "fit_gaussian",
    "from_covariances",
    "gaussian_ems",
    "posterior_mean",
    "sample_data",
    "spectrum",
]
