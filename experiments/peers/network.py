"""Whole sampling of EDM's CIFAR-10 DDPM++, here and by the original in PyTorch, with the same numbers for parameters.

Both run DPM-Solver++(2M) on the same times from the same noise, and must draw the same images before they are timed.
On a CPU ours has as many simulated devices as PyTorch has threads; on a GPU both have one.
"""

import time
import zlib
from collections.abc import Callable
from functools import partial

import jax
import numpy as np

import models
from experiments.peers.case import SCHEDULE, T_END, T_START
from experiments.peers.original import drawing, original
from experiments.peers.overhead import HERE, nothing, quantiles, turns
from experiments.peers.samplers import Missing
from experiments.support.mesh import make_mesh, place
from models.convert import edm, weights
from solvers import SOLVERS, sample
from solvers.grid import GRIDS

THERE = "EDM in PyTorch"
SAME = 1e-3  # largest difference of two images of one noise, over the largest pixel
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121}  # TFLOP/s in bfloat16; TF32 has half of them


class Contest:
    """The network and what samples it: `ours(dtype)` and, if there is a checkout of EDM, `theirs(dtype)`."""

    def __init__(self, settings):
        self.settings, cpu = settings, jax.devices()[0].platform == "cpu"
        self.mesh = make_mesh(jax.devices() if cpu else jax.devices()[:1])
        self.dtypes = ("float32",) if cpu else ("float32", "bfloat16")
        devices, batch = self.mesh.devices.size, settings.batch or (16 if cpu else 256)
        self.batch, self.threads = -(-batch // devices) * devices, devices
        size = {"channels": settings.channels, "blocks": settings.blocks}
        self.meta = {"network": {"name": "song", "multipliers": (2, 2, 2), **size}, "sigma_data": 0.5}
        self.x = T_START * np.random.default_rng(0).standard_normal((self.batch, 32, 32, 3), np.float32)
        times = GRIDS["karras"](SCHEDULE(), settings.nfe, T_START, T_END)
        self.table = SOLVERS["dpmpp"](SCHEDULE(), times, order=2, prediction="x0")
        self.params, self.original, self.missing = self.parameters()

    def parameters(self):
        """(ours, EDM's network, why there is none of these)."""
        net, s = models.build(self.meta["network"]), self.settings
        options = {"model_channels": s.channels, "num_blocks": s.blocks, "channel_mult": [2, 2, 2]}
        try:
            found, tensors = original(s.edm, options, numbers)
        except Missing as missing:
            return models.init(net, 0, self.x.shape[1:]), None, str(missing)
        shapes = weights.shapes_of(net)
        return weights.convert(edm.sources(net, shapes), tensors, shapes, edm.unused), found, ""

    def ours(self, dtype: str) -> tuple[Callable, float]:
        """draw(exact=False) -> images, and floating-point operations of one evaluation for one image."""
        make = models.denoisers(self.meta, dtype)

        def denoise(params, x, t):
            return make(params)(x[None], t[None], np.zeros(1, np.int32))[0]

        @jax.jit
        def sampled(params, table, x):
            return jax.vmap(lambda one: sample(partial(denoise, params), table, one)[0])(x)

        table = self.table.astype(np.float32)
        fixed, x = place(self.mesh, (self.params, table)), place(self.mesh, self.x, batch=True)
        lowered = jax.jit(denoise).lower(self.params, self.x[0], table.t[0])

        def draw(exact=False):
            with jax.default_matmul_precision("highest" if exact else None):
                return np.asarray(sampled(*fixed, x))

        return draw, float(lowered.cost_analysis()["flops"])

    def theirs(self, dtype: str) -> Callable:
        return drawing(self.original, self.table, self.x, dtype, self.threads)


def compare(contest: Contest, repeats: int) -> list[dict]:
    """A row for each precision, here and there."""
    works, flops = {}, {}
    for dtype in contest.dtypes:
        works[HERE, dtype], flops[dtype] = contest.ours(dtype)
        if contest.original:
            works[THERE, dtype] = contest.theirs(dtype)
    first_s, images = first_runs(works)
    status = contest.missing
    if contest.original:
        if len(contest.dtypes) > 1:
            images = {(library, "float32"): works[library, "float32"](exact=True) for library in (HERE, THERE)}
        off = difference(images[HERE, "float32"], images[THERE, "float32"])
        status = "" if off <= SAME else f"not timed: images differ by {off:.2g} of the largest pixel"
    works = {name: (draw, nothing) for name, draw in works.items() if name[0] == HERE or not status}
    seconds = turns(works, repeats)["wall"]
    rows = []
    for dtype in contest.dtypes:
        for library in (HERE, THERE):
            row = {"what": "network", "library": library, "dtype": dtype, "batch": contest.batch}
            row |= {"nfe": contest.table.nfe, "gflop": flops[dtype] / 1e9}
            if (library, dtype) not in seconds:
                rows.append(row | {"status": status})
                continue
            row |= quantiles("images_per_second", contest.batch / seconds[library, dtype])
            if not status:
                row |= quantiles("ours_over_this", seconds[HERE, dtype] / seconds[library, dtype])
                row["difference"] = off if library == THERE and dtype == "float32" else None
            speed = row["images_per_second"] * contest.table.nfe * flops[dtype]
            row["share_of_peak"] = share(speed, dtype, jax.devices()[0].device_kind)
            rows.append(row | {"first_s": first_s[library, dtype]})
    return rows


def first_runs(works) -> tuple[dict, dict]:
    """Seconds of the first run of each, compilation included, and what it drew."""
    seconds, images = {}, {}
    for name, draw in works.items():
        begin = time.perf_counter()
        images[name] = draw()
        seconds[name] = time.perf_counter() - begin
    return seconds, images


def difference(found, expected) -> float:
    """The largest difference, divided by the largest expected value; inf if one is not finite."""
    off = np.abs(found - expected).max() / np.abs(expected).max()
    return float(off) if np.isfinite(off) else np.inf


def numbers(name: str, shape) -> np.ndarray:
    """float32 that a name and a shape determine, of a scale at which signals neither vanish nor grow."""
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    if len(shape) < 2:  # norms' factors are near 1, all offsets small
        return ("norm" in name and name.endswith("weight")) + np.float32(0.1) * normal
    return normal * np.float32((np.prod(shape) / max(shape)) ** -0.5)


def share(flops_per_second: float, dtype: str, kind: str) -> float | None:
    """The share of a device's peak speed; None if the peak of its kind is not known."""
    peak = next((value for name, value in PEAKS.items() if name in kind), None)
    return flops_per_second / (peak * 1e12 * (1 if dtype == "bfloat16" else 0.5)) if peak else None
