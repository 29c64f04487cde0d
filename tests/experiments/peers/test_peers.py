"""The experiment `peers`: what it counts, that all solve the same, and that what is missing is said and left out."""

import csv
import functools
import importlib.util
import json
import sys

import jax
import numpy as np
import pytest

import main
from configs import peers as recipe
from configs.sections import Peers
from experiments import build
from experiments.peers import beside, overhead
from experiments.peers.case import OURS, cheap, make_case, ours, traffic
from experiments.peers.network import THERE, Contest, compare, difference, numbers, share
from experiments.peers.official import PEERS, Peer
from experiments.peers.overhead import HERE, overheads, resident_peak, timings, turns
from experiments.peers.samplers import Missing, importing
from experiments.support.errors import ConfigError
from solvers import SOLVERS
from solvers.schedule import EDM

IMAGES, VECTORS = (2, 8, 8, 3), (3, 20)
LIBRARIES = ("torch", "diffusers", "k_diffusion")


def settings(**overrides):
    config = recipe.get_config("smoke")
    config.update_from_flattened_dict({f"peers.{key}": value for key, value in overrides.items()})
    return config


def hide_peers(patch):
    """Nothing of others is installed."""
    for name in LIBRARIES:
        patch.setitem(sys.modules, name, None)


@pytest.fixture(scope="module")
def contest():
    with pytest.MonkeyPatch.context() as patch:
        hide_peers(patch)
        found = Contest(build.settings(settings().peers, Peers))
    found.ours = functools.cache(found.ours)  # compiles once
    return found


