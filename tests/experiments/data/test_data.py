"""idx files, where they are looked for, downloads, and the order of batches."""

import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest

from experiments.data import binary, datasets, pixels
from experiments.data import fashion_mnist as data
from experiments.networks.loop import batch_indices
from solvers import fingerprint


def idx(array) -> bytes:
    array = np.asarray(array, np.uint8)
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_set(folder, train=40, test=20, compress=True):
    """A small data set of the layout of Fashion-MNIST, of grey boxes; returns its training images."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for name, shape in data.SHAPES.items():
        count = train if name.startswith("train") else test
        array = rng.integers(0, 10, count)
        if len(shape) == 3:
            values = rng.integers(100, 256, (count, 1, 1))
            array = np.pad(np.broadcast_to(values, (count, 18, 14)), ((0, 0), (5, 5), (7, 7)))
        images[name] = array
        content = idx(array)
        (folder / (name + ".gz" * compress)).write_bytes(gzip.compress(content) if compress else content)
    return images["train-images-idx3-ubyte"]


@pytest.mark.parametrize("compress", [True, False])
def test_load_from_a_folder(tmp_path, compress):
    expected = write_set(tmp_path, compress=compress)
    images, labels, test_images, test_labels, *_ = datasets.load("fashion_mnist", tmp_path)
    assert images.dtype == np.uint8 and images.shape == (40, 28, 28, 1) and test_images.shape == (20, 28, 28, 1)
    assert labels.shape == (40,) and test_labels.shape == (20,)
    np.testing.assert_array_equal(images[..., 0], expected)


GOOD = idx(np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "no idx file"),
        (b"\x89PNG....", "no idx file"),
        (b"\0\0\x0d\x01\0\0\0\x01aaaa", "no idx file"),
        (GOOD[:10], "truncated: 10 bytes, its header alone has 16"),
        (GOOD[:-1], r"truncated: 39 bytes, expected 40.*2, 3, 4"),
        (GOOD + b"!", "too long: 41 bytes, expected 40"),
        (gzip.compress(GOOD, mtime=0)[:-12], "truncated or corrupted gzip"),
        (gzip.compress(GOOD, mtime=0)[:12] + b"\xff" * 30, "truncated or corrupted gzip"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        binary.read_idx(path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)


def test_files_of_another_set_are_refused(tmp_path):
    write_set(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((40, 32, 32))))
    with pytest.raises(ValueError, match=r"\(40, 32, 32\), expected \(60000, 28, 28\)"):
        datasets.load("fashion_mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((39, 28, 28))))
    with pytest.raises(ValueError, match="39 images have 40 labels"):
        datasets.load("fashion_mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        datasets.load("fashion_mnist", tmp_path)
    with pytest.raises(ValueError, match="unknown data set 'mnist': known are fashion_mnist"):
        datasets.load("mnist", tmp_path)


def test_search_order(tmp_path, monkeypatch):
    name = "train-labels-idx1-ubyte"
    folders = {key: tmp_path / key for key in ("given", "system", "cache")}
    monkeypatch.setattr(data, "SYSTEM_FOLDER", folders["system"])
    monkeypatch.setattr(data, "cache_folder", lambda: folders["cache"])
    monkeypatch.setattr(data, "download", lambda name, folder, url: "downloaded")
    assert data.find(name) == "downloaded"
    for key in ("cache", "system"):
        folders[key].mkdir()
        (folders[key] / f"{name}.gz").touch()
        assert data.find(name) == folders[key] / f"{name}.gz"
    write_set(folders["given"])
    assert data.find(name, folders["given"]).parent == folders["given"]


@pytest.fixture
def server(tmp_path):
    """A web server on this machine that offers tmp_path/web."""
    folder = tmp_path / "web"
    write_set(folder)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/", folder
        found.shutdown()
        thread.join()


def left_in(folder) -> list[str]:
    """The files in it, but for hidden ones (locks)."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_download(server, tmp_path):
    (url, folder), name, cache = server, "train-labels-idx1-ubyte", tmp_path / "cache"
    content = gzip.decompress((folder / f"{name}.gz").read_bytes())
    path = data.download(name, cache, url, hashlib.sha256(content).hexdigest())
    assert path == cache / f"{name}.gz" and binary.read_idx(path).shape == (40,)
    assert left_in(cache) == [path.name, f"{path.name}.source.json"]
    assert data.download(name, cache, url, hashlib.sha256(content).hexdigest()) == path


def test_a_bad_download_is_not_kept(server, tmp_path):
    (url, folder), name, cache = server, "train-labels-idx1-ubyte", tmp_path / "cache"
    with pytest.raises(ValueError, match=f"expected {data.SHA256[name]}; it was not kept"):
        data.download(name, cache, url)
    (folder / f"{name}.gz").write_bytes((folder / f"{name}.gz").read_bytes()[:-9])
    with pytest.raises(ValueError, match="did not arrive as a whole"):
        data.download(name, cache, url)
    with pytest.raises(OSError, match="cannot download .*--config.data.path="):
        data.download("nothing", cache, url, "0")
    assert left_in(cache) == []


@pytest.mark.skipif(not data.SYSTEM_FOLDER.is_dir(), reason="the system package with Fashion-MNIST is not installed")
def test_the_system_package_has_the_content_that_downloads_are_compared_with():
    for name, sha256 in data.SHA256.items():
        data.verify(binary.find_idx(data.SYSTEM_FOLDER, name), sha256, name)


def test_uint8_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(pixels.to_uint8(pixels.to_float(values)), values)
    assert pixels.to_float(values)[[0, 255]].tolist() == [-1, 1]
    np.testing.assert_array_equal(pixels.to_uint8(np.array([-7.0, 7.0])), [0, 255])


def test_batches_are_epochs_of_permutations_and_a_function_of_the_step():
    whole = batch_indices(10, 4, range(0, 10), seed=3)
    flat = whole.reshape(-1)
    for epoch in range(4):
        assert sorted(flat[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert flat[:10].tolist() != flat[10:20].tolist()
    np.testing.assert_array_equal(batch_indices(10, 4, range(3, 7), seed=3), whole[3:7])
    assert (batch_indices(10, 4, range(0, 10), seed=4) != whole).any()


def test_checksums_tell_data_apart():
    a = np.zeros((2, 3), np.uint8)
    assert fingerprint.checksum(a) == fingerprint.checksum(a.copy()) != fingerprint.checksum(a.reshape(3, 2))
