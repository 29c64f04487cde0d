"""EMS as data: lookup, what they belong to, and what becomes of their files when all goes wrong."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solvers.ems import EMS, check_ems, interpolate, load_ems, save_ems
from solvers.schedule import EDM, VP
from tests.helpers.places import ROOT

LAM = np.linspace(-2, 3, 41)
IDENTITY = {"parameters": "00112233aabbccdd", "guidance": 1.0, "labels": "none", "prediction": "x0"}
META = {"schedule": "EDM()", "shape": [4, 5, 3], "points": 7, "identity": IDENTITY, "standard_error": {"l": [0.5] * 41}}


def some_ems(shape=(4, 5, 3)):
    values = np.random.default_rng(0).normal(size=(3, len(LAM), *shape)).astype(np.float32).astype(np.float64)
    return EMS(LAM, *values, META)


def assert_same(got, wanted):
    for name in ("lam", *"lsb"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def test_lookup_is_linear_in_lam():
    values = np.stack([LAM, 2 * LAM + 1], axis=1)
    lam = np.array([-2.0, -1.97, 0.3, 3.0])
    np.testing.assert_allclose(interpolate(lam, LAM, values), np.stack([lam, 2 * lam + 1], axis=1), rtol=1e-12)


def test_mismatches_are_named():
    ems = some_ems()
    assert check_ems(ems, EDM(), [-2, 3], (4, 5, 3), IDENTITY) is ems
    with pytest.raises(ValueError, match=r"of schedule EDM\(\), sampling uses VP.* accept=True .*ems.accept=True"):
        check_ems(ems, VP())
    with pytest.raises(ValueError, match=r"resolution \(4, 5, 3\), samples are \(8, 8, 3\)"):
        check_ems(ems, shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"shape \(4, 5, 3\), samples are \(4, 5, 1\)"):
        check_ems(ems, shape=(4, 5, 1))
    with pytest.raises(
        ValueError, match=r"cover lam from -2.0000 to 3.0000, the time grid runs from -3.0000 to 1.0000"
    ):
        check_ems(ems, lam=[-3, 1])
    with pytest.raises(ValueError, match="needs the statistics of the model, ems=..., got NoneType"):
        check_ems(None)


def test_another_identity_is_refused_key_by_key():
    other = IDENTITY | {"parameters": "ffff", "guidance": 7.5}
    with pytest.raises(ValueError) as error:
        check_ems(some_ems(), VP(), identity=other)
    for text in (
        "parameters 00112233aabbccdd, sampling uses ffff",
        "guidance 1.0, sampling uses 7.5",
        "schedule EDM()",
    ):
        assert text in str(error.value)
    assert "labels" not in str(error.value) and "prediction" not in str(error.value)
    # what one side does not say is not compared
    for known, wanted in ((IDENTITY, {"new": 1, "labels": None}), ({}, IDENTITY)):
        ems = some_ems()._replace(meta={"identity": known})
        assert check_ems(ems, EDM(), identity=wanted) is ems


def test_accepted_statistics_count_as_those_of_the_model():
    other = IDENTITY | {"parameters": "ffff"}
    ems = check_ems(some_ems(), VP(), identity=other, accept=True)
    assert check_ems(ems, VP(), identity=other) is ems  # as a builder asks once more
    assert ems.meta["accepted"] == {"schedule": ["EDM()", repr(VP())], "parameters": ["00112233aabbccdd", "ffff"]}
    with pytest.raises(ValueError, match="of schedule VP"):
        check_ems(ems, EDM())
    for impossible in ({"shape": (8, 8, 3)}, {"lam": [-3, 1]}):
        with pytest.raises(ValueError, match="resolution|cover"):
            check_ems(some_ems(), accept=True, **impossible)


def test_files_keep_everything(tmp_path):
    ems, path = some_ems((2,)), tmp_path / "a" / "ems.npz"
    assert save_ems(path, ems) == path
    assert_same(load_ems(path), ems)
    assert load_ems(path).meta == ems.meta
    assert [p.name for p in path.parent.iterdir()] == ["ems.npz"]


def test_no_damaged_byte_goes_unnoticed(tmp_path):
    """Cut anywhere: refused. Each byte changed: refused too, or, in a field that nobody reads, without harm."""
    path, ems = tmp_path / "ems.npz", EMS(*(x[:3] for x in some_ems((1,))[:4]), {})
    save_ems(path, ems)
    whole, refused = path.read_bytes(), 0
    for i in range(0, len(whole), 16):
        path.write_bytes(whole[:i])
        with pytest.raises(ValueError, match="not a whole .npz"):
            load_ems(path)
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :])
        try:
            assert_same(load_ems(path), ems)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > len(whole) / 2


def test_foreign_files_are_refused(tmp_path):
    path, ems = tmp_path / "ems.npz", some_ems((2,))
    with pytest.raises(ValueError, match=r"no EMS file at .*experiment=ems"):
        load_ems(path)
    arrays = dict(zip(("lam", *"lsb"), ems[:4], strict=True)) | {"meta": "{}"}
    text = arrays["l"].astype(str)
    for wrong, message in (
        ({"lam": LAM[::-1]}, "lam must increase"),
        ({"lam": LAM[:-1]}, r"lam float64 \(40,\), l float64 \(41, 2\).*one grid"),
        ({"s": np.zeros((3, 2))}, "values of one shape"),
        ({"b": np.full((len(LAM), 2), np.nan)}, "b hold values that are not finite"),
        ({"l": text}, "floating-point"),
        ({"meta": "[1"}, "no JSON"),
        ({"meta": "3"}, "no JSON"),
    ):
        np.savez(path, **arrays | wrong)
        with pytest.raises(ValueError, match=message) as error:
            load_ems(path)
        assert str(path) in str(error.value)
    del arrays["s"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="not a whole .npz file with lam, l, s, b, meta.*s is not a file"):
        load_ems(path)
    np.save(path.with_suffix(".npy"), LAM)
    with pytest.raises(ValueError, match="not a whole .npz"):
        load_ems(path.with_suffix(".npy"))


class Bomb:
    """Unpickling it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_are_never_executed(tmp_path):
    bomb = np.array([Bomb(tmp_path / "executed")], dtype=object)
    np.savez(tmp_path / "ems.npz", lam=bomb, l=bomb, s=bomb, b=bomb, meta="{}")
    with pytest.raises(ValueError, match="not a whole .npz.*Object arrays"):
        load_ems(tmp_path / "ems.npz")
    assert not (tmp_path / "executed").exists()
    np.load(tmp_path / "ems.npz", allow_pickle=True)["lam"]
    assert (tmp_path / "executed").exists()


