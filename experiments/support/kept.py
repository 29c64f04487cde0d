"""What a stopped run goes on from: arrays and rows in files that are whole or absent, with what they hold for."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.data.files import slug
from solvers import npz
from solvers.fingerprint import checksum

SAFE = r"[A-Za-z0-9_-]+"  # names that can be those of files as they are
NOTES = ("rows", "settings", "checksum")


class Kept:
    """Files of one folder, a file for each name, that hold for `settings` (plain values; the order does not count)."""

    def __init__(self, folder, settings: Mapping):
        self.folder, self.settings = Path(folder), json.dumps(settings, sort_keys=True, default=_plain)

    def path(self, name: str) -> Path:
        return self.folder / f"{name if re.fullmatch(SAFE, name) else slug(name)}.npz"

    def write(self, name: str, arrays: Mapping | None = None, rows=()) -> None:
        """Keeps arrays by their names, and rows of plain values."""
        arrays = {key: np.asarray(value) for key, value in (arrays or {}).items()}
        text = json.dumps(rows, default=_plain)
        notes = {"rows": text, "settings": self.settings, "checksum": _checksum(arrays, text, self.settings)}
        npz.write(self.path(name), arrays | notes)

    def read(self, name: str) -> tuple[dict, list] | None:
        """(arrays, rows) of this name; None if there are none that hold for these settings.

        A file that is damaged is said, and made again by the caller, as one that is absent.
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
    """numpy's numbers and arrays as JSON has them."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _checksum(arrays: Mapping, *texts: str) -> str:
    names = [*sorted(arrays)]
    return checksum(*(arrays[name] for name in names), np.frombuffer("\n".join([*names, *texts]).encode(), np.uint8))
