"""Wrappers that make a network a `model(x [*D], t) -> out [*D]`, and `check_model`, which finds mistakes in them."""

from solvers.model.faults import check_model
from solvers.model.wrappers import (
    TIME_UNITS,
    as_prediction,
    bind,
    classifier_guidance,
    dynamic_threshold,
    guided,
    in_basis,
    mean_only,
    static_threshold,
    time_units,
)

__all__ = [
    "TIME_UNITS",
    "as_prediction",
    "bind",
    "check_model",
    "classifier_guidance",
    "dynamic_threshold",
    "guided",
    "in_basis",
    "mean_only",
    "static_threshold",
    "time_units",
]