def run_script(script, folder):
    root = ROOT
    environment = os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL_DISK = """
import resource, sys
import numpy as np
from solvers.ems import EMS, load_ems, save_ems
from solvers.schedule import EDM

folder = sys.argv[1]
values = np.random.default_rng(0).normal(size=(3, 41, 500))
ems = EMS(np.linspace(-2, 3, 41), *values, {})
save_ems(folder + "/old.npz", ems._replace(l=0 * ems.l, s=0 * ems.s, b=0 * ems.b))
# room for one of the three arrays (41 x 500 float32, 82 kB, hardly compressible), hence for l.npz and not for sb.npz
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for name in ("new.npz", "old.npz", "published"):
    try:
        save_ems(folder + "/" + name, ems, EDM())
    except OSError as error:
        print(error)
assert not np.any(load_ems(folder + "/old.npz").l)
"""


def test_a_full_disk_leaves_what_was_there_and_says_so(tmp_path):
    messages = run_script(FULL_DISK, tmp_path).splitlines()
    assert len(messages) == 3
    for message, name in zip(messages, ("new.npz", "old.npz", "sb.npz"), strict=True):
        assert "File too large: nothing was written" in message and name in message and str(tmp_path) in message
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["old.npz", "published"]


KILLED = """
import itertools, os, random, signal, sys, time
import numpy as np
from solvers.ems import EMS, save_ems
from solvers.schedule import EDM

folder, times = sys.argv[1], random.Random(0)
noise = np.random.default_rng(0).normal(size=(41, 300))


def save(trial, k):
    # of one save: l = noise + k, s = noise + 2 k, b = noise + 3 k
    ems = EMS(np.linspace(-2, 3, 41), *(noise + k * i for i in (1, 2, 3)), {"k": k})
    save_ems(f"{folder}/{trial}.npz", ems)
    save_ems(f"{folder}/published/{trial}.{k}", ems, EDM())


begin = time.perf_counter()
save("none", 0)
duration = time.perf_counter() - begin
for trial in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        for k in itertools.count():
            save(trial, k)
    time.sleep(times.uniform(0, 3 * duration))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def test_kill_at_any_moment_leaves_a_whole_file_or_none(tmp_path):
    run_script(KILLED, tmp_path)
    noise = np.random.default_rng(0).normal(size=(41, 300))
    left = [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]
    assert left  # some were killed while they wrote
    assert all(p.name.startswith(".") for p in left)
    files = [p for p in tmp_path.glob("*.npz") if not p.name.startswith(".")]
    folders = [p for p in tmp_path.glob("published/*/*") if not p.name.startswith(".")]
    assert files and folders
    for path in files + folders:
        ems = load_ems(path, EDM())
        k = ems.meta["k"] if path in files else int(path.parent.suffix[1:])
        for i, name in enumerate("lsb", start=1):
            np.testing.assert_array_equal(getattr(ems, name), (noise + k * i).astype(np.float32))
