"""Gaussian data: exact denoisers and scores, trajectories, statistics for solvers, and the exact errors of tables."""

from gaussian.analysis import choose_skip, search_skip, smallest_sigma
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
from gaussian.file import load_distribution, save_distribution
from gaussian.fit import fit_classes, fit_gaussian, fit_mixture
from gaussian.flow import AffineMap, denoised_map, flow_map, half_times, in_plane, teleport, trajectory
from gaussian.modes import Spectrum, spectrum
from gaussian.posterior import denoiser, expanded_mean, expansion, posterior_mean, posterior_score, score
from gaussian.statistics import gaussian_ems

__all__ = [
    "AffineMap",
    "Mixture",
    "Spectrum",
    "as_gaussian",
    "choose_skip",
    "component",
    "delta",
    "denoised_map",
    "denoiser",
    "expanded_mean",
    "expansion",
    "fit_classes",
    "fit_gaussian",
    "fit_mixture",
    "flow_map",
    "from_covariances",
    "gaussian_ems",
    "half_times",
    "in_plane",
    "isotropic",
    "load_distribution",
    "posterior_mean",
    "posterior_score",
    "regularise",
    "sample_data",
    "save_distribution",
    "score",
    "search_skip",
    "smallest_sigma",
    "spectrum",
    "teleport",
    "trajectory",
    "truncate",
]
