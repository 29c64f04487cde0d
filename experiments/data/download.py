"""One large file over http(s), resumable: what has arrived is at once in a .part, which the next call continues.

Beside it, in .part.json, is the publisher's version that it is of: bytes of two versions are never joined, by If-Range,
and by a look at the reply for servers that do not know it.
"""

import errno
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from experiments.data import files
from experiments.data.progress import Progress

WAITS = 1, 2, 4  # seconds before each new attempt; attempts are counted anew when one has brought the file further
TIMEOUT = 60  # seconds without a byte
BLOCK = 1 << 16  # bytes
SCHEMES = "http", "https"
FULL = errno.ENOSPC, errno.EDQUOT
FAILURES = OSError, http.client.HTTPException  # all that download raises


class Refused(OSError):
    """A reply, or a lack of space, that another attempt would not change."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib itself follows to ftp as well."""

    def redirect_request(self, request, reply, code, message, headers, address):
        if urlsplit(address).scheme not in SCHEMES:
            raise Refused(f"it redirects to {address}, and only {' and '.join(SCHEMES)} are followed")
        return super().redirect_request(request, reply, code, message, headers, address)


def download(address: str, part: Path, progress: bool = True):
    """Fill `part` with the file of the address, continuing what is there of the same version; a bar in bytes.

    Drop-outs and failures of the server are waited for and tried again. Raises one of FAILURES, and then, as after an
    interrupt, keeps what has arrived.
    """
    waits, longest = iter(WAITS), 0
    while True:
        try:
            return _continue(address, part, progress)
        except FAILURES as error:
            size = _size(part)
            if size > longest:
                waits, longest = iter(WAITS), size
            wait = next(waits, None)
            if wait is None or not _passing(error):
                raise
        time.sleep(wait)


def _continue(address, part, progress):
    """One connection: what is missing of the part, or all of it where that cannot be continued."""
    note = read_note(beside(part, ".json"))
    have = _size(part) if note.get("address") == address and note["version"] else 0
    if have and have == note["size"]:
        return
    wanted = {"Range": f"bytes={have}-", "If-Range": note["version"]} if have else {}
    request = urllib.request.Request(address, headers={"User-Agent": "fast-diffusion-sampling", **wanted})
    try:
        reply = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
            raise ConnectionError(f"the file ends after {have:,} of {note['size'] or have:,} bytes") from error
        raise
    with reply:
        size = _judge(reply, part, note, have)
        have = have if reply.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        with open(part, "ab" if have else "wb") as file:
            if not have:  # the part is empty now, so this never describes another version's bytes
                files.write_json(beside(part, ".json"), {"address": address, "version": _version(reply), "size": size})
            _receive(reply, file, part, have, size, progress)
    if size is not None and (arrived := _size(part)) != size:
        raise ConnectionError(f"the connection ended after {arrived:,} of {size:,} bytes")


def _judge(reply, part, note, have) -> int | None:
    """The size of the whole file, None if unknown. Refuses what is not the file, or not the part's version of it."""
    if reply.headers.get_content_type() == "text/html":
        raise Refused("the server sends a web page, not the file: it may ask you to log in or to confirm")
    if reply.status == http.HTTPStatus.OK:
        return reply.length
    if reply.status != http.HTTPStatus.PARTIAL_CONTENT:
        raise Refused(f"the server answers with status {reply.status} {reply.reason}")
    total = re.fullmatch(rf"bytes {have}-\d+/(\d+)", reply.headers.get("Content-Range", ""))
    same = _version(reply) in ("", note.get("version"))
    if not same or total is None or note.get("size") not in (None, int(total[1])):
        part.unlink(missing_ok=True)
        raise ConnectionError("the file changed while it was downloaded")
    return int(total[1])


def _receive(reply, file, part, have, size, progress):
    free = shutil.disk_usage(part.parent).free
    if size is not None and size - have > free:
        raise Refused(f"it needs {size - have:,} bytes more, and {part.parent} has {free:,} free")
    options = {"unit": "B", "unit_scale": True, "desc": part.stem, "hidden": not progress}
    with Progress(total=size, initial=have, **options) as bar:
        while block := reply.read(BLOCK):
            file.write(block)
            bar.update(len(block))
    file.flush()
    os.fsync(file.fileno())  # a power cut after the renaming leaves no file with holes


def _version(reply) -> str:
    """What identifies the file's version in If-Range: a strong ETag, else the date; "" if it cannot be told."""
    tag = reply.headers.get("ETag", "")
    return tag if tag.startswith('"') else reply.headers.get("Last-Modified", "")


def _passing(error) -> bool:
    """May another attempt help?"""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    lasting = isinstance(error, (Refused, PermissionError, http.client.InvalidURL))
    return not lasting and getattr(error, "errno", None) not in FULL


def reason(error) -> str:
    """One of FAILURES, for a sentence."""
    if getattr(error, "errno", None) in FULL:
        return f"{error.strerror}: free some; what has arrived is kept"
    return str(error) or type(error).__name__


def beside(path, suffix) -> Path:
    return path.with_name(path.name + suffix)


def _size(path) -> int:
    return path.stat().st_size if path.is_file() else 0


def read_note(path) -> dict:
    """A note; {} if there is none, or none that can be read: the part is then downloaded anew."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
