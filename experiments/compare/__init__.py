"""Solvers compared: by evaluations, by the noise skipped to, by the statistics of DPM-Solver-v3."""