def test_a_run_without_any_peer(contest, tmp_path, monkeypatch, capsys):
    hide_peers(monkeypatch)
    monkeypatch.setattr(beside, "Contest", lambda settings: contest)
    main.run_experiment(settings(shapes="3x20"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", "config.json", "results.csv", "results.json", "peers.png")
    }
    found = json.loads((tmp_path / "results.json").read_text())
    rows = [row for row in found["rows"] if row.get("shape") == "3x20"]
    assert [row["solver"] for row in rows if row["library"] == HERE] == list(OURS)
    assert {row["library"] for row in rows} == {HERE, *(peer.library for peer in PEERS)}
    for row in rows:
        assert ("status" in row) == (row["library"] != HERE) and row.get("status") in (None, "not installed")
        if row["library"] == HERE:
            assert row["cpu_ms_low"] <= row["cpu_ms"] <= row["cpu_ms_high"] and row["copy_ms"] > 0
            assert row["first_s"] > 0 and row["build_s"] > 0
    network, other = (row for row in found["rows"] if row["what"] == "network")
    assert network["images_per_second"] > 0 and network["batch"] == 4 and network["nfe"] == 2
    assert other["status"] == "not installed" and "images_per_second" not in other
    with open(tmp_path / "results.csv") as file:
        assert len(list(csv.DictReader(file))) == len(found["rows"]) == len(OURS) + len(PEERS) + 2
    printed = capsys.readouterr().out
    assert f"jax {jax.__version__}, " in printed and printed.count("not installed") >= len(PEERS) + 1


def other(case, folder, solver="DPM-Solver++(2M)", factor=1.0):
    """A peer that is ours, with samples of another scale."""
    one = ours(case, solver)
    return one._replace(read=lambda x: factor * np.asarray(x), prediction=OURS[solver][2])


def missing(case, folder):
    raise Missing("not installed (no such thing)")


def test_what_is_there_is_measured_and_the_rest_is_said(monkeypatch):
    registry = {
        "same": other,
        "off": functools.partial(other, factor=1.25),
        "none": missing,
        "broken": lambda *_: 1 / 0,
    }
    monkeypatch.setattr(overhead, "PEERS", [Peer(name, "DPM-Solver++(2M)", make) for name, make in registry.items()])
    rows = {row["library"]: row for row in overheads(make_case(IMAGES, 4, 4), 2, "") if row["library"] != HERE}
    assert rows["same"]["difference"] == 0 and rows["off"]["difference"] == pytest.approx(0.25)
    assert all("ours_over_this" in rows[name] and "status" not in rows[name] for name in ("same", "off"))
    assert rows["none"]["status"] == "not installed (no such thing)" and "cpu_ms" not in rows["none"]
    assert rows["broken"]["status"] == "failed: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("shape", [IMAGES, VECTORS])
def test_installed_peers_solve_the_same(shape):
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    if not installed:
        pytest.skip("no peer is installed")
    rows = [row for row in overheads(make_case(shape, 4, 4), 1, "") if row["library"] != HERE]
    for row in rows:
        assert row.get("status", "not installed").startswith("not installed"), row
        if row["library"] == "k-diffusion" and "status" not in row:
            assert row["difference"] < 1e-5
    assert "diffusers" not in installed or any(row["library"] == "diffusers" and "cpu_ms" in row for row in rows)


def test_milliseconds_per_step_and_ratios_are_those_of_the_same_round():
    bare, over = np.array([5.0, 50.0, 7.0]), np.array([1.0, 2.0, 4.0])
    seconds = {("2M", "copy"): over / 4}
    for library, times in ((HERE, 1), ("peer", 10)):
        seconds |= {(library, "2M", "run"): bare + times * over, (library, "2M", "bare"): bare}
    both = {"cpu": seconds, "wall": {name: 3 * values for name, values in seconds.items()}}
    row = timings(both, "peer", "2M", steps=100)
    assert row["cpu_ms"] == pytest.approx(200) and row["cpu_ms_low"] == pytest.approx(150)
    assert row["wall_ms"] == pytest.approx(600) and row["copy_ms"] == pytest.approx(5)
    for key, value in (("ours_over_this", 0.1), ("over_copy", 40)):
        assert row[key] == row[f"{key}_low"] == row[f"{key}_high"] == pytest.approx(value)
    mine = timings(both, HERE, "2M", steps=100)
    assert "ours_over_this" not in mine and mine["over_copy"] == pytest.approx(4)


def test_what_comes_before_a_run_is_not_timed(monkeypatch):
    now, done = {"wall": 0.0, "cpu": 0.0}, []

    def work(name, wall, cpu):
        done.append(name)
        now["wall"] += wall
        now["cpu"] += cpu

    monkeypatch.setattr(overhead.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(overhead.time, "process_time", lambda: now["cpu"])
    works = {"a": (functools.partial(work, "a", 3.0, 5.0), functools.partial(work, "before a", 100.0, 100.0))}
    works["b"] = functools.partial(work, "b", 1.0, 2.0), overhead.nothing
    seconds = turns(works, 2)
    assert seconds["wall"]["a"].tolist() == [3, 3] and seconds["cpu"]["a"].tolist() == [5, 5]
    assert seconds["wall"]["b"].tolist() == [1, 1] and seconds["cpu"]["b"].tolist() == [2, 2]
    assert done == ["before a", "a", "b", "b", "before a", "a"]


def test_traffic_of_a_step():
    """K + 4 states, and with coefficients of the data shape 2 K + 7 in a batch of one."""
    case = make_case((1, *IMAGES[1:]), 4, 4)
    tables = {solver: ours(case, solver).build() for solver in OURS}
    assert [traffic(tables[solver], 1) for solver in OURS] == [2 + 4, 4 + 4, 2 * 4 + 7]
    assert traffic(tables["DPM-Solver-v3"], 7) == 4 + 4 + (4 + 3) / 7
    assert traffic(tables["UniPC-3"], 7) == 8


@pytest.mark.parametrize("shape", [IMAGES, VECTORS])
def test_calls_of_calls_of_the_network_alone_stay_as_large(shape):
    """And the network of the sampler is no projection, but linear and small."""
    case = make_case(shape, 4, 4)
    once = cheap(case.still, case.x[0], 0.0)
    np.testing.assert_allclose(cheap(case.still, once, 0.0), once, atol=1e-4)
    out = cheap(case.weights, case.x[0], 0.0)
    assert np.abs(once).max() > 1 and 0 < np.abs(out).max() < 0.1 * np.abs(case.x).max()


def test_ours_is_the_table_run_by_hand():
    case = make_case(VECTORS, 4, 4)
    one = ours(case, "DPM-Solver++(2M)")
    table = SOLVERS["dpmpp"](EDM(), case.times, order=2, lower_order_final=False, prediction="x0")
    down, up = (np.float64(part) for part in case.weights)
    x, history = np.float64(case.x), []
    for n in range(4):
        history = [x @ down @ up, *history][:2]
        x = table.a[n] * x + sum(b * m for b, m in zip(table.b[n], history))
    np.testing.assert_allclose(one.read(one.run(one.build())), x, rtol=1e-4, atol=1e-5 * np.abs(x).max())


def test_memory_is_the_peak_of_the_work():
    size = 64_000_000
    found = resident_peak(lambda: np.ones(size, np.uint8).sum() and None)
    if found is None:
        pytest.skip("the system does not tell")
    assert 0.98 * size < found < 1.25 * size  # the system counts in batches of pages
    assert resident_peak(lambda: None) < size / 16


@pytest.mark.parametrize("error, timed", [(1e-4, True), (1e-2, False), (np.nan, False)])
def test_the_original_is_timed_only_if_it_draws_the_same_images(contest, error, timed, monkeypatch):
    draw, _ = contest.ours("float32")
    monkeypatch.setattr(contest, "original", "a network")
    monkeypatch.setattr(contest, "theirs", lambda dtype: lambda exact=False: draw() + error * np.abs(draw()).max())
    mine, row = compare(contest, 2)
    assert (mine["library"], row["library"]) == (HERE, THERE) and mine["images_per_second"] > 0
    assert ("images_per_second" in row) == timed and ("status" in row) != timed
    if timed:
        assert row["difference"] == pytest.approx(error, rel=1e-2) and mine["ours_over_this"] == 1
    else:
        assert row["status"].startswith("not timed: images differ by")


@pytest.mark.deep
def test_the_network_is_as_precise_as_it_is_asked_for(contest):
    single, half = (contest.ours(dtype)[0]() for dtype in ("float32", "bfloat16"))
    assert single.shape == (4, 32, 32, 3) and single.dtype == half.dtype == np.float32
    assert 1e-4 < difference(half, single) < 0.3


def test_numbers_are_those_of_a_name_and_a_shape():
    kernel = numbers("model.enc.conv.weight", (64, 32, 3, 3))
    np.testing.assert_array_equal(kernel, numbers("model.enc.conv.weight", (64, 32, 3, 3)))
    assert np.any(kernel != numbers("model.dec.conv.weight", (64, 32, 3, 3))) and kernel.dtype == np.float32
    assert kernel.std() == pytest.approx((32 * 9) ** -0.5, rel=0.02)
    assert numbers("norm0.weight", (4096,)).mean() == pytest.approx(1, abs=0.01)
    assert numbers("norm0.bias", (4096,)).mean() == pytest.approx(0, abs=0.01)


def test_share_of_the_peak():
    assert share(98.9e12, "bfloat16", "NVIDIA H200") == pytest.approx(0.1)
    assert share(98.9e12, "float32", "NVIDIA H100 80GB HBM3") == pytest.approx(0.2)
    assert share(1e12, "float32", "cpu") is None


@pytest.mark.parametrize(
    "error, expected",
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "not installed"),
        (ModuleNotFoundError("No module named 'odd'", name="odd"), r"not installed \(No module named 'odd'\)"),
        (OSError("a library\n is missing"), r"not installed \(a library is missing\)"),
        (AttributeError(), r"not installed \(AttributeError\)"),
    ],
)
def test_why_a_peer_is_missing(error, expected):
    before = list(sys.path)
    with pytest.raises(Missing, match=f"^{expected}$"), importing("a/folder"):
        assert sys.path[0].endswith("a/folder")
        raise error
    assert sys.path == before


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("steps", 2, "peers.steps must be from 3 to 10,000, got 2"),
        ("nodes", 6, "peers.nodes must be a multiple of peers.steps = 4, got 6"),
        ("repeats", 0, "peers.repeats must be from 1 to 1,000,000, got 0"),
        ("nfe", 1, "peers.nfe must be from 2 to 10,000, got 1"),
        ("batch", -1, "peers.batch must be from 0 to 1,000,000, got -1"),
        ("channels", 48, "peers.channels must be a multiple of 32, got 48"),
        ("shapes", "4x8x8x3, 7", "shapes like 64x32x32x3, samples first, got '4x8x8x3, 7': separate them by commas"),
        ("shapes", "4x0", "got '4x0'"),
        ("dpm_v3", "no/such", "peers.dpm_v3 must be a checkout of github.com/thu-ml/DPM-Solver-v3, no/such has no"),
        (
            "edm",
            "no/such",
            "peers.edm must be a checkout of github.com/NVlabs/edm, no/such has no training/networks.py",
        ),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_computed(key, value, expected, tmp_path):
    with pytest.raises(ConfigError, match=expected):
        beside.run(settings(**{key: value}), tmp_path)
    assert not list(tmp_path.iterdir())
