"""Measures samplers with a cheap network: their build, first run and memory, and their runs by turns with as many
calls of the same network alone."""

import ctypes
import gc
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.peers.case import OURS, Case, Contestant, copying, ours, traffic
from experiments.peers.official import PEERS
from experiments.peers.samplers import Missing
from experiments.support.turns import take_turns

HERE = "this project"
BUILDS = 3


def overheads(case: Case, repeats: int, folder) -> list[dict]:
    """A row for each sampler, ours first. folder: the checkout of DPM-Solver-v3, or empty."""
    batch, *shape = case.x.shape
    samplers = {(HERE, solver): partial(ours, case, solver) for solver in OURS}
    samplers |= {(peer.library, peer.solver): partial(peer.make, case, folder) for peer in PEERS}
    rows, works = {}, {}
    for (library, solver), make in samplers.items():
        row = {"what": "overhead", "shape": "x".join(map(str, case.x.shape)), "library": library, "solver": solver}
        rows[library, solver] = row
        try:
            one = make()
            found, made, final = prepare(one)
            row |= found | {"difference": difference(case, solver, one, final)}
        except Missing as missing:
            row["status"] = str(missing)
        except Exception as error:  # of a version that works otherwise: the others are still worth measuring
            if library == HERE:
                raise
            row["status"] = " ".join(f"failed: {type(error).__name__}: {error}".split())
        else:
            works[library, solver, "run"] = partial(one.run, made), partial(one.ready, made)
            works[library, solver, "bare"] = one.bare, nothing
            if library == HERE:
                works[solver, "copy"] = copying(case, traffic(made, batch)), nothing
    seconds = turns(works, repeats)
    for (library, solver), row in rows.items():
        if "status" not in row:
            row |= timings(seconds, library, solver, case.steps)
    return list(rows.values())


def timings(seconds: dict, library: str, solver: str, steps: int) -> dict:
    """Milliseconds per step, and ratios of the clock that counts: CPU time on a CPU, else wall time."""

    def above(clock, library):
        run, bare = (seconds[clock][library, solver, what] for what in ("run", "bare"))
        return 1e3 * (run - bare) / steps

    clock = "cpu" if jax.devices()[0].platform == "cpu" else "wall"
    mine, copy = above(clock, library), 1e3 * seconds[clock][solver, "copy"] / steps
    row = quantiles("cpu_ms", above("cpu", library)) | quantiles("wall_ms", above("wall", library))
    row |= quantiles("ours_over_this", above(clock, HERE) / mine) if library != HERE else {}
    return row | quantiles("copy_ms", copy) | quantiles("over_copy", mine / copy)


def difference(case: Case, solver: str, one: Contestant, final) -> float | None:
    """The largest difference of x0 from ours, over the largest x0, where both solve the same."""
    if one.prediction is None:
        return None
    mine = ours(case, solver, one.prediction)
    expected = mine.read(mine.run(mine.build()))
    return float(np.abs(final - expected).max() / np.abs(expected).max())


def nothing():
    pass


def prepare(one: Contestant) -> tuple[dict, object, np.ndarray]:
    """(numbers of a row, what was made, x0 [B, *D]) of what is not measured by turns."""
    seconds = []
    for _ in range(BUILDS):
        made = None  # lets go of the last one
        begin = time.perf_counter()
        made = one.build()
        seconds.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    one.ready(made)
    final = one.read(one.run(made))
    found = {"first_s": time.perf_counter() - begin, "build_s": float(np.median(seconds))}
    one.ready(made)
    memory = one.memory(made)
    memory = resident_peak(partial(one.run, made)) if memory is None else memory
    found |= {"build_mb": _mb(resident_peak(one.build)), "run_mb": _mb(memory)}
    one.bare()  # compiles
    return found, made, final


def turns(works: Mapping, rounds: int) -> dict:
    """Seconds {"wall" and "cpu": {name: [rounds]}} of {name: (work, what comes before and is not timed)} by turns.

    cpu: of all threads of the process together.
    """
    cpu = {name: np.zeros(rounds) for name in works}

    def clocked(name, number):
        work, before = works[name]
        before()
        begin = time.perf_counter(), time.process_time()
        work()
        cpu[name][number] = time.process_time() - begin[1]
        return time.perf_counter() - begin[0]

    return {"wall": take_turns({name: partial(clocked, name) for name in works}, rounds), "cpu": cpu}


def quantiles(name: str, values) -> dict:
    """{name: median, name_low and name_high: quartiles} of values [rounds]."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}


def resident_peak(work: Callable) -> int | None:
    """The bytes that work() needs at its peak beyond those the process had before; None if the system is not Linux."""
    forget = Path("/proc/self/clear_refs")
    if not forget.exists():
        return None
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # freed memory that the process still holds would hide part of the peak
    try:
        forget.write_text("5")  # the peak starts anew
    except OSError:
        return None
    before = _resident("VmRSS")
    work()
    return max(_resident("VmHWM") - before, 0)


def _resident(what: str) -> int:
    return 1024 * int(re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def _mb(size) -> float | None:
    return None if size is None else size / 1e6
