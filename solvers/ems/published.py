"""EMS in the layout in which the authors of DPM-Solver-v3 publish theirs (github.com/thu-ml/DPM-Solver-v3).

A folder with l.npz (l) and sb.npz (s, b), each [N + 1, C, H, W]. Node n is at lam_T + (lam_0 - lam_T) n / N, from
lam_T = lam(t_start) to lam_0 = lam(t_end). The files do not hold these times; the folder's name is a tag of them:

    0.002_80.0_1200_1024    t_end, t_start, N, and K, the number of points
    0.001_1200_4096         t_end, N, K: t_start is the schedule's largest time
    7.5_250_1024            no time below t_start: the guidance scale of Stable Diffusion, N, K
    500_1024                N, K: t_start and t_end are the schedule's

Any other name is no tag, and both times are the schedule's.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from solvers import npz
from solvers.ems.data import EMS, check_ems, make_ems

FILES = {"l.npz": ("l",), "sb.npz": ("s", "b")}


class Tag(NamedTuple):
    """The values in the name of a folder; None for those that it does not have."""

    t_end: float | None = None
    t_start: float | None = None
    n: int | None = None
    points: int | None = None


def load_published(folder, schedule, t_start=None, t_end=None) -> EMS:
    """Reads a folder of the published layout; images [C, H, W] become [H, W, C].

    The times are those given, else those of the tag, else the schedule's t_max and t_min. ValueError naming the file
    for one that is missing, truncated or inconsistent, and for times between which lam is no finite range.
    """
    folder = Path(folder).absolute()
    arrays = {}
    for file, names in FILES.items():
        try:
            arrays |= npz.read(folder / file, names)
        except FileNotFoundError:
            raise ValueError(
                f"{folder} has no {file}: the published layout is a folder of {' and '.join(FILES)}; name the folder "
                "that holds both, or an .npz file of this project"
            ) from None
    tag = _read_tag(folder.name)
    n = len(np.atleast_1d(arrays["l"])) - 1
    if tag.n not in (None, n):
        raise ValueError(
            f"the name of {folder} says N = {tag.n}, its l.npz has {n + 1} nodes, N = {n}: give the folder the right "
            "name, or copy the files again"
        )
    low, high = _range(folder, schedule, tag, t_start, t_end)
    lam = np.linspace(low, high, n + 1)
    arrays = {name: np.moveaxis(x, 1, -1) if x.ndim == 4 else x for name, x in arrays.items()}
    meta = {"schedule": repr(schedule), "shape": list(arrays["l"].shape[1:])}
    return make_ems(folder, lam, **arrays, meta=meta | ({"points": tag.points} if tag.points else {}))


def save_published(folder, ems: EMS, schedule) -> Path:
    """Writes `folder`/TAG/{l,sb}.npz in float32, images as [C, H, W]; returns the new folder, which is whole or absent.

    The tag has t_end and t_start with 12 digits, and K = 0 where the EMS do not say how many points they are of.
    ValueError for EMS of another schedule, a grid that is not uniform, or a folder that exists; OSError for a full
    disk.
    """
    check_ems(ems, schedule)
    step, uniform = (ems.lam[-1] - ems.lam[0]) / (len(ems.lam) - 1), np.linspace(ems.lam[0], ems.lam[-1], len(ems.lam))
    off = np.abs(ems.lam - uniform).max() / step
    if off > 1e-6:
        raise ValueError(
            f"the published layout has nodes uniform in lam, these are off by up to {off:.3g} steps: look the EMS up "
            "on a uniform grid first (solvers.ems.interpolate), or save them as .npz"
        )
    t_start, t_end = (float(f"{t:.12g}") for t in schedule.t_of_lam(ems.lam[[0, -1]]))
    folder, tag = Path(folder), f"{t_end}_{t_start}_{len(ems.lam) - 1}_{ems.meta.get('points', 0)}"
    if (folder / tag).exists():
        raise ValueError(f"{folder / tag} exists: delete it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{tag}.", suffix=".tmp"))
    try:
        for file, names in FILES.items():
            npz.write(temporary / file, {name: _channels_first(getattr(ems, name)) for name in names})
        temporary.chmod(0o755)
        return temporary.rename(folder / tag)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _channels_first(x):
    return np.asarray(np.moveaxis(x, -1, 1) if x.ndim == 4 else x, np.float32)


def _read_tag(name) -> Tag:
    number = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?"
    match = re.fullmatch(rf"(?:({number})_)?(?:({number})_)?(\d+)_(\d+)", name)
    if not match:
        return Tag()
    t_end, t_start = (float(x) if x else None for x in match.groups()[:2])
    return Tag(t_end, t_start, int(match[3]), int(match[4]))


def _range(folder, schedule, tag, t_start, t_end):
    """lam at t_start and t_end."""
    if t_start is None:
        t_start = schedule.t_max if tag.t_start is None else tag.t_start
    if t_end is None:
        scale = tag.t_start is None and tag.t_end is not None and tag.t_end >= t_start
        t_end = schedule.t_min if scale or tag.t_end is None else tag.t_end
    with np.errstate(invalid="ignore"):
        lam = schedule.lam(np.array([t_start, t_end]))
    if not (np.all(np.isfinite(lam)) and lam[0] < lam[1]):
        raise ValueError(
            f"{folder}: from t_start = {t_start} to t_end = {t_end}, {schedule!r} has no increasing, finite lam, but "
            f"{lam[0]:.4g} to {lam[1]:.4g}: give load_published the t_start and t_end at which these EMS were computed"
        )
    return lam
