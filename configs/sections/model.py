"""The network, what guides it, and the mixture that stands for one."""

from dataclasses import dataclass

from configs.sections.fields import POSITIVE, Bound, above, at_least, between, key, of_length, one_of, several


@dataclass(frozen=True)
class Model:
    name: str = key("unet", "unet | mixture")
    checkpoint: str = key("", "a parameter file (.npz), the folder of a training run, or a publisher's checkpoint")
    address: str = key("", "where the publisher has it, if `checkpoint` is empty: downloaded once, into the cache")
    file: str = key("", "its name in the cache; empty: the end of the address")
    sha256: str = key("", "the publisher's, if there is one; else the file's own is recorded at its first use")
    release: str = key("", "what a publisher's file is (models/convert/releases.py); empty: of EDM's form")
    dtype: str = key("float32", "precision of the network", one_of("float32", "bfloat16"))
    channels: int = key(48, "of the network that is trained", POSITIVE)
    multipliers: tuple[int, ...] = key((1, 2), "of the channels, by resolution", several(POSITIVE))
    blocks: int = key(2, "per resolution", POSITIVE)
    labels: str = key(
        "none",
        "none: unconditional | all: sample i is of class i mod classes, as many of each | random: of a class that its "
        "own random numbers choose, uniformly | one class number",
    )


@dataclass(frozen=True)
class Mixture:
    """model.name=mixture: a random Gaussian mixture, whose score is exact."""

    shape: tuple[int, ...] = key((2,), "of a sample", several(POSITIVE))
    components: int = key(6, "how many", POSITIVE)
    radius: float = key(0.8, "of the sphere that the means lie on", at_least(0))
    deviations: tuple[float, ...] = key(
        (0.03, 0.2),
        "range of the standard deviations along the axes of a component",
        of_length(2, "two numbers, smallest and largest"),
        several(above(0)),
        Bound(lambda value: value[0] <= value[1], "rising", "give the smaller one first"),
    )
    seed: int = key(0, "of the mixture", at_least(0))


@dataclass(frozen=True)
class Guidance:
    scale: float = key(
        1.0,
        "1: no guidance, 0 with a classifier. A guided evaluation is counted once",
        between(-1000, 1000),
    )
    checkpoint: str = key("", "of a noisy classifier, which guides then; this and the next four: as in `model`")
    address: str = key("", "as in `model`")
    file: str = key("", "as in `model`")
    sha256: str = key("", "as in `model`")
    release: str = key("", "as in `model`")


@dataclass(frozen=True)
class Schedule:
    name: str = key("edm", "edm | vp | vp_cosine | vp_discrete | flow")
    beta_min: float = key(0.1, "vp", at_least(0))
    beta_max: float = key(20.0, "vp", above(0))
    betas: str = key("0.00085,0.012,1000,scaled_linear", "vp_discrete: first, last, count, linear | scaled_linear")
    zero_terminal_snr: bool = key(False, "vp_discrete: rescaled to end at alpha = 0, where eps says nothing of x0")
