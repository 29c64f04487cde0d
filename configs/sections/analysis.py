"""The experiments on the Gaussian structure of a score, and on exact errors."""

from dataclasses import dataclass

from configs.sections.fields import (
    POSITIVE,
    SIGMAS,
    Bound,
    above,
    at_least,
    between,
    key,
    of_length,
    one_of,
    several,
)


@dataclass(frozen=True)
class Spectrum:
    """`spectrum`: the solvers are those of `benchmark.solvers`, where dpm_v3 may set ems: pixels | modes."""

    variances: tuple[float, ...] = key(
        (1e-6, 1e2, 121),
        "smallest, largest, count: log-spaced",
        of_length(3, "smallest, largest, count"),
        several(above(0)),
        Bound(lambda v: v[0] < v[1] and 2 <= v[2] <= 1e6, "smallest, largest, count of at least 2", "as 1e-6,1e2,121"),
    )


@dataclass(frozen=True)
class GaussianFit:
    """`fit_gaussian`: fits the training images."""

    kind: str = key("gaussian", "gaussian | classes: one per class | kmeans: one per cluster")
    components: int = key(10, "kmeans", POSITIVE)
    rank: int | None = key(None, "directions of each covariance that are kept; default: all", POSITIVE)
    biased: bool = key(False, "divide by N instead of N - 1")
    seed: int = key(42, "kmeans", at_least(0))
    dtype: str = key("float64", "float64 | float32, of the file", one_of("float64", "float32"))


@dataclass(frozen=True)
class Learning:
    """`learning`: the share of the score that closed forms explain, in snapshots of a training."""

    run: str = key("", "the workdir of a training run with train.snapshots")
    sigmas: tuple[float, ...] = key((0.1, 0.2, 0.5, 1.0, 2.0, 5.0), "noise levels sigma / alpha", SIGMAS)
    images: int = key(512, "training images, and as many test images", at_least(2))
    components: int = key(20, "of the k-means mixture", POSITIVE)
    rank: int = key(256, "of its covariances", POSITIVE)


@dataclass(frozen=True)
class Convergence:
    """`convergence`: the solvers are those of `benchmark.solvers`."""

    schedules: tuple = key(("edm", "vp"), "a panel each", Bound(bool, "one schedule or more", "name edm, vp, or flow"))


@dataclass(frozen=True)
class Trajectories:
    """`trajectories`: the network's trajectories beside those of closed-form scores."""

    count: int = key(128, "samples, from which standard errors are", at_least(2))
    levels: int = key(101, "noise levels, and network evaluations, of a trajectory", between(4, 100_000))
    threshold: float = key(0.01, "mean squared difference at which solutions part", above(0))
    shown: int = key(12, "samples in the pictures", POSITIVE)


@dataclass(frozen=True)
class Flows:
    """`flows_2d`: flows of `mixture`, of its Gaussian, and of points drawn from it."""

    schedules: tuple = key(
        ("edm", "vp", "flow"),
        "a figure each",
        Bound(bool, "one schedule or more", "name some of edm, vp, vp_cosine, vp_discrete, flow"),
    )
    sigmas: tuple[float, ...] = key((2.0, 0.7, 0.3, 0.1), "noise levels sigma / alpha of the fields", SIGMAS)
    points: int = key(24, "of the delta distribution", at_least(3))
    range: tuple[float, ...] = key(
        (20.0, 0.005),
        "sigma / alpha where trajectories start and end",
        of_length(2, "two noise levels"),
        several(above(0)),
        Bound(lambda value: value[0] > value[1], "falling noise levels", "give the larger one first"),
    )
    count: int = key(48, "trajectories", POSITIVE)
    levels: int = key(201, "noise levels of a trajectory", between(4, 100_000))


@dataclass(frozen=True)
class ScoreAnalysis:
    """`score_analysis`: the share of the network's score that closed forms explain."""

    sigmas: tuple[float, ...] = key(
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 80.0),
        "noise levels sigma / alpha",
        SIGMAS,
    )
    images: int = key(1024, "noised training images, and as many test images", at_least(2))
    ranks: tuple[int, ...] = key(
        (8, 16, 32, 64, 96, 128, 256, 512, 784), "that the Gaussian is truncated to", several(POSITIVE)
    )
    components: tuple[int, ...] = key((2, 5, 10, 20, 50, 100), "of the k-means mixtures", several(POSITIVE))
    directions: int = key(12_800, "components times rank of a mixture, which bounds its time and memory", POSITIVE)
    mixture_ranks: tuple[int, ...] = key((8, 32, 128), "lower ranks, for all of them", several(POSITIVE))
    share: float = key(0.99, "the smallest noise level is sought from which on a score explains this", between(0, 1))
