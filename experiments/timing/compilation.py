"""Measures how long `draw` takes from Python to machine code, and what the persistent compilation cache saves."""

import tempfile
import time
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from experiments.images import Case
from experiments.sampling import Sampler
from experiments.support.mesh import place
from experiments.timing.contestants import size_of

STAGES = ("trace", "lower", "compile")
STATES = ("empty", "filled")


def compilations(case: Case, mesh, repeats: int, progress) -> dict:
    """{state of the persistent cache: seconds [repeats, stages]} for compiling `draw` for one batch of a Case.

    Clears everything that jax has compiled in this process.
    """
    found = {state: [] for state in STATES}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, cache_in(folder):
            for state in STATES:
                found[state].append(stages(case, mesh))
                progress()
    return {state: np.array(seconds) for state, seconds in found.items()}


def stages(case: Case, mesh) -> np.ndarray:
    """The seconds of each of STAGES."""
    sampler, indices = Sampler(case.problem, case.own.batch, mesh), np.arange(size_of(case, mesh), dtype=np.int32)
    fixed = (sampler.params, *place(mesh, (case.method.jump, case.method.runs)), case.method.nfe, case.problem.seed)
    split = place(mesh, (indices, case.problem.labels(indices)), batch=True)
    jax.clear_caches()
    at = [time.perf_counter()]
    traced = jax.jit(sampler.draw).trace(*fixed, *split)
    at.append(time.perf_counter())
    lowered = traced.lower()
    at.append(time.perf_counter())
    lowered.compile()
    return np.diff([*at, time.perf_counter()])


@contextmanager
def cache_in(folder):
    """Puts the persistent compilation cache into `folder` while the block runs, for programs of any size."""
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
    reset_cache()  # else it stays with the folder of the first program
