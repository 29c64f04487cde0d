"""Samples, their scores, and how fast they are."""

import re
from dataclasses import dataclass

from configs.sections.fields import HUGE, POSITIVE, SEED, Bound, at_least, between, key, several


@dataclass(frozen=True)
class Sampling:
    count: int = key(1000, "how many samples", POSITIVE)
    batch: int = key(64, "samples at a time, of all devices together", POSITIVE)
    seed: int = key(0, "of the noise", SEED)
    devices: int = key(0, "on how many devices; 0: all", at_least(0))
    block: int = key(512, "images per file of `sample`; a finished file is not sampled again on restart", POSITIVE)
    keep: str = key("npz", "npz | png: as images/000000/000123.png | none: features and sums of images, not the images")
    scored: int | tuple[int, ...] = key(
        (),
        "`sample` and `score` also score the first so many images, whatever the count",
        several(POSITIVE, least=0),
    )


@dataclass(frozen=True)
class Score:
    metrics: str | tuple = key((), "beside the Fréchet distance, see experiments/images/score.py")
    solution: str = key("", "images that `rmse` is to")
    extrapolate: bool = key(False, "the distance of infinitely many images, too")
    batch: int = key(64, "images at a time", POSITIVE)
    layout: str = key(
        "mu, sigma", "of the file that `reference` writes: mu, sigma | mu_s, sigma_s | arr_0 | pool_3 | edm2"
    )


@dataclass(frozen=True)
class Speed:
    batch: int = key(64, "samples at a time", POSITIVE)
    repeats: int = key(10, "interleaved measurements of each kind", between(1, 1_000_000))


@dataclass(frozen=True)
class Throughput:
    batches: int | tuple[int, ...] = key(
        (16, 32, 64, 128, 256), "of all devices together; the rest is with the fastest", several(POSITIVE)
    )
    devices: int | tuple[int, ...] = key(
        (1, 2, 4, 8), "on how many it is measured, of those that there are: see cpu_devices", several(POSITIVE)
    )
    count: int = key(4096, "images of each contestant; `sample.keep` and `sample.block` count", POSITIVE)
    segment: int = key(512, "images of one measurement", POSITIVE)
    repeats: int = key(
        5, "measurements of each batch, of each number of devices, and of compilation", between(1, 1_000_000)
    )


def _fine_shapes(value: str) -> bool:
    """Shapes as 64x32x32x3, with commas between them, each of at most HUGE numbers."""
    for part in value.split(","):
        if not re.fullmatch(r"\s*[1-9]\d{0,11}(x[1-9]\d{0,11})+\s*", part):
            return False
        size = 1
        for number in part.split("x"):
            size *= int(number)
        if size > HUGE:
            return False
    return True


@dataclass(frozen=True)
class Peers:
    """This project's sampling beside that of others, whatever of them is installed."""

    shapes: str = key(
        "64x32x32x3, 1x512x512x3, 16x64x64x3, 256x12288",
        "of states, samples first",
        Bound(_fine_shapes, "shapes like 64x32x32x3, samples first", "separate them by commas"),
    )
    steps: int = key(10, "with a cheap network, for the overhead per step", between(3, 10_000))
    nodes: int = key(
        20,
        "intervals of the statistics, a multiple of the steps: more cost DPM-Solver-v3 memory only",
        between(3, 100_000),
    )
    repeats: int = key(20, "measurements of each kind", between(1, 1_000_000))
    nfe: int = key(5, "of the whole sampling of the DDPM++", between(2, 10_000))
    batch: int = key(0, "0: 16 on a CPU, 256 on a GPU; rounded up to the devices", between(0, 1_000_000))
    channels: int = key(
        128,
        "the published width",
        Bound(lambda value: 32 <= value <= 8192 and value % 32 == 0, "a multiple of 32", "128 is the full width"),
    )
    blocks: int = key(4, "and the published number of blocks per resolution", between(1, 100))
    network_repeats: int = key(3, "measurements of the whole network", between(1, 1_000_000))
    dpm_v3: str = key("", "a checkout of github.com/thu-ml/DPM-Solver-v3; empty: its official samplers are left out")
    edm: str = key("", "a checkout of github.com/NVlabs/edm; empty: the DDPM++ is timed here only")
