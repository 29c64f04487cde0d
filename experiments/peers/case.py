"""The input for the samplers of `peers`, a cheap network and noise; and the samplers of this project."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from solvers import SOLVERS, sample
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM as SCHEDULE

T_START, T_END = 80.0, 0.002
WIDTH = 8  # of the cheap network for samples that are not images
GAIN = 0.01  # of the cheap network; keeps solutions finite for predictions of x0 and of eps
OURS = {  # solver -> builder, options, what the network predicts; the options that others have, too
    "DPM-Solver++(2M)": ("dpmpp", {"order": 2, "lower_order_final": False}, "x0"),
    "UniPC-3": ("unipc", {"order": 3, "variant": "bh2"}, "eps"),
    "DPM-Solver-v3": ("dpm_v3", {"order": 3, "corrector": True, "published": True}, "eps"),
}


class Case(NamedTuple):
    """Noise x [B, *D], times [steps + 1], and weights of a cheap network: a 3x3 convolution (kernel,) for images, two
    dense layers (down [D, WIDTH], up [WIDTH, D]) for other samples. With `still` it is a projection, so that calls on
    the output of calls neither grow nor vanish. `ems` are random numbers on nodes that hold all times.
    """

    x: np.ndarray
    times: np.ndarray
    weights: tuple
    still: tuple
    ems: EMS

    @property
    def steps(self) -> int:
        return len(self.times) - 1


class Contestant(NamedTuple):
    """A sampler of a case. `run` and `bare` return when their work is done.

    build() -> made, what one makes once before sampling (a table, a constructor); ready(made): before each run, not
    timed; run(made) -> x0, and read(x0) [B, *D]; bare(): the same calls of the network alone, each on the output of the
    one before; prediction: what the network is taken for where the result must be ours, else None; memory(made): bytes
    of one run beside its arguments, where they are accounted for, else None.
    """

    build: Callable
    run: Callable
    bare: Callable
    read: Callable = np.asarray
    prediction: str | None = None
    ready: Callable = lambda made: None
    memory: Callable = lambda made: None


def make_case(shape: tuple, steps: int, nodes: int) -> Case:
    """shape [B, *D]; steps divides nodes, the intervals of the statistics."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    if len(shape) == 4:
        still = np.zeros((3, 3, shape[-1], shape[-1]), np.float32)
        still[1, 1] = np.eye(shape[-1])
        weights, still = (GAIN * normal(*still.shape) / still[..., 0].size ** 0.5,), (still,)
    else:
        basis = np.linalg.qr(normal(int(np.prod(shape[1:])), WIDTH))[0]
        weights, still = (GAIN * basis, basis.T), (basis, basis.T)
    times, data = GRIDS["lam_uniform"](SCHEDULE(), steps, T_START, T_END), (nodes + 1, *shape[1:])
    lam = np.linspace(*SCHEDULE().lam(times[[0, -1]]), nodes + 1)
    ems = EMS(lam, 0.7 + 0.1 * normal(*data), 0.1 * normal(*data), 0.1 * normal(*data), {})
    return Case(T_START * normal(*shape), times, weights, still, ems)


def cheap(weights, x, t):
    """The network of a case, of one sample."""
    if len(weights) == 1:
        return jax.lax.conv_general_dilated(
            x[None], *weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
    down, up = weights
    return (x.reshape(-1) @ down @ up).reshape(x.shape)


def ours(case: Case, solver: str, prediction=None) -> Contestant:
    """A sampler of this project, on one device. The bare network calls are one program, a loop, without dispatch."""
    name, options, own = OURS[solver]
    options = options | ({"ems": case.ems} if name == "dpm_v3" else {})
    place = partial(jax.device_put, device=jax.devices()[0])
    x, weights, still = place((case.x, case.weights, case.still))

    def build():
        table = SOLVERS[name](SCHEDULE(), case.times, prediction=prediction or own, **options)
        return jax.block_until_ready(place(table.astype(np.float32)))

    @jax.jit
    def sampled(table, weights, x):
        return jax.vmap(lambda one: sample(partial(cheap, weights), table, one)[0])(x)

    @jax.jit
    def calls(weights, x):
        return jax.lax.fori_loop(0, case.steps, lambda _, x: jax.vmap(partial(cheap, weights, t=0.0))(x), x)

    def memory(table):
        found = sampled.lower(table, weights, x).compile().memory_analysis()
        return found.temp_size_in_bytes + found.output_size_in_bytes

    return Contestant(
        build,
        run=lambda table: jax.block_until_ready(sampled(table, weights, x)),
        bare=lambda: jax.block_until_ready(calls(still, x)),
        memory=memory,
    )


def traffic(table, batch: int) -> float:
    """States that an update must read and write: K + 4, and coefficients of the data shape once for a whole batch."""
    return table.depth + 4 + (table.depth + 3) / batch * (table.a.ndim > 1)


def copying(case: Case, states: float) -> Callable:
    """Makes work(): a plain copy of `states` states for each step, half of it read and half of it written."""
    size = round(case.x.size * states / 2)
    if jax.devices()[0].platform == "cpu":  # numpy: a new array for each copy would cost pages of memory
        copy = partial(np.copyto, np.zeros(size, np.float32), np.ones(size, np.float32))
    else:
        copy = partial(jax.jit(jnp.copy), jnp.ones(size, jnp.float32))

    def work():
        for _ in range(case.steps):
            copied = copy()
        jax.block_until_ready(copied)

    return work
