"""Writes files that are whole or absent: a file gets its final name only when it is complete."""

import json
import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from solvers import npz


@contextmanager
def replacing(path):
    """Yields a temporary path beside `path`, with the same suffix, and renames it to `path` if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def write_samples(path, images, indices, **more):
    """Writes `images` uint8 [n, H, W, C] (float32 [n, *D] for data that are not images) and `indices` [n]."""
    npz.write(path, {"images": images, "indices": np.asarray(indices), **more}, compress=True)


def slug(label: str) -> str:
    """The label in a form that fits into a file name."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("++", "pp")).strip("-")
