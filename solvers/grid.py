"""Time grids: decreasing float64 arrays [n + 1], from t_start to t_end.

Every function is `grid(schedule, n, t_start=None, t_end=None)`; None takes the schedule's `t_max` and `t_min`.
"""

from collections.abc import Callable

import numpy as np


def lam_uniform(schedule, n, t_start=None, t_end=None) -> np.ndarray:
    """Uniform in lam (`logSNR` in the DPM-Solver line of code)."""
    t_start, t_end = _range(schedule, n, t_start, t_end)
    lam = schedule.lam(np.array([t_start, t_end]))
    if not np.all(np.isfinite(lam)):
        raise ValueError(
            f"lam_uniform needs a finite lam at both ends, got lam({t_start})={lam[0]} and lam({t_end})={lam[1]}: "
            "move t_start or t_end off the end point, or use another grid"
        )
    return _ends(schedule.t_of_lam(np.linspace(lam[0], lam[1], n + 1)), t_start, t_end)


def t_uniform(schedule, n, t_start=None, t_end=None) -> np.ndarray:
    """Uniform in t (`time_uniform`)."""
    t_start, t_end = _range(schedule, n, t_start, t_end)
    return np.linspace(t_start, t_end, n + 1)


def t_quadratic(schedule, n, t_start=None, t_end=None) -> np.ndarray:
    """Uniform in sqrt(t) (`time_quadratic`): times are t^2 of a uniform grid, denser near t_end."""
    t_start, t_end = _range(schedule, n, t_start, t_end)
    return _ends(np.linspace(t_start**0.5, t_end**0.5, n + 1) ** 2, t_start, t_end)


def karras(schedule, n, t_start=None, t_end=None, rho=7.0) -> np.ndarray:
    """Uniform in (sigma / alpha)^(1/rho) (EDM, Eq. 5, whose sigma is sigma / alpha here)."""
    t_start, t_end = _range(schedule, n, t_start, t_end)
    if not rho > 0:
        raise ValueError(f"karras needs rho > 0, got {rho}: 7 is the published value, 1 is uniform in sigma")
    ends = np.array([t_start, t_end])
    ratio = schedule.sigma(ends) / schedule.alpha(ends)
    if not np.isfinite(ratio[0]):
        raise ValueError(f"karras needs alpha > 0 at t_start, got alpha({t_start}) = 0: start at a smaller t")
    ratio = np.linspace(ratio[0] ** (1 / rho), ratio[1] ** (1 / rho), n + 1) ** rho
    with np.errstate(divide="ignore"):
        return _ends(schedule.t_of_lam(-np.log(ratio)), t_start, t_end)


def given(schedule, n, t_start=None, t_end=None, times=()) -> np.ndarray:
    """The times that the user gives, [n + 1]; t_start and t_end, if given, must be their ends."""
    times = check_times(times)
    if len(times) != n + 1:
        raise ValueError(f"{n} steps need {n + 1} times, got {len(times)}: give as many as nfe + 1, or change nfe")
    for name, wanted, got in (("t_start", t_start, times[0]), ("t_end", t_end, times[-1])):
        if wanted is not None and not np.isclose(wanted, got, rtol=1e-9):
            raise ValueError(f"the given times run from {times[0]} to {times[-1]}, but {name} = {wanted}: drop one")
    return times


GRIDS: dict[str, Callable[..., np.ndarray]] = {
    "lam_uniform": lam_uniform,
    "t_uniform": t_uniform,
    "t_quadratic": t_quadratic,
    "karras": karras,
    "given": given,
}


def snap_to(schedule, times, lam) -> np.ndarray:
    """Moves `times` to the nearest nodes of an EMS grid `lam` [G + 1], as the published DPM-Solver-v3 does.

    Raises ValueError if two times fall on one node.
    """
    wanted = schedule.lam(check_times(times))
    nearest = np.abs(wanted[:, None] - np.asarray(lam)[None, :]).argmin(axis=1)
    if np.any(np.diff(nearest) == 0):
        at = int(np.argmax(np.diff(nearest) == 0))
        raise ValueError(
            f"times {times[at]:.6g} and {times[at + 1]:.6g} both snap to node {nearest[at]} of {len(lam)}: "
            "use fewer steps, a finer EMS grid, or no snapping"
        )
    return schedule.t_of_lam(np.asarray(lam, np.float64)[nearest])


def check_times(times) -> np.ndarray:
    """`times` as float64 [n + 1]; ValueError unless at least two, finite, not negative, strictly decreasing."""
    times = np.asarray(times, np.float64)
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"a grid is a list of at least two times, got shape {times.shape}: one step needs two times")
    if not np.all(np.isfinite(times)) or times[-1] < 0:
        raise ValueError(f"times must be finite and not negative, got {times.tolist()}")
    if np.any(np.diff(times) >= 0):
        at = int(np.argmax(np.diff(times) >= 0))
        raise ValueError(
            f"times must decrease strictly, got {times[at]:.6g} and then {times[at + 1]:.6g} at position {at}: "
            "sort them from noise to data and drop duplicates"
        )
    return times


def _range(schedule, n, t_start, t_end):
    t_start = schedule.t_max if t_start is None else float(t_start)
    t_end = schedule.t_min if t_end is None else float(t_end)
    if int(n) != n or n < 1:
        raise ValueError(f"a grid needs at least 1 step, got {n}: raise nfe")
    if not 0 <= t_end < t_start:
        raise ValueError(f"a grid needs 0 <= t_end < t_start, got t_start={t_start} and t_end={t_end}")
    return t_start, t_end


def _ends(times, t_start, t_end):
    """Sets the exact end points, without the round-off of the way through lam."""
    times[0], times[-1] = t_start, t_end
    return times
