"""Large files of publishers, downloaded once into a cache, with a checksum that every use verifies.

Beside NAME is NAME.source.json, its address and SHA-256. No file has its name before it is complete (download.py).
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
    """Where the file of this http(s) address is: in the folder (None: the cache), downloaded first if it is not there.

    sha256: the publisher's, if there is one; else the file's own is recorded at its first use, also of a file that was
    put there by hand, and compared at every later one. file: its name there (None: the end of the address). remedy:
    what the user can do instead of downloading, to follow "or" in a sentence: "give the path of one that you have with
    --config.model.checkpoint=". check(path): raises ValueError for a download that shall not be kept.

    Of several processes one downloads and the others wait. A download that was cut off, in any way, is continued by
    the next call. OSError: it cannot be had, with where to put it by hand. ValueError: an address or a name that can
    be none, or a file of another checksum or address. Without sha256 and Content-Length a cut may go unnoticed.
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
    """A context in which no other process downloads this file."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        if progress:
            print(f"another process downloads {path.name}: waiting for it", flush=True)
        return lock.acquire()


def _obtain(address, path, sha256, progress, otherwise, check):
    """Download, compare, and only then give the file its name."""
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
    beside(path, ".source.json").unlink(missing_ok=True)  # of an earlier file of this name
    os.replace(part, path)
    note.unlink(missing_ok=True)


def _verify(path, address, sha256, otherwise):
    """The file against the publisher's checksum, else the recorded one; records it."""
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
        with contextlib.suppress(OSError):  # a folder that may only be read
            files.write_json(note, entry)


def _sha256(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
