"""How Gaussian a network's score is, and what it learns first."""

from experiments.structure.explained import compare, make_points, network_function, outputs

__all__ = ["compare", "make_points", "network_function", "outputs"]
