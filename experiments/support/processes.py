"""What several processes, and several runs, owe each other: one error for all, one user of a folder at a time."""

import os
import re
import signal
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import filelock
import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.support.errors import ConfigError

TEMPORARY = re.compile(r"\..+\.(\d+\.tmp\..+|\w{8}\.tmp)")  # names of report.replacing and solvers.npz
_patient, _told = [], []  # of this process: whether signals wait, and which came


def join(coordinator: str, processes: int, process: int) -> None:
    """Makes one of several processes of this one, by jax.distributed; see `distributed` in configs/default.py."""
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
    multihost_utils.process_allgather(0)  # gloo connects in the first exchange, for which it waits 30 seconds only


def _from_environment() -> tuple[str, int, int]:
    try:
        numbers = (int(os.environ[name]) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
        return os.environ["JAX_COORDINATOR_ADDRESS"], *numbers
    except (KeyError, ValueError) as error:
        more = "the numbers JAX_NUM_PROCESSES and JAX_PROCESS_ID must be too"
        raise ValueError(f"JAX_COORDINATOR_ADDRESS is set, {more} ({error})") from error


@contextmanager
def together():
    """An error in the block on one process is one on all of them, so that none waits for another for ever.

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


@contextmanager
def patiently():
    """Within the block the first signal to end the run waits for `stop_if_told`, or for the block's end."""
    _patient.append(True)
    try:
        yield
    finally:
        _patient.pop()
    stop_if_told()


def stop(number, frame) -> None:
    """Handles a signal that ends a run: as an error would, with nothing half-written."""
    _told.append(number)
    if not _patient or len(_told) > 1:
        _end(number)


def stop_if_told(step: int | None = None) -> None:
    """Ends the run if it was told to. With a step, ends all of several processes at the same one, whichever was told:
    once they have joined, jax receives SIGTERM in our place.
    """
    if _told:
        _end(_told[0])
    if step is not None and jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
        _end(signal.SIGTERM)


def _end(number):
    name = signal.Signals(number).name
    print(f"error: stopped by {name}: the same command goes on from what is written", file=sys.stderr, flush=True)
    sys.unraisablehook = partial(_once_more, number)
    raise SystemExit(128 + number)


def _once_more(number, lost):
    """Python drops what is raised in callbacks, as of its garbage collector, where jax has one: then the run just ends.

    Files are whole or absent all the same.
    """
    os._exit(128 + number)


@contextmanager
def sole_user(workdir: Path):
    """The folder, made if need be, is this run's alone while the block runs; ConfigError where it cannot be.

    The lock goes with the process, however that ends. Temporary files of a run that was killed are removed.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(workdir / ".lock", blocking=False)
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"another run is at work in {workdir}: wait until it ends, or give another --workdir"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write in {workdir} ({error.strerror}): give another --workdir") from error
    try:
        _remove_leftovers(workdir)
        yield
    finally:
        lock.release()


def _remove_leftovers(workdir):
    for folder, below, names in os.walk(workdir):
        below[:] = [name for name in below if not Path(folder, name, ".lock").exists()]  # workdirs of their own
        for name in filter(TEMPORARY.fullmatch, names):
            Path(folder, name).unlink(missing_ok=True)
