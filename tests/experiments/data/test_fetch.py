"""Large files from a publisher that drops connections, changes the file, answers with something else, or is away."""

import errno
import hashlib
import io
import json
import signal
import socket
import time
from collections import namedtuple

import numpy as np
import pytest

from experiments.data import download, fetch
from tests.helpers import processes
from tests.helpers.publisher import publishing

CONTENT = np.random.default_rng(0).bytes(5 * download.BLOCK + 1234)
OTHER = CONTENT[::-1]
CUT = 2 * download.BLOCK + 17
REMEDY = "give a path with --config.model.checkpoint="


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setattr(download, "WAITS", (0.01, 0.02, 0.04))
    with publishing(CONTENT) as found:
        yield found


def get(publisher, folder, name="net.pkl", **options):
    return fetch.fetch(f"{publisher.address}/a/{name}", folder, progress=False, remedy=REMEDY, **options)


def ranges(publisher):
    return [(asked, condition) for _, asked, condition in publisher.seen]


def left_in(folder):
    """The files in it, but for hidden ones (locks)."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def continued(size, version='"1"'):
    return f"bytes={size}-", version


START = None, None


def test_a_file_is_downloaded_once_and_its_sum_recorded(publisher, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = get(publisher, None)
    assert path == tmp_path / "fast-diffusion-sampling" / "net.pkl" and path.read_bytes() == CONTENT
    assert left_in(path.parent) == ["net.pkl", "net.pkl.source.json"]
    note = json.loads(path.with_name("net.pkl.source.json").read_text())
    assert note == {"address": f"{publisher.address}/a/net.pkl", "sha256": sha256(CONTENT)}
    publisher.content = OTHER
    assert get(publisher, None) == path and get(publisher, None, sha256=sha256(CONTENT).upper()) == path
    assert ranges(publisher) == [START] and path.read_bytes() == CONTENT


@pytest.mark.parametrize("cuts", [[CUT], [CUT, 500], [0, 0]])
def test_drop_outs_are_continued(publisher, tmp_path, cuts):
    publisher.cuts = cuts.copy()
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    there = np.cumsum(cuts)
    assert ranges(publisher) == [START] + [continued(size) if size else START for size in there]
    assert left_in(tmp_path) == ["net.pkl", "net.pkl.source.json"]


def test_attempts_that_get_further_do_not_count(publisher, tmp_path):
    publisher.always = (len(CONTENT) - 1) // 9
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    assert len(publisher.seen) == 10 > 1 + len(download.WAITS)


def test_attempts_that_get_no_further_end(publisher, tmp_path):
    publisher.always, publisher.ranges = CUT, False
    with pytest.raises(OSError) as error:
        get(publisher, tmp_path)
    text = str(error.value)
    assert f"{publisher.address}/a/net.pkl (the connection ended after {CUT:,} of {len(CONTENT):,} bytes)" in text
    assert text.endswith(f"try again, put net.pkl into {tmp_path} by hand, or {REMEDY}")
    assert ranges(publisher) == [START] + 3 * [continued(CUT)]
    publisher.always, publisher.ranges = None, True
    assert get(publisher, tmp_path).read_bytes() == CONTENT and ranges(publisher)[-1] == continued(CUT)


def test_a_server_without_ranges_starts_again(publisher, tmp_path):
    publisher.cuts, publisher.ranges = [CUT], False
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    assert ranges(publisher) == [START, continued(CUT)]


@pytest.mark.parametrize("knows", [True, False], ids=["If-Range", "no If-Range"])
@pytest.mark.parametrize(
    "etag, length",
    [('"2"', len(OTHER)), ('"2"', CUT - 99), ('"1"', len(OTHER) - 5)],
    ids=["as long", "shorter than the part", "another length alone"],
)
def test_another_version_is_not_joined_on(publisher, tmp_path, knows, etag, length):
    publisher.always, publisher.ranges = CUT, False
    with pytest.raises(OSError):
        get(publisher, tmp_path)
    publisher.content, publisher.etag, publisher.if_range, publisher.seen[:] = OTHER[:length], etag, knows, []
    publisher.always, publisher.ranges = None, True
    assert get(publisher, tmp_path).read_bytes() == OTHER[:length]
    assert ranges(publisher) == [continued(CUT)] + [START] * (not knows or etag == '"1"')


@pytest.mark.parametrize(
    "etag, date, expected",
    [
        ('W/"1"', "Wed, 21 Oct 2015 07:28:00 GMT", continued(CUT, "Wed, 21 Oct 2015 07:28:00 GMT")),
        ("", "Wed, 21 Oct 2015 07:28:00 GMT", continued(CUT, "Wed, 21 Oct 2015 07:28:00 GMT")),
        ('W/"1"', "", START),  # nothing tells whether the file is still the same one
        ("", "", START),
    ],
)
def test_what_tells_versions_apart(publisher, tmp_path, etag, date, expected):
    publisher.etag, publisher.date, publisher.cuts = etag, date, [CUT]
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    assert ranges(publisher) == [START, expected]


def test_the_part_of_another_address_is_not_joined_on(publisher, tmp_path):
    publisher.always, publisher.ranges = CUT, False
    with pytest.raises(OSError):
        get(publisher, tmp_path)
    publisher.always, publisher.content = None, OTHER
    path = fetch.fetch(f"{publisher.address}/b/net.pkl", tmp_path, progress=False)
    assert path.read_bytes() == OTHER and ranges(publisher)[-1] == START


def test_a_wrong_content_length(publisher, tmp_path):
    publisher.too_long = 10
    with pytest.raises(OSError) as error:
        get(publisher, tmp_path)
    assert f"{len(CONTENT):,} of {len(CONTENT) + 10:,} bytes" in str(error.value)
    assert not (tmp_path / "net.pkl").exists() and len(publisher.seen) == 1 + len(download.WAITS)


def test_a_web_page_is_no_file(publisher, tmp_path):
    publisher.type = "text/html; charset=utf-8"
    with pytest.raises(OSError, match="sends a web page, not the file: it may ask you to log in"):
        get(publisher, tmp_path)
    assert left_in(tmp_path) == [] and len(publisher.seen) == 1


@pytest.mark.parametrize("status, name", [(404, "Not Found"), (403, "Forbidden"), (204, "No Content")])
def test_refusals_end_at_once(publisher, tmp_path, status, name):
    publisher.statuses = [status]
    with pytest.raises(
        OSError, match=f"a/net.pkl .*{status}.*{name}.*put net.pkl into {tmp_path} by hand, or {REMEDY}"
    ):
        get(publisher, tmp_path)
    assert left_in(tmp_path) == [] and len(publisher.seen) == 1


def test_a_busy_server_is_asked_again(publisher, tmp_path):
    publisher.statuses = [503, 503]
    assert get(publisher, tmp_path).read_bytes() == CONTENT and len(publisher.seen) == 3
    publisher.statuses = [503] * 9
    with pytest.raises(OSError, match="503: Service Unavailable"):
        get(publisher, tmp_path, "other.pkl")
    assert len(publisher.seen) == 3 + 1 + len(download.WAITS)


def test_redirects(publisher, tmp_path):
    publisher.redirects = {"/a/net.pkl": f"{publisher.address}/store/12?key=3"}
    publisher.cuts = [CUT]
    path = get(publisher, tmp_path)
    assert path.name == "net.pkl" and path.read_bytes() == CONTENT
    assert [(at, asked) for at, asked, _ in publisher.seen[1::2]] == [
        ("/store/12?key=3", a) for a in (None, f"bytes={CUT}-")
    ]
    for n, elsewhere in enumerate([f"file://{__file__}", "ftp://127.0.0.1/net.pkl"]):
        publisher.redirects = {f"/a/{n}": elsewhere}
        with pytest.raises(OSError, match=elsewhere):
            get(publisher, tmp_path, str(n))
    assert left_in(tmp_path) == ["net.pkl", "net.pkl.source.json"]


@pytest.mark.parametrize("address", [f"file://{__file__}", "ftp://host/net.pkl", "net.pkl", "https:///net.pkl", ""])
def test_addresses_of_other_kinds_are_refused(tmp_path, address):
    with pytest.raises(ValueError, match="starts with http:// or https://"):
        fetch.fetch(address, tmp_path)


def test_names(publisher, tmp_path):
    assert get(publisher, tmp_path, "a%20b.pkl?download=1").name == "a b.pkl"
    assert get(publisher, tmp_path, "uc?id=12", file="net.pth").name == "net.pth"
    for bad in ("", ".hidden", "..", "%2e%2e", "b%2Fc", "b%5Cc", "%00"):
        with pytest.raises(ValueError, match="no file name.*give a plain name as `file`"):
            get(publisher, tmp_path, bad)
    for bad in ("", "../net.pkl", "/etc/net.pkl", ".net", "a\\b"):
        with pytest.raises(ValueError, match="file is no file name"):
            get(publisher, tmp_path, file=bad)
    assert len(publisher.seen) == 2


def test_a_download_of_another_checksum_is_not_kept(publisher, tmp_path):
    expected = sha256(OTHER)
    with pytest.raises(ValueError, match=f"{sha256(CONTENT)}, expected {expected}; it was not kept.*or {REMEDY}"):
        get(publisher, tmp_path, sha256=expected)
    assert left_in(tmp_path) == []
    publisher.content = OTHER
    assert get(publisher, tmp_path, sha256=expected).read_bytes() == OTHER


def test_a_file_that_changed_is_named_and_can_be_deleted(publisher, tmp_path):
    path = get(publisher, tmp_path)
    path.write_bytes(OTHER)
    both = f"{path} has the SHA-256 {sha256(OTHER)}, .* {sha256(CONTENT)}: delete it .*or {REMEDY}"
    with pytest.raises(ValueError, match=both):
        get(publisher, tmp_path)
    with pytest.raises(ValueError, match=both):
        get(publisher, tmp_path, sha256=sha256(CONTENT))
    path.unlink()
    publisher.content = CONTENT[:-1]  # and the publisher has a new one
    assert get(publisher, tmp_path).read_bytes() == get(publisher, tmp_path).read_bytes() == CONTENT[:-1]


def test_a_file_that_was_put_there_by_hand(publisher, tmp_path, monkeypatch):
    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / "net.pkl").write_bytes(OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(fetch.files, "write_json", read_only)
        assert get(publisher, tmp_path).read_bytes() == OTHER and left_in(tmp_path) == ["net.pkl"]
    assert get(publisher, tmp_path).read_bytes() == OTHER and not publisher.seen
    (tmp_path / "net.pkl").write_bytes(OTHER[1:])
    with pytest.raises(ValueError, match="it had at its first use"):
        get(publisher, tmp_path)


def test_files_of_one_name_and_two_addresses_are_not_mixed_up(publisher, tmp_path):
    get(publisher, tmp_path)
    mirror = f"{publisher.address}/b/net.pkl"
    with pytest.raises(ValueError, match=f"is from {publisher.address}/a/net.pkl, not from {mirror}: .*another folder"):
        fetch.fetch(mirror, tmp_path)
    assert fetch.fetch(mirror, tmp_path, sha256=sha256(CONTENT)).read_bytes() == CONTENT  # the same file, says the sum


def test_too_little_space_is_told_before(publisher, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    publisher.cuts = [CUT, 100]
    rest = len(CONTENT) - CUT - 100
    free = iter([len(CONTENT), rest + 100, rest - 1])  # enough, enough, one byte too few
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage(0, 0, next(free)))
    with pytest.raises(OSError, match=f"needs {rest:,} bytes more, and {tmp_path} has {rest - 1:,} free"):
        get(publisher, tmp_path)
    assert (tmp_path / "net.pkl.part").read_bytes() == CONTENT[: CUT + 100] and len(publisher.seen) == 3


class Limited(io.FileIO):
    """A file on a disk that is full after two blocks."""

    def write(self, block):
        if self.tell() >= 2 * download.BLOCK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(block)


def test_a_full_disk_keeps_what_has_arrived(publisher, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(download, "open", Limited, raising=False)
        with pytest.raises(OSError, match="No space left on device: free some; what has arrived is kept"):
            get(publisher, tmp_path)
    assert len(publisher.seen) == 1
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    assert ranges(publisher) == [START, continued(2 * download.BLOCK)]


def test_an_interrupt_keeps_what_has_arrived(publisher, tmp_path, monkeypatch):
    class Interrupted(download.Progress):
        def update(self, n=1):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download, "Progress", Interrupted)
        get(publisher, tmp_path)
    assert left_in(tmp_path) == ["net.pkl.part", "net.pkl.part.json"]
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    assert ranges(publisher) == [START, continued(download.BLOCK)]


@pytest.mark.parametrize("length", [True, False])
def test_an_interrupt_after_the_last_byte(publisher, tmp_path, length):
    """What is complete is not asked for again, if its size is known."""

    def interrupt(path):
        raise KeyboardInterrupt

    publisher.length = length
    with pytest.raises(KeyboardInterrupt):
        get(publisher, tmp_path, check=interrupt)
    assert left_in(tmp_path) == ["net.pkl.part", "net.pkl.part.json"]
    assert get(publisher, tmp_path).read_bytes() == CONTENT
    assert ranges(publisher) == [START] + [continued(len(CONTENT)), START] * (not length)


def test_offline(publisher, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"http://127.0.0.1:{free.getsockname()[1]}/net.pkl"
        with pytest.raises(OSError) as error:
            fetch.fetch(address, tmp_path, progress=False, remedy=REMEDY)
    assert str(error.value).startswith(f"cannot download {address} (") and "refused" in str(error.value)
    assert str(error.value).endswith(f"put net.pkl into {tmp_path} by hand, or {REMEDY}")
    assert left_in(tmp_path) == []


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def begin(publisher, folder):
    """A process that has downloaded two blocks, and waits for more until `go`."""
    publisher.always, publisher.stall = 2 * download.BLOCK, True
    process = processes.start(fetch.fetch, f"{publisher.address}/a/net.pkl", folder)
    part = folder / "net.pkl.part"
    until(lambda: part.is_file() and part.stat().st_size == 2 * download.BLOCK)
    return process


def test_a_killed_download_is_continued(publisher, tmp_path):
    process = begin(publisher, tmp_path)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL and left_in(tmp_path) == ["net.pkl.part", "net.pkl.part.json"]
    publisher.go.set()
    assert processes.child(fetch.fetch, f"{publisher.address}/a/net.pkl", tmp_path) == 0
    assert (tmp_path / "net.pkl").read_bytes() == CONTENT
    assert ranges(publisher) == [START, continued(2 * download.BLOCK)]


def test_of_two_processes_one_downloads_and_the_other_waits(publisher, tmp_path, monkeypatch):
    process, said = begin(publisher, tmp_path), []

    def say(text, flush):
        said.append(text)
        publisher.go.set()

    monkeypatch.setattr(fetch, "print", say, raising=False)
    path = fetch.fetch(f"{publisher.address}/a/net.pkl", tmp_path)
    process.join()
    assert process.exitcode == 0 and path.read_bytes() == CONTENT
    assert said == ["another process downloads net.pkl: waiting for it"] and ranges(publisher) == [START]
