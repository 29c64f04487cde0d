"""Compares solvers: by evaluations, by the noise level they are teleported to, by the statistics of DPM-Solver-v3."""
