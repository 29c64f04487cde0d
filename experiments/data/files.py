"""Files that are whole or absent: nothing has its final name before it is complete."""

import json
import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """Gives a temporary path beside `path`, with its suffix, and renames it to `path` if the block succeeds."""
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
