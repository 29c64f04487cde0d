"""Builds the schedule of a config, and the times where sampling starts and ends."""

import numpy as np

import solvers.schedule as schedules
from experiments.support.errors import ConfigError, choose, config_errors


def schedule(config, name: str | None = None):
    """Builds the schedule of `config.schedule`. name: another schedule with the same options."""
    c = config.schedule
    known = {
        "edm": schedules.EDM,
        "vp": lambda: schedules.VP(c.beta_min, c.beta_max),
        "vp_cosine": schedules.VPCosine,
        "vp_discrete": lambda: schedules.VPDiscrete(_alphas_cumprod(c.betas, c.zero_terminal_snr)),
        "flow": schedules.Flow,
    }
    with config_errors():
        return choose(known, name or c.name, "schedule")()


def _alphas_cumprod(text, zero_terminal_snr):
    """Cumulative products of alpha from the text "first,last,count,linear|scaled_linear"."""
    try:
        first, last, count, rule = (part.strip() for part in text.split(","))
        power = {"linear": 1.0, "scaled_linear": 0.5}[rule]
        betas = np.linspace(float(first) ** power, float(last) ** power, int(count)) ** (1 / power)
    except (ValueError, KeyError):
        raise ConfigError(f"schedule.betas must be first,last,count,linear|scaled_linear, got {text!r}") from None
    alphas_cumprod = np.cumprod(1 - betas)
    return schedules.zero_terminal_snr(alphas_cumprod) if zero_terminal_snr else alphas_cumprod


def span(grid, schedule) -> tuple[float, float]:
    """(t_start, t_end) for all solvers and the reference solution. grid: the section of the config."""
    start = schedule.t_max if grid.t_start is None else grid.t_start
    end = schedule.t_min if grid.t_end is None else grid.t_end
    if grid.name == "given" and len(grid.times):
        start, end = grid.times[0], grid.times[-1]
    return float(start), float(end)


def has_classifier(config) -> bool:
    return bool(config.guidance.checkpoint or config.guidance.address)


def is_guided(config) -> bool:
    """Whether the model is guided: by a noisy classifier at any scale but 0, by labels at any scale but 1."""
    return config.guidance.scale != (0.0 if has_classifier(config) else 1.0)
