"""Several processes that share a run: they join, and one error stops all."""

import os
import sys
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils


def join(coordinator: str, processes: int, process: int) -> None:
    """Joins this process to the others of the run, by jax.distributed; see `distributed` in configs/sections/run.py."""
    if coordinator == "auto" and "JAX_COORDINATOR_ADDRESS" in os.environ:
        coordinator, processes, process = _from_environment()
    host, _, port = coordinator.rpartition(":")
    if coordinator != "auto":
        if not (host and port.isdigit()):
            raise ValueError(f"distributed.coordinator must be host:port of process 0, or auto, got {coordinator!r}")
        if processes < 1:
            raise ValueError(f"distributed.processes must be at least 1, got {processes}")
        if not 0 <= process < processes:
            last = f"distributed.processes - 1 = {processes - 1}"
            raise ValueError(f"distributed.process must be from 0 to {last}, got {process}")
    print(f"waiting for the other processes at {coordinator}, 5 minutes at most", file=sys.stderr)
    try:
        jax.distributed.initialize(*(() if coordinator == "auto" else (coordinator, processes, process)))
        devices = [device.process_index for device in jax.devices()]
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"distributed.coordinator={coordinator} connects no processes: {' '.join(str(error).split())}"
        ) from error
    counts = [devices.count(number) for number in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise ValueError(f"the processes have {counts} devices: give each as many, on CPUs by cpu_devices")
    multihost_utils.process_allgather(0)  # gloo connects in the first exchange and waits only 30 seconds for it


def _from_environment() -> tuple[str, int, int]:
    try:
        numbers = (int(os.environ[name]) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
        return os.environ["JAX_COORDINATOR_ADDRESS"], *numbers
    except (KeyError, ValueError) as error:
        more = "the numbers JAX_NUM_PROCESSES and JAX_PROCESS_ID must be too"
        raise ValueError(f"JAX_COORDINATOR_ADDRESS is set, {more} ({error})") from error


@contextmanager
def together():
    """Raises an error of one process on all of them, so that none waits for another for ever.

    No process goes on before all have left the block.
    """
    error = None
    try:
        yield
    except Exception as caught:
        error = caught
    text = np.frombuffer(f"{error or ''}".encode().ljust(500)[:500], np.uint8)
    texts = multihost_utils.process_allgather(text)
    if error:
        raise error
    for number, text in enumerate(bytes(text).decode(errors="replace").strip() for text in texts):
        if text:
            raise ValueError(f"process {number}: {text}")
