"""Samples of a problem by a method: drawn on all devices, kept in blocks, compared with a fine solution."""

from experiments.sampling.reference import REFERENCE, fine_method, solve_exactly
from experiments.sampling.sampler import Sampler, aligned

__all__ = ["REFERENCE", "Sampler", "aligned", "fine_method", "solve_exactly"]
