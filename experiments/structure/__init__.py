"""Measures how Gaussian a network's score is, and what it learns first."""

from experiments.structure.explained import closed_form, compare, make_points, network_function, outputs
