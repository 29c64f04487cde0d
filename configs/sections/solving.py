"""Solvers, their grids of times, and the comparison of several."""

from dataclasses import dataclass

from configs.sections.fields import POSITIVE, above, at_least, key, several


@dataclass(frozen=True)
class Solver:
    """One solver, for `sample`: options of all builders. Only those that are set reach the builder."""

    name: str = key(
        "auto",
        "auto: what measured best for this nfe (solvers/recipes.py), a solver's name, or a label of "
        "`benchmark.solvers`, whose options are taken then",
    )
    order: int | None = key(None, "of the method", POSITIVE)
    variant: str | None = key(None, "which of the published forms: the builders' docstrings have their meaning")
    form: str | None = key(None, "unipc: x0 | eps, what the multistep formula extrapolates")
    corrector: bool | None = key(None, "unipc, dpm_v3")
    half: str | None = key(None, "unipc, dpm_v3: paper | code, the corrector on one half of the range only")
    lower_order_final: bool | None = key(None, "lower orders in the last steps")
    predictor_pseudo: bool | None = key(None, "dpm_v3")
    corrector_pseudo: bool | None = key(None, "dpm_v3")
    degenerate: bool | None = key(None, "dpm_v3: l = 1, s = b = 0")
    interpolation: str | None = key(None, "dpm_v3: spline | linear, of the statistics between their nodes")
    published: bool | None = key(None, "dpm_v3: the published integrals and options")
    orders: str | None = key(None, "singlestep: fast | fixed, how evaluations are spent on steps")
    inner: str | None = key(None, "singlestep: the grid inside a step; default: grid.name")
    coordinates: str | None = key(None, "heun: sigma | t")
    eta: float | None = key(None, "ddpm: 0 is DDIM, 1 is DDPM", at_least(0))
    s_churn: float | None = key(None, "edm_stochastic", at_least(0))
    s_min: float | None = key(None, "edm_stochastic", at_least(0))
    s_max: float | None = key(None, "edm_stochastic", at_least(0))
    s_noise: float | None = key(None, "edm_stochastic", at_least(0))
    denoise_to_zero: bool | None = key(None, "any: the last evaluation replaces x by the predicted x0")


@dataclass(frozen=True)
class Grid:
    name: str = key("lam_uniform", "lam_uniform | t_uniform | t_quadratic | karras | given")
    t_start: float | None = key(None, "where sampling starts; default: the schedule's", above(0))
    t_end: float | None = key(None, "where it ends; default: the schedule's", at_least(0))
    rho: float = key(7.0, "karras", above(0))
    times: tuple[float, ...] = key((), "given: decreasing times", several(at_least(0), least=0))
    snap_to: bool = key(False, "move times to the nearest EMS node, as the published dpm_v3 does")


@dataclass(frozen=True)
class Benchmark:
    solvers: str | tuple = key(
        (),
        "the rows of the table: names separated by commas, or (label, {name and options as in `solver`; grid: {keys as "
        "in `grid`}; at_nfe: {nfe: {options there}}})",
    )
    reference_nfe: int = key(100, "evaluations of the fine solution (UniPC of order 3, uniform in lam)", at_least(3))
    shown: int = key(10, "images per row of grid.png", POSITIVE)


@dataclass(frozen=True)
class Published:
    """Numbers of a paper, shown in a column of their own beside those measured."""

    source: str = key("", "whose, and of how many samples")
    metric: str = key("", "what they measure")
    rows: tuple = key((), "(label of benchmark.solvers, {nfe: number})")
