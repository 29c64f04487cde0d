"""From a config to schedule, range of sampling and solvers; tables are in tables.py, networks in network.py."""

import numpy as np

import solvers.schedule as schedules
from experiments.support.errors import ConfigError, check_known, choose, config_errors
from solvers import SOLVERS


def is_guided(config) -> bool:
    """Whether anything guides the model: a noisy classifier at any scale but 0, labels at any scale but 1."""
    return config.guidance.scale != (0.0 if has_classifier(config) else 1.0)


def has_classifier(config) -> bool:
    return bool(config.guidance.checkpoint or config.guidance.address)


def build_schedule(config):
    c = config.schedule
    build = choose(
        {
            "edm": schedules.EDM,
            "vp": lambda: schedules.VP(c.beta_min, c.beta_max),
            "vp_cosine": schedules.VPCosine,
            "vp_discrete": lambda: schedules.VPDiscrete(_alphas_cumprod(c.betas, c.zero_terminal_snr)),
            "flow": schedules.Flow,
        },
        c.name,
        "schedule",
    )
    with config_errors():
        return build()


def _alphas_cumprod(text, zero_terminal_snr):
    """From "first,last,count,linear|scaled_linear"."""
    try:
        first, last, count, rule = (part.strip() for part in text.split(","))
        power = {"linear": 1.0, "scaled_linear": 0.5}[rule]
        betas = np.linspace(float(first) ** power, float(last) ** power, int(count)) ** (1 / power)
    except (ValueError, KeyError):
        raise ConfigError(f"schedule.betas must be first,last,count,linear|scaled_linear, got {text!r}") from None
    alphas_cumprod = np.cumprod(1 - betas)
    return schedules.zero_terminal_snr(alphas_cumprod) if zero_terminal_snr else alphas_cumprod


def sampling_range(config, schedule, teleport=None) -> tuple[float, float]:
    """t_start and t_end of every solver and of the reference solution; with `teleport`, of a solver that starts there.

    teleport: sigma / alpha, EDM's sigma, which means the same for every schedule.
    """
    grid = config.grid
    start = schedule.t_max if grid.t_start is None else grid.t_start
    end = schedule.t_min if grid.t_end is None else grid.t_end
    if grid.name == "given" and len(grid.times):
        start, end = grid.times[0], grid.times[-1]
        if teleport is not None:
            raise ConfigError("teleport.sigma does not go with grid.name=given, which sets the start: take karras")
    if teleport is not None:
        bounds = [float(np.exp(-schedule.lam(t))) for t in (start, end)]
        if not bounds[0] * (1 + 1e-9) >= teleport > bounds[1]:
            raise ConfigError(
                f"teleport.sigma must be at most {bounds[0]:.6g}, where sampling starts, and above {bounds[1]:.6g}, "
                f"where it ends, got {teleport}: choose one between, or leave it out"
            )
        start = schedule.t_of_lam(-np.log(teleport))
    return float(start), float(end)


def initial_scale(config) -> float:
    """sigma(t_start): what the initial noise is multiplied by."""
    schedule = build_schedule(config)
    return float(schedule.sigma(sampling_range(config, schedule)[0]))


def build_nfes(config) -> tuple[int, ...]:
    nfes = (config.nfe,) if isinstance(config.nfe, int) else tuple(config.nfe)
    if not nfes or not all(isinstance(n, int) and n > 0 for n in nfes):
        raise ConfigError(f"nfe must be a positive number, or several separated by commas, got {config.nfe}")
    return tuple(sorted(set(nfes)))


def build_indices(config) -> np.ndarray:
    """The samples that are wanted, 0 to sample.count - 1."""
    for key in ("count", "batch", "block"):
        if config.sample[key] < 1:
            raise ConfigError(f"sample.{key} must be at least 1, got {config.sample[key]}")
    return np.arange(config.sample.count)


def build_solver(config) -> tuple[str, dict]:
    """(label, options) of `config.solver`: those options that are set, and where its name is a label of
    `benchmark.solvers`, that entry's in place of the others. The label says what was changed of an entry.
    """
    own = {key: value for key, value in config.solver.to_dict().items() if value is not None}
    names = ("auto", "teleport", *SOLVERS)
    if own["name"] in names:
        return own["name"], own
    entries, label = dict(_entries(config)), own.pop("name")
    check_known((*names, *entries), label, "solver")
    options = entries[label] | own
    if "at_nfe" in options:  # what is set counts there, too
        changes = options["at_nfe"].items()
        options["at_nfe"] = {nfe: {key: x for key, x in more.items() if key not in own} for nfe, more in changes}
    return ", ".join([label, *(f"{key}={value}" for key, value in own.items())]), options


def build_solvers(config) -> list[tuple[str, dict]]:
    """(label, options) of each entry of `config.benchmark.solvers`; a bare name stands for its defaults."""
    solvers = _entries(config)
    for label, options in solvers:
        check_known(("auto", "teleport", *SOLVERS), options.get("name"), f"solver of {label!r}")
    if not solvers:
        raise ConfigError(f"benchmark.solvers is empty: name some of {', '.join(SOLVERS)}")
    if len({label for label, _ in solvers}) < len(solvers):
        raise ConfigError(f"benchmark.solvers has two of one label: {', '.join(label for label, _ in solvers)}")
    return solvers


def _entries(config) -> list[tuple[str, dict]]:
    solvers, entries = [], config.benchmark.solvers
    for entry in (entries,) if isinstance(entries, str) else entries:
        names = [name.strip() for name in entry.split(",")] if isinstance(entry, str) else []
        solvers += [(name, {"name": name}) for name in names] or [(entry[0], dict(entry[1]))]
    return solvers
