"""Flows from noise to data in the plane: a Gaussian, a mixture, points; EDM, VP and rectified flow. Nothing is learned.

    python main.py --config=configs/flows_2d.py

The Gaussian has the mean and the covariance of the mixture, and so have the points. Takes some twenty seconds.

Variant `smoke`: one schedule, few trajectories.
"""

from configs import check_variant, default


def get_config(variant: str = ""):
    check_variant("flows_2d", variant, ("smoke",))
    c = default.get_config()
    c.experiment = "flows_2d"
    c.mixture.components, c.mixture.radius, c.mixture.deviations, c.mixture.seed = 3, 1.0, (0.06, 0.35), 157
    if variant == "smoke":
        c.flows.schedules, c.flows.sigmas = ("vp",), (1.0, 0.3)
        c.flows.count, c.flows.levels, c.flows.points = 6, 41, 8
    return c
