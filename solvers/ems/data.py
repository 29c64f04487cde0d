"""Empirical model statistics (EMS) as data: the type, interpolation in lam, and the check that they fit a model."""

from typing import NamedTuple

import numpy as np


class EMS(NamedTuple):
    """lam [G + 1] increasing; l, s, b [G + 1, *D], all float64; meta: plain values, each of them optional.

    meta: schedule (its repr), shape, points (how many); identity: a description of the model, {parameters: their
    `fingerprint`, guidance, labels, prediction, ...}; standard_error: {l, s, b: rms over coordinates at each node}.
    """

    lam: np.ndarray
    l: np.ndarray
    s: np.ndarray
    b: np.ndarray
    meta: dict


def make_ems(source, lam, l, s, b, meta: dict) -> EMS:
    """EMS of arrays from `source`; a ValueError names it unless they are finite floats on one increasing grid."""
    arrays = {"lam": lam, "l": l, "s": s, "b": b}
    shapes = ", ".join(f"{name} {x.dtype} {x.shape}" for name, x in arrays.items())
    if any(x.dtype.kind != "f" for x in arrays.values()):
        raise ValueError(f"{source}: {shapes} must be floating-point numbers: compute the EMS again")
    if not (lam.ndim == 1 and len(lam) >= 2 and l.shape == s.shape == b.shape and l.shape[:1] == lam.shape):
        raise ValueError(f"{source}: {shapes} must be on one grid, with values of one shape: compute the EMS again")
    broken = [name for name, x in arrays.items() if not np.all(np.isfinite(x))]
    if broken:
        raise ValueError(f"{source}: {', '.join(broken)} hold values that are not finite: compute the EMS again")
    if np.any(np.diff(lam) <= 0):
        raise ValueError(f"{source}: lam must increase from node to node: compute the EMS again")
    return EMS(**{name: np.asarray(x, np.float64) for name, x in arrays.items()}, meta=meta)


def interpolate(lam, nodes, values):
    """Linear interpolation in lam: from values [G + 1, *D] at `nodes` [G + 1] to values [M, *D] at `lam` [M]."""
    i = np.clip(np.searchsorted(nodes, lam, side="right") - 1, 0, len(nodes) - 2)
    weight = np.clip((lam - nodes[i]) / (nodes[i + 1] - nodes[i]), 0, 1).reshape((-1,) + (1,) * (values.ndim - 1))
    return (1 - weight) * values[i] + weight * values[i + 1]


def check_ems(ems, schedule=None, lam=None, shape=None, identity=None, accept=False) -> EMS:
    """Returns the EMS, or raises ValueError if they are of another model, range of lam, or shape; it names both sides.

    `identity` is compared with the one in the EMS' meta, key by key; keys that only one side has do not count. With
    `accept`, another schedule or identity passes: the EMS then count as those of this model, and meta["accepted"] holds
    the differences, {key: [theirs, wanted]}. Another shape, or a range that the EMS do not cover, never passes.
    """
    if not isinstance(ems, EMS):
        raise ValueError(
            f"dpm_v3 needs the statistics of the model, ems=..., got {type(ems).__name__}: "
            "compute them with solvers.ems.estimate, or load a file with load_ems"
        )
    _check_range(ems, lam)
    _check_shape(ems, shape)
    theirs = {"schedule": ems.meta.get("schedule")} | ems.meta.get("identity", {})
    wanted = {"schedule": schedule and repr(schedule)} | (identity or {})
    differing = {
        key: [theirs[key], value]
        for key, value in wanted.items()
        if None not in (value, theirs.get(key)) and value != theirs[key]
    }
    if not differing:
        return ems
    if accept:
        known = {key: wanted[key] if key in differing else value for key, value in theirs.items()}
        meta = {"schedule": known.pop("schedule"), "identity": known, "accepted": differing}
        return ems._replace(meta=ems.meta | meta)
    sides = "; ".join(f"of {key} {known}, sampling uses {value}" for key, (known, value) in differing.items())
    raise ValueError(
        f"the EMS are {sides}: compute EMS for this model, or take them as they are with accept=True "
        "(in a config, ems.accept=True)"
    )


def _check_range(ems, lam):
    if lam is not None and not (ems.lam[0] - 1e-6 <= np.min(lam) and np.max(lam) <= ems.lam[-1] + 1e-6):
        raise ValueError(
            f"the EMS cover lam from {ems.lam[0]:.4f} to {ems.lam[-1]:.4f}, the time grid runs from {np.min(lam):.4f} "
            f"to {np.max(lam):.4f}: change t_start and t_end, or compute EMS over this range"
        )


def _check_shape(ems, shape):
    known = ems.l.shape[1:]
    if shape is None or tuple(shape) == known:
        return
    images = len(shape) == len(known) == 3 and shape[-1] == known[-1]
    raise ValueError(
        f"the EMS are of {'resolution' if images else 'shape'} {known}, samples are {tuple(shape)}: compute EMS for "
        "this model"
    )
