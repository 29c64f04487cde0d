"""Intermediate results of a run, from which it goes on after a stop: arrays and rows in files, whole or absent."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.data.files import slug
from solvers import npz
from solvers.fingerprint import checksum

SAFE = r"[A-Za-z0-9_-]+"  # names that are file names already
NOTES = ("rows", "settings", "checksum")


class Kept:
    """Files in one folder, one for each name, valid for `settings` (plain values; their order does not count)."""

    def __init__(self, folder, settings: Mapping):
        self.folder, self.settings = Path(folder), json.dumps(settings, sort_keys=True, default=_plain)

    def path(self, name: str) -> Path:
        return self.folder / f"{name if re.fullmatch(SAFE, name) else slug(name)}.npz"

    def write(self, name: str, arrays: Mapping | None = None, rows=()) -> None:
        """Writes arrays by their names, and rows of plain values."""
        arrays = {key: np.asarray(value) for key, value in (arrays or {}).items()}
        text = json.dumps(rows, default=_plain)
        notes = {"rows": text, "settings": self.settings, "checksum": _checksum(arrays, text, self.settings)}
        npz.write(self.path(name), arrays | notes)

    def read(self, name: str) -> tuple[dict, list] | None:
        """(arrays, rows) of this name; None if there are none for these settings.

        A damaged file is reported and counts as absent: the caller makes it again.
        """
        path = self.path(name)
        if not path.is_file():
            return None
        try:
            arrays = npz.read(path)
            if missing := [note for note in NOTES if note not in arrays]:
                raise ValueError(f"{path} has no {missing[0]}: it is of another version")
            text, settings, found = (str(arrays.pop(note)) for note in NOTES)
            if found != _checksum(arrays, text, settings):
                raise ValueError(f"{path} has another checksum: it is not as it was written")
        except ValueError as error:
            print(f"{error}: it is made again now")
            return None
        return (arrays, json.loads(text)) if settings == self.settings else None


def _plain(value):
    """The value in a form for JSON: numbers and arrays of numpy as plain ones, anything else as text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _checksum(arrays: Mapping, *texts: str) -> str:
    names = [*sorted(arrays)]
    return checksum(*(arrays[name] for name in names), np.frombuffer("\n".join([*names, *texts]).encode(), np.uint8))
