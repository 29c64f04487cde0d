"""Statistics in units: whatever stops a run or damages a file, the next one ends with the same numbers, bit for bit."""

import errno
import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from configs import toy_gmm
from configs.sections import Ems
from experiments import build
from experiments.ems import find
from experiments.ems import units as ems_units
from solvers import npz
from solvers.ems import load_ems
from tests.helpers.damages import cut, empty, flip
from tests.helpers.places import ROOT
from tests.helpers.processes import child

POINTS, SHARD, LEVELS, BLOCK = 40, 16, 13, 5  # 3 shards (the last of 8) times 3 blocks (the last of 3)


def small(**overrides):
    config = toy_gmm.get_config("smoke")
    sizes = {"points": POINTS, "shard": SHARD, "nodes": LEVELS - 1, "block": BLOCK, "batch": 8}
    with config.ignore_type():
        config.update_from_flattened_dict({"experiment": "ems"} | {f"ems.{k}": v for k, v in sizes.items()} | overrides)
    return config


def make(workdir, **overrides):
    config = small(**overrides)
    return find.compute(build.problem(config), build.settings(config.ems, Ems), Path(workdir))


def units(workdir) -> dict:
    """{shard/file: arrays} of all files under units/ that have a final name; reading verifies every checksum."""
    paths = sorted(Path(workdir).glob("units/*/*/[!.]*.npz"))
    return {
        f"{path.parent.name}/{path.name}": npz.read(path, ("x",) if "states" in path.name else ("count", "sums"))
        for path in paths
    }


