"""Downloads one large file over http(s). The bytes go into a .part file at once, and the next call continues it.

A .part.json beside it holds the publisher's version of the file. Bytes of two versions are never joined: the request
says If-Range, and the reply is checked too, since not every server knows If-Range.
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

WAITS = 1, 2, 4  # seconds before each new attempt; the count starts again whenever the file has grown
TIMEOUT = 60  # seconds to wait for a byte
BLOCK = 1 << 16  # bytes
SCHEMES = "http", "https"
FULL = errno.ENOSPC, errno.EDQUOT
FAILURES = OSError, http.client.HTTPException  # all that download raises


class Refused(OSError):
    """A reply, or a lack of space, that another attempt would not change."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) only; urllib alone would follow them to ftp too."""

    def redirect_request(self, request, reply, code, message, headers, address):
        if urlsplit(address).scheme not in SCHEMES:
            raise Refused(f"it redirects to {address}, and only {' and '.join(SCHEMES)} are followed")
        return super().redirect_request(request, reply, code, message, headers, address)


def download(address: str, part: Path, progress: bool = True):
    """Downloads the file at `address` into `part`, continuing a part of the same version; shows a bar in bytes.

    After a lost connection or a server failure it waits and tries again. Raises one of FAILURES. What has arrived is
    then kept, as it is after an interrupt.
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
    """Makes one connection: gets the missing rest of the part, or the whole file if the part cannot be continued."""
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
            if not have:  # the part is empty now, so the note cannot describe bytes of another version
                files.write_json(beside(part, ".json"), {"address": address, "version": _version(reply), "size": size})
            _receive(reply, file, part, have, size, progress)
    if size is not None and (arrived := _size(part)) != size:
        raise ConnectionError(f"the connection ended after {arrived:,} of {size:,} bytes")


def _judge(reply, part, note, have) -> int | None:
    """The size of the whole file, None if unknown. Refuses a reply that is not the file, or another version of it."""
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
    os.fsync(file.fileno())  # else a power cut after the renaming could leave a file with holes


def _version(reply) -> str:
    """The file's version for If-Range: a strong ETag, else the date; "" if there is neither."""
    tag = reply.headers.get("ETag", "")
    return tag if tag.startswith('"') else reply.headers.get("Last-Modified", "")


def _passing(error) -> bool:
    """Whether another attempt may help."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    lasting = isinstance(error, (Refused, PermissionError, http.client.InvalidURL))
    return not lasting and getattr(error, "errno", None) not in FULL


def reason(error) -> str:
    """The text of one of FAILURES, as part of a sentence."""
    if getattr(error, "errno", None) in FULL:
        return f"{error.strerror}: free some; what has arrived is kept"
    return str(error) or type(error).__name__


def beside(path, suffix) -> Path:
    return path.with_name(path.name + suffix)


def _size(path) -> int:
    return path.stat().st_size if path.is_file() else 0


def read_note(path) -> dict:
    """The note in this file; {} if it is missing or unreadable, and then the download starts from the beginning."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
