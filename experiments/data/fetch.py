"""Downloads large files of publishers once, into a cache, and verifies their checksum at every use.

NAME.source.json beside NAME holds its address and SHA-256. A file gets its name only when it is complete (download.py).
"""

import contextlib
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import filelock

from experiments.data import files
from experiments.data.download import FAILURES, SCHEMES, beside, download, read_note, reason


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fast-diffusion-sampling"


def fetch(address: str, folder=None, sha256="", file=None, progress=True, remedy="", check=None) -> Path:
    """The local path of the file at an http(s) address: in `folder` (None: the cache), downloaded if it is missing.

    sha256: the publisher's checksum. Without one, the checksum of the file is recorded at its first use and compared
    at every later one, also for a file put there by hand. file: its local name (None: the end of the address).
    remedy: what the user can do instead of downloading, as the words after "or" in a sentence: "give the path of one
    that you have with --config.model.checkpoint=". check(path): raises ValueError to reject a download.

    If several processes call, one downloads and the others wait. The next call continues an interrupted download.
    OSError: the download failed; the message says where to put the file by hand. ValueError: the address or the name
    is impossible, or the file has another checksum or address. Without sha256 and Content-Length, a file that was cut
    short may go unnoticed.
    """
    name, otherwise = _name(address, file), f", or {remedy}" if remedy else ""
    path = (cache_folder() if folder is None else Path(folder)) / name
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path, progress):
                if not path.is_file():
                    _obtain(address, path, sha256.lower(), progress, otherwise, check)
        except FAILURES as error:
            how = f"try again, put {name} into {path.parent} by hand{otherwise}"
            raise OSError(f"cannot download {address} ({reason(error)}): {how}") from error
    _verify(path, address, sha256.lower(), otherwise)
    return path


def _name(address, file) -> str:
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"cannot download {address!r}: an address starts with http:// or https:// and a host")
    name = unquote(parts.path.rsplit("/", 1)[-1]) if file is None else str(file)
    if not re.fullmatch(r"[^./\\\0-\x1f][^/\\\0-\x1f]*", name):
        whose = f"the end of {address}" if file is None else "file"
        raise ValueError(
            f"{whose} is no file name: {name!r} is empty, starts with a dot or holds a separator: give a plain "
            "name as `file`"
        )
    return name


def _alone(path, progress):
    """A lock that keeps other processes from downloading this file."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        if progress:
            print(f"another process downloads {path.name}: waiting for it", flush=True)
        return lock.acquire()


def _obtain(address, path, sha256, progress, otherwise, check):
    """Downloads the file, compares its checksum, and only then gives it its name."""
    part, note = beside(path, ".part"), beside(path, ".part.json")
    download(address, part, progress)
    try:
        if sha256 and (found := _sha256(part)) != sha256:
            raise ValueError(
                f"{address} has the SHA-256 {found}, expected {sha256}; it was not kept: try again{otherwise}"
            )
        if check is not None:
            check(part)
    except ValueError:
        part.unlink()
        note.unlink(missing_ok=True)
        raise
    beside(path, ".source.json").unlink(missing_ok=True)  # it may describe an earlier file of this name
    os.replace(part, path)
    note.unlink(missing_ok=True)


def _verify(path, address, sha256, otherwise):
    """Compares the file with the publisher's checksum, else with the recorded one, and records its own."""
    note = beside(path, ".source.json")
    recorded = read_note(note)
    if not sha256 and recorded.get("address", address) != address:
        raise ValueError(
            f"{path} is from {recorded['address']}, not from {address}: give it another folder, or delete "
            f"it and {note.name} to download it again{otherwise}"
        )
    expected, found = sha256 or recorded.get("sha256", ""), _sha256(path)
    if expected and found != expected:
        whose = "the publisher has" if sha256 else "it had at its first use"
        raise ValueError(
            f"{path} has the SHA-256 {found}, {whose} {expected}: delete it and {note.name} to download it "
            f"again{otherwise}"
        )
    if recorded != (entry := {"address": address, "sha256": found}):
        with contextlib.suppress(OSError):  # the folder may be read-only
            files.write_json(note, entry)


def _sha256(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
