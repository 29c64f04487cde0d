"""What empirical model statistics (EMS) are as data: the type, lookup in lam, checks, files. Made in ems.py."""

import json
import os
import tempfile
import zipfile
from typing import NamedTuple

import numpy as np


class EMS(NamedTuple):
    """lam [G + 1] increasing; l, s, b [G + 1, *D], all float64; meta: shape, schedule, points, as plain values."""

    lam: np.ndarray
    l: np.ndarray
    s: np.ndarray
    b: np.ndarray
    meta: dict


def interpolate(lam, nodes, values):
    """Piecewise linear in lam: values [G + 1, *D] given at `nodes` [G + 1], wanted at `lam` [M]: [M, *D]."""
    i = np.clip(np.searchsorted(nodes, lam, side="right") - 1, 0, len(nodes) - 2)
    weight = np.clip((lam - nodes[i]) / (nodes[i + 1] - nodes[i]), 0, 1).reshape((-1,) + (1,) * (values.ndim - 1))
    return (1 - weight) * values[i] + weight * values[i + 1]


def check_ems(ems, schedule=None, lam=None, shape=None) -> EMS:
    """The EMS, or a ValueError that names both sides where they are not for this schedule, range of lam, or shape."""
    if not isinstance(ems, EMS):
        raise ValueError(
            f"dpm_v3 needs the statistics of the model, ems=..., got {type(ems).__name__}: "
            "compute them with solvers.ems.estimate, or load a file with load_ems"
        )
    known = ems.meta.get("schedule")
    if schedule is not None and known not in (None, repr(schedule)):
        raise ValueError(f"the EMS are of schedule {known}, sampling uses {schedule!r}: compute EMS for this model")
    if lam is not None and not (ems.lam[0] - 1e-6 <= np.min(lam) and np.max(lam) <= ems.lam[-1] + 1e-6):
        raise ValueError(
            f"the EMS cover lam from {ems.lam[0]:.4f} to {ems.lam[-1]:.4f}, the time grid runs from {np.min(lam):.4f} "
            f"to {np.max(lam):.4f}: change t_start and t_end, or compute EMS over this range"
        )
    if shape is not None and tuple(shape) != ems.l.shape[1:]:
        raise ValueError(
            f"the EMS are of shape {ems.l.shape[1:]}, samples are {tuple(shape)}: compute EMS for this model"
        )
    return ems


def save_ems(path, ems: EMS) -> None:
    """Writes one .npz (lam float64; l, s, b float32; meta as JSON), under a temporary name first, then renamed."""
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    arrays = {name: np.asarray(getattr(ems, name), np.float32) for name in "lsb"}
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, lam=np.asarray(ems.lam, np.float64), meta=json.dumps(ems.meta), **arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_ems(path) -> EMS:
    """Reads a file of `save_ems`. ValueError for a truncated, foreign or inconsistent file; code is never executed."""
    path = os.fspath(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            ems = EMS(*(np.asarray(file[name], np.float64) for name in ("lam", *"lsb")), json.loads(str(file["meta"])))
    except FileNotFoundError:
        raise ValueError(f"no EMS file at {path}: compute one with --config.experiment=ems") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a whole EMS file ({error}): copy it again, or compute it again") from None
    consistent = ems.lam.ndim == 1 and len(ems.lam) >= 2 and all(x.shape[0] == len(ems.lam) for x in ems[1:4])
    consistent = consistent and ems.l.shape == ems.s.shape == ems.b.shape and np.all(np.diff(ems.lam) > 0)
    if not consistent or not all(np.all(np.isfinite(x)) for x in ems[:4]):
        raise ValueError(
            f"{path}: lam {ems.lam.shape}, l {ems.l.shape}, s {ems.s.shape}, b {ems.b.shape} must be one increasing "
            "grid with finite values of one shape: compute the EMS again"
        )
    return ems
