"""Samples of a problem by a method: drawn on all devices, kept in blocks, compared with a fine solution."""

from experiments.sampling.alignment import align
from experiments.sampling.exact import solve
from experiments.sampling.features import gather, stamp
from experiments.sampling.reference import REFERENCE, fine_method, solve_exactly
from experiments.sampling.sampler import Sampler, aligned
from experiments.sampling.store import Blocks, check_keep
from experiments.sampling.writing import behind, counted, regroup, sizes_of

__all__ = [
    "REFERENCE",
    "Blocks",
    "Sampler",
    "align",
    "aligned",
    "behind",
    "check_keep",
    "counted",
    "fine_method",
    "gather",
    "regroup",
    "sizes_of",
    "solve",
    "solve_exactly",
    "stamp",
]
