"""The model's statistics (EMS), teleportation, and the ablation of both."""

from dataclasses import dataclass

from configs.sections.fields import POSITIVE, SEEDS, SIGMAS, above, at_least, between, key, one_of, several


@dataclass(frozen=True)
class Ems:
    path: str = key("", "a file of statistics; empty: none, or of a mixture those estimated now")
    nodes: int = key(120, "G: intervals of the grid in lam", between(2, 100_000))
    points: int = key(1024, "K: points per node", at_least(3))
    rule: str = key("auto", "auto | noised | samples | trajectory: where the points come from")
    basis: str = key(
        "pixels", "pixels | dct | pca | channels: coordinates of statistics and solver (pca: needs reference)"
    )
    model: str = key(
        "network",
        "network | gaussian: the closed form of the data's Gaussian, without the network",
        one_of("network", "gaussian"),
    )
    gaussian_above: float | None = key(
        None, "sigma / alpha above which the closed form replaces the network's EMS", above(0)
    )
    probes: int = key(
        1, "random probes per point for the diagonal of the Jacobian; 0: the exact diagonal", between(0, 10_000)
    )
    derivative: str = key(
        "differences",
        "of l in lam: differences | path, exact at twice the cost",
        one_of("differences", "path"),
    )
    error: float = key(0.01, "standard error of l, s, b that the number of points is reported for", above(0))
    l: float | None = key(None, "this and the next seven: solvers.ems.Recipe, what becomes of the moments")
    window: int | None = key(None, "nodes that l' is averaged over", between(1, 100_000))
    ridge: float | None = key(None, "added to Var f", at_least(0))
    round_off: float | None = key(None, "added to Var f, in units of the variance of its terms", at_least(0))
    negligible: float | None = key(None, "the share of Var f' below which s is dropped", at_least(0))
    cap: float | None = key(None, "largest |s|", above(0))
    shrink: float | None = key(None, "s is multiplied by max(0, 1 - shrink (standard error / s)^2)", at_least(0))
    r2: float | None = key(None, "s is multiplied by this power of what it explains", at_least(0))
    seed: int = key(1, "of noise and probes", at_least(0))
    batch: int = key(32, "points at a time", POSITIVE)
    shard: int = key(256, "points of a unit of work, which is what a killed run loses at most", POSITIVE)
    block: int = key(8, "noise levels of a unit", POSITIVE)
    accept: bool = key(False, "take EMS of another network, schedule or guidance as they are")


@dataclass(frozen=True)
class Teleport:
    sigma: float | None = key(
        None, "sigma / alpha to which the closed form of a Gaussian takes the noise", never_ignored=True
    )
    gaussian: str = key(
        "",
        "a file of `fit_gaussian`; a component per class where samples have labels. With it, the solver `auto` "
        "teleports where that measured better",
    )
    sigmas: tuple[float, ...] = key((40.0, 20.0, 10.0, 5.0, 2.5, 1.0), "what `teleport` and `choose_skip` try", SIGMAS)
    share: float = key(0.99, "`choose_skip`: of the denoiser that the Gaussian must explain", between(0, 1))
    intervals: int = key(0, "`teleport`: of EDM's Heun, 0 for none", between(0, 10_000))
    skips: tuple[int, ...] = key(
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12), "how many of them are skipped", several(at_least(0))
    )
    seeds: tuple[int, ...] = key((0,), "of the noise, each a comparison of its own", SEEDS)


@dataclass(frozen=True)
class Ablation:
    """`ems_ablation`"""

    rows: tuple = key((), "(label, {keys of `ems`}, {solver options as in benchmark.solvers})")
    seeds: tuple[int, ...] = key((0, 1), "of the noise, each a comparison of its own", SEEDS)
