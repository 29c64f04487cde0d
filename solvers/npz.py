"""Arrays in .npz files that are whole or absent: written under a temporary name, then renamed."""

import os
import tempfile
from pathlib import Path

import numpy as np


def write(path, arrays: dict, compress: bool = True) -> None:
    """Writes `arrays` {name: array} to `path`; a file of that name is always whole: the old one or the new one.

    The bytes are on the disk before the file gets its name, so a kill or a power cut leaves no part of it (at most a
    hidden .tmp file beside it). An OSError, of a full disk for example, names the file and leaves nothing behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            (np.savez_compressed if compress else np.savez)(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            cause = f"{error.strerror or error}: nothing was written, make room or choose another place"
            raise OSError(error.errno, cause, str(path)) from error
        raise


def read(path, names=None) -> dict:
    """The arrays `names` of a file, or all of them, {name: array}.

    FileNotFoundError without a file, ValueError for a broken one. Each array has a checksum of its own, and pickles are
    never executed.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (file.files if names is None else names)}
    except FileNotFoundError:
        raise
    except Exception as error:  # on damaged bytes, zipfile, zlib and numpy raise errors of many kinds
        wanted = f" with {', '.join(names)}" if names else ""
        raise ValueError(
            f"{path} is not a whole .npz file{wanted} ({error}): copy it again, or make it again"
        ) from error
