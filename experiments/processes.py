"""What several processes, and several runs, owe each other: one error for all, one user of a folder at a time."""

from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
from jax.experimental import multihost_utils

from experiments.build import ConfigError


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
def sole_user(workdir: Path):
    """The folder, made if need be, is this run's alone while the block runs; ConfigError where it cannot be.

    The lock goes with the process, however that ends. Hidden temporary files of runs that were killed are removed.
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
        for left in workdir.rglob(".*.tmp*"):
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
