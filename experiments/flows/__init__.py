"""Trajectories of samples from noise to data: a network's beside those of closed forms, and flows in the plane."""
