"""How long `draw` takes from python to machine code, and what the persistent compilation cache saves of that."""

import tempfile
import time
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from experiments.build.network import build_labels
from experiments.build.schedules import initial_scale
from experiments.sampling import draw as runner
from experiments.sampling.sampler import build_mesh
from experiments.support.mesh import place, rounded

STAGES = ("trace", "lower", "compile")
STATES = ("empty", "filled")


def compilations(case, repeats: int, progress) -> dict:
    """{state of the persistent cache: seconds [repeats, stages]} of `draw` for one batch of a drawing.Case.

    Forgets all that jax has compiled in this process.
    """
    found = {state: [] for state in STATES}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, cache_in(folder):
            for state in STATES:
                found[state].append(stages(case))
                progress()
    return {state: np.array(seconds) for state, seconds in found.items()}


def stages(case) -> np.ndarray:
    """Seconds of STAGES."""
    config, network, mesh = case.config, case.network, build_mesh(case.config)
    indices = np.arange(rounded(config.sample.batch, config.sample.batch, mesh), dtype=np.int32)
    fixed = place(mesh, (network.params, case.jump, case.table))
    split = place(mesh, (indices, build_labels(config, network, indices)), batch=True)
    jax.clear_caches()
    draw = jax.jit(runner.make_draw(network.make, network.shape, initial_scale(config), network.basis is not None))
    at = [time.perf_counter()]
    traced = draw.trace(*fixed, case.rows, config.sample.seed, *split)
    at.append(time.perf_counter())
    lowered = traced.lower()
    at.append(time.perf_counter())
    lowered.compile()
    return np.diff([*at, time.perf_counter()])


@contextmanager
def cache_in(folder):
    """The persistent compilation cache is in `folder`, for programs of any size, while the block runs."""
    wanted = {"jax_enable_compilation_cache": True, "jax_compilation_cache_dir": str(folder)}
    wanted |= {"jax_persistent_cache_min_compile_time_secs": 0, "jax_persistent_cache_min_entry_size_bytes": -1}
    before = {name: getattr(jax.config, name) for name in wanted}
    try:
        _configure(wanted)
        yield
    finally:
        _configure(before)


def _configure(values):
    for name, value in values.items():
        jax.config.update(name, value)
    reset_cache()  # which takes its folder only once, with the first program
