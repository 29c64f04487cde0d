"""The folder of a run. Only one run may use it at a time."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import filelock

from experiments.support.errors import ConfigError

TEMPORARY = re.compile(r"\..+\.(\d+\.tmp\..+|\w{8}\.tmp)")  # names of data/files.py and solvers/npz.py


@contextmanager
def sole_user(workdir: Path):
    """Locks the folder for this run while the block runs, and makes it if needed; ConfigError if that fails.

    The lock ends with the process, however that ends. Temporary files of a killed run are removed.
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