def assert_same(a, b):
    """Two EMS, bit for bit, with their errors."""
    for name in ("lam", *"lsb"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.meta == b.meta


@pytest.fixture
def gathered(monkeypatch):
    """A list that gets (first point, first level) of each unit that is computed."""
    calls, original = [], ems_units.gatherer

    def gatherer(plan):
        gather = original(plan)
        return lambda data, index, *a, **k: calls.append((index[0], k["block"].start)) or gather(data, index, *a, **k)

    monkeypatch.setattr(ems_units, "gatherer", gatherer)
    return calls


def killed_at(event, rule, workdir):
    """A run that kills itself (SIGKILL) at so manieth call or return in the code that gathers and writes."""
    files, count = ("units.py", "npz.py", "zipfile.py", "tempfile.py", "find.py", "moments.py"), 0

    def watch(frame, kind, argument):
        nonlocal count
        count += frame.f_code.co_filename.endswith(files)
        if count == event:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    make(workdir, **{"ems.rule": rule})
    sys.setprofile(None)
    (Path(workdir) / "events").write_text(str(count))


@pytest.fixture(scope="module", params=["noised", "trajectory"])
def whole(request, tmp_path_factory):
    """(rule, workdir, EMS) of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp(request.param)
    return request.param, workdir, make(workdir, **{"ems.rule": request.param})


def test_a_run_that_is_killed_goes_on_to_the_same_bits(whole, tmp_path, gathered, monkeypatch):
    """SIGKILL at random events: calls and returns of the code between the first look for a unit and the last file."""
    monkeypatch.chdir(ROOT)
    rule, workdir, _ = whole
    assert child(killed_at, 0, rule, tmp_path / "counted") == 0
    events = int((tmp_path / "counted" / "events").read_text())
    wanted, path, found = units(workdir), tmp_path / "killed", {}
    assert len(wanted) == 9  # and no states, which only serve to go on
    for event in np.random.default_rng(0).integers(events // 10, events // 3, 6):
        before = found
        if child(killed_at, event, rule, path) == 0:
            break
        found = units(path)
        assert (set(before) - set(found)) & set(wanted) == set()
    assert set(found) & set(wanted)
    make(path, **{"ems.rule": rule})
    done = {tuple(int(part.split("-")[0]) for part in name.split("/")) for name in set(found) & set(wanted)}
    assert not set(gathered) & done
    assert_same(load_ems(path / "ems.npz"), load_ems(workdir / "ems.npz"))
    found = units(path)
    assert set(found) == set(wanted)
    for name, arrays in wanted.items():
        np.testing.assert_array_equal(found[name]["sums"], arrays["sums"])


def not_finite(path):
    arrays = npz.read(path, ("count", "sums", "of"))
    arrays["sums"][0, 0, 0] = np.nan
    npz.write(path, arrays)


def wrong_shape(path):
    arrays = npz.read(path, ("count", "sums", "of"))
    npz.write(path, arrays | {"sums": arrays["sums"][:1]})


def foreign(path):
    shutil.copy(path.with_name("0-5.npz"), path)


DAMAGE = {cut: "not a whole", flip: "not a whole", empty: "not a whole", not_finite: "not finite"}
DAMAGE |= {wrong_shape: "something else", foreign: "something else"}


def test_damaged_units_are_made_again(whole, tmp_path, capsys, gathered):
    rule, workdir, ems_of_whole = whole
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "ems.npz").unlink()
    paths = [path for path in sorted(tmp_path.glob("units/*/*/*.npz")) if path.name != "0-5.npz"]
    for damage, path in zip(DAMAGE, paths, strict=True):
        damage(path)
    assert_same(make(tmp_path, **{"ems.rule": rule}), ems_of_whole)
    lines = capsys.readouterr().out.splitlines()
    for path, cause in zip(paths, DAMAGE.values(), strict=True):
        assert any(str(path) in line and cause in line and "made again" in line for line in lines)
    first = {(start, 0) for start in (0, 16, 32)}  # trajectories are followed again from their start
    damaged = {(start, level) for start in (0, 16, 32) for level in (5, 10)}
    assert set(gathered) == (damaged if rule == "noised" else damaged | first)
    for name, arrays in units(tmp_path).items():
        np.testing.assert_array_equal(arrays["sums"], units(workdir)[name]["sums"])


def test_a_damaged_result_is_made_again_from_its_units(whole, tmp_path, capsys, gathered):
    rule, workdir, ems_of_whole = whole
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    flip(tmp_path / "ems.npz")
    assert_same(make(tmp_path, **{"ems.rule": rule}), ems_of_whole)
    assert not gathered and f"{tmp_path}/ems.npz" in capsys.readouterr().out


def test_a_model_that_is_not_finite_loses_one_unit(whole, tmp_path, gathered, monkeypatch):
    rule, _, ems_of_whole = whole
    plan_of, level = find.make_plan, 7

    def broken_plan(*args):
        plan = plan_of(*args)
        t = plan.schedule.t_of_lam(plan.lam[level])
        at_t = lambda time: jnp.abs(time / t - 1) < 1e-3  # noqa: E731
        return plan._replace(model=lambda p, x, time, *c: jnp.where(at_t(time), jnp.nan, plan.model(p, x, time, *c)))

    lam = ems_of_whole.lam[level]
    with monkeypatch.context() as m, pytest.raises(ValueError, match=f"lam={lam:.4g} .t={np.exp(-lam):.4g}"):
        m.setattr(find, "make_plan", broken_plan)
        make(tmp_path, **{"ems.rule": rule})
    assert gathered == [(0, 0), (0, 5)]
    assert [name[-8:] for name in units(tmp_path) if "states" not in name] == ["/0-5.npz"]
    gathered.clear()
    assert_same(make(tmp_path, **{"ems.rule": rule}), ems_of_whole)
    assert (0, 0) not in gathered and len(gathered) == 8


def on_a_full_disk(rule, workdir):
    """A run where no file can be larger than 1 kB; the exit code says whether its error names cause and file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        make(workdir, **{"ems.rule": rule})
    except ValueError as error:
        sys.exit(0 if os.strerror(errno.EFBIG) in str(error) and f"{workdir}/units" in str(error) else 3)
    sys.exit(4)


def test_a_full_disk_is_named_and_leaves_nothing_wrong(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    rule, _, ems_of_whole = whole
    assert child(on_a_full_disk, rule, tmp_path) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert_same(make(tmp_path, **{"ems.rule": rule}), ems_of_whole)


def test_asking_again_does_not_compute(tmp_path, gathered, monkeypatch):
    """Of the same statistics, nothing; of more points, the new ones; of other statistics, all."""
    first = make(tmp_path)
    gathered.clear()
    with monkeypatch.context() as m:
        m.setattr(find, "gather_all", lambda *a: pytest.fail("asked for what is there"))
        again = make(tmp_path)
    for name in "lsb":  # the file has float32
        np.testing.assert_allclose(getattr(again, name), getattr(first, name), rtol=2**-24, atol=1e-37)
    more = make(tmp_path, **{"ems.points": 64})
    assert {index for index, _ in gathered} == {32, 48}  # points 32 to 40 were a shard of their own
    assert_same(more, make(tmp_path / "fresh", **{"ems.points": 64}))


@pytest.mark.parametrize(
    "other",
    [{"ems.seed": 2}, {"mixture.radius": 0.7}, {"ems.nodes": 11}, {"grid.t_end": 0.01}, {"ems.rule": "trajectory"}]
    + [{"schedule.name": "vp"}, {"ems.probes": 0}, {"ems.derivative": "path"}],
    ids=str,
)
def test_units_of_other_statistics_are_not_used(other, tmp_path, gathered):
    make(tmp_path)
    gathered.clear()
    make(tmp_path, **other)
    assert len(gathered) == 9


def test_guidance_has_units_of_its_own():
    problem = build.problem(small())
    assert replace(problem, guidance=2.0).identity != problem.identity


@pytest.mark.parametrize("option", ["shard", "block"])
def test_impossible_sizes_are_named(option, tmp_path):
    with pytest.raises(ValueError, match=f"ems.{option} must be at least 1, got 0"):
        make(tmp_path, **{f"ems.{option}": 0})
