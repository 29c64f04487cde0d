"""Work in a process of its own, with as many simulated devices as wanted: a fork of one with all imports done."""

import multiprocessing
import threading

import jax
from tqdm import tqdm

from tests.conftest import CACHE

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["main", "experiments.ems.find"])


def start(work, *arguments, devices=2):
    """work(*arguments) begins in a process, which is returned."""
    process = CONTEXT.Process(target=_run, args=(work, devices, arguments))
    process.start()
    return process


def child(work, *arguments, devices=2) -> int:
    """The exit code of work(*arguments)."""
    process = start(work, *arguments, devices=devices)
    process.join()
    return process.exitcode


def _run(work, devices, arguments):
    tqdm.set_lock(threading.RLock())  # its own is one of the system, which a kill leaves behind
    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    work(*arguments)
