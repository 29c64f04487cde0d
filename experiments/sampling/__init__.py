"""Draws samples of a problem by a method on all devices, keeps them in blocks, and solves the problem finely."""

from experiments.sampling.alignment import align
from experiments.sampling.exact import solve
from experiments.sampling.features import gather, stamp
from experiments.sampling.reference import REFERENCE, fine_method, solve_exactly
from experiments.sampling.sampler import Sampler, aligned
from experiments.sampling.store import Blocks, check_keep
from experiments.sampling.writing import behind, counted, regroup, sizes_of
