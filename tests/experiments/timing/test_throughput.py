"""The experiment `throughput`: what it times is what it says, by turns; the cache is as it was."""

import csv
import json
from itertools import pairwise

import jax
import numpy as np
import pytest

import main
from configs import toy_gmm
from configs.sections import Sampling
from experiments import build
from experiments.build import Scorer
from experiments.data import blocks
from experiments.images import make_case
from experiments.metrics import distances as metrics
from experiments.metrics.frechet import Frechet
from experiments.metrics.spaces import Space
from experiments.support.errors import ConfigError
from experiments.support.mesh import make_mesh
from experiments.support.turns import take_turns
from experiments.timing import contestants
from experiments.timing.compilation import cache_in, compilations
from experiments.timing.contestants import contestants_of, on_devices
from experiments.timing.measurements import MEASURED
from experiments.timing.summary import PARTS, shares_of
from models import classifier

IMAGE, SEGMENT, ROUNDS = (4, 4, 1), 16, 3
CACHE_KEYS = (
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def small(**overrides):
    config = toy_gmm.get_config("smoke")
    fixed = {"experiment": "throughput", "nfe": 5, "solver.name": "unipc", "mixture.shape": IMAGE}
    fixed |= {"sample.batch": 8, "sample.block": 12, "throughput.batches": (3, 8), "throughput.repeats": 2}
    fixed |= {"throughput.count": SEGMENT * ROUNDS - 5, "throughput.segment": SEGMENT}
    with config.ignore_type():
        config.update_from_flattened_dict(fixed | overrides)
    return config


def case_of(config, scorer=None):
    """The case of a config whose solver needs no statistics."""
    problem = build.problem(config)
    return make_case(problem, build.chosen(config, problem), scorer, build.settings(config.sample, Sampling))


@pytest.fixture(scope="module")
def scorer():
    module = classifier.Classifier(channels=4, features=8)
    space = Space("classifier", module, classifier.init(module, 0, IMAGE))
    return Scorer(Frechet(space, metrics.target(np.zeros(8), np.eye(8))), "none")


def cache_settings():
    return {key: getattr(jax.config, key) for key in CACHE_KEYS}


@pytest.mark.parametrize("scored", [pytest.param(False, marks=pytest.mark.deep), True])
def test_what_a_run_leaves(scored, scorer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "scorer", lambda config: scorer if scored else None)
    before = cache_settings()
    main.run_experiment(small(), tmp_path)
    assert cache_settings() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", "config.json", "results.csv", "results.json", "throughput.png")
    }
    found = json.loads((tmp_path / "results.json").read_text())
    names = {}
    for row in found["rows"]:
        names.setdefault(row["what"], []).append(row["name"])
        for key in MEASURED:
            if f"{key}_median" in row:
                assert 0 < row[f"{key}_low"] <= row[f"{key}_median"] <= row[f"{key}_high"]
    expected = ["bare", "engine", "runner", "scored"][: 4 if scored else 3]
    stages = [f"{stage}, {state}" for state in ("empty", "filled") for stage in ("trace", "lower", "compile", "all")]
    # batches are rounded up to the two devices, and there are no more than these
    assert names == {"batch": [4, 8], "contestant": expected, "devices": [1, 2], "compilation": stages}
    assert found["batch"] in (4, 8) and found["devices"] == 2 and found["nfe"] == 5
    rates = {row["name"]: row["images_per_second_median"] for row in found["rows"] if row["what"] == "batch"}
    assert rates[found["batch"]] == max(rates.values())
    assert [share["part"] for share in found["shares"]] == [PARTS[name] for name in expected]
    assert sum(share["share"] for share in found["shares"]) == pytest.approx(1, abs=1e-12)
    of_contest = [row for row in found["rows"] if row["what"] == "contestant"]
    assert [(row["images"], row["repeats"]) for row in of_contest] == [(SEGMENT, ROUNDS)] * len(expected)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["name"] for row in rows] == [str(row["name"]) for row in found["rows"]]
    printed = capsys.readouterr().out
    assert "limited by " in printed and "4, 8: there are not so many; cpu_devices" in printed


def read_all(workdir):
    """All that the blocks of a folder hold, in the order of indices."""
    found = [blocks.read_block(path) for path in sorted((workdir / "samples").glob("*.npz"))]
    names = ("indices", "labels", "images", "features")
    arrays = {name: np.concatenate([getattr(block, name) for block, _, _ in found]) for name in names}
    return arrays | {"network": {str(block.network) for block, _, _ in found}, "settings": [of for _, of, _ in found]}


def test_the_contestants_write_what_sample_writes(scorer, tmp_path, monkeypatch):
    """With and without features, bit for bit: from the same batches. A segment ends with a block, so these differ."""
    found, score = contestants_of(case_of(small(), scorer), make_mesh(), tmp_path / "timed", ROUNDS, SEGMENT)
    for name in ("runner", "scored"):
        for number in range(ROUNDS):
            found[name](number)
        monkeypatch.setattr(build, "scorer", lambda config, name=name: scorer if name == "scored" else None)
        main.run_experiment(small(experiment="sample", **{"sample.count": SEGMENT * ROUNDS}), tmp_path / name)
        timed, expected = read_all(tmp_path / "timed" / name), read_all(tmp_path / name)
        assert timed["settings"][0] == expected["settings"][0] and timed["network"] == expected["network"]
        assert timed["indices"].tolist() == list(range(SEGMENT * ROUNDS))
        for key in ("indices", "labels", "images", "features"):
            np.testing.assert_array_equal(timed[key], expected[key], err_msg=key)
    assert timed["features"].shape[1] == 8
    score()
    ours, theirs = (np.load(tmp_path / name / "statistics.npz") for name in ("timed", "scored"))
    for key in ("count", "mu", "sigma", "pixel_mean", "pixel_variance"):  # float64 sums over other blocks
        np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-12 * np.abs(theirs[key]).max(), err_msg=key)


def test_bare_calls_the_network_once_per_evaluation(monkeypatch):
    """And engine samples as many batches; neither has more than two of them under way."""
    case, calls = case_of(small()), {"bare": [], "engine": [], "waited": []}

    def sampled_and_bare(problem, batch, mesh):
        def sampled(jump, table):
            calls["engine"].append(table.nfe)
            return len(calls["engine"])

        def bare(times):
            calls["bare"].append(list(times))

        return sampled, bare

    monkeypatch.setattr(contestants, "sampled_and_bare", sampled_and_bare)
    bare, engine = on_devices(case, make_mesh(), 3)
    bare(0)
    assert calls["bare"][1:] == [case.method.runs.t.tolist()] * 3 and case.method.nfe == len(case.method.runs.t) == 5
    monkeypatch.setattr(jax, "block_until_ready", lambda batch: calls["waited"].append((batch, len(calls["engine"]))))
    engine(0)
    assert calls["engine"] == [5] * 4
    assert calls["waited"] == [(None, 2), (2, 3), (3, 4), (4, 4)]


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd"])
def test_turns_favour_nobody(names):
    """In 2 n rounds each has each place twice, and in those where it has neighbours each as often after as before."""
    order = []
    works = {name: lambda number, name=name: order.append((number, name)) or len(order) for name in names}
    seconds = take_turns(works, 2 * len(names))
    for at, (number, name) in enumerate(order, start=1):
        assert seconds[name][number] == at
    rounds = [[name for number, name in order if number == n] for n in range(2 * len(names))]
    assert all(sorted(turn) == sorted(names) for turn in rounds)
    for place in zip(*rounds):
        assert all(place.count(name) == 2 for name in names)
    followed = [pair for turn in rounds for pair in pairwise(turn)]
    assert all(followed.count((a, b)) == followed.count((b, a)) for a, b in followed)


def test_shares_are_of_the_total_and_their_quartiles_of_segments():
    seconds = {"bare": [6, 8, 7, 9], "engine": [7, 7, 8, 8], "runner": [8, 9, 9, 10], "scored": [10, 10, 10, 10]}
    shares = shares_of({name: np.array(taken, float) for name, taken in seconds.items()})
    assert [share["part"] for share in shares] == list(PARTS.values())
    assert [share["share"] for share in shares] == pytest.approx([30 / 40, 0, 6 / 40, 4 / 40])
    within = np.array([[6, 8, 7, 9], [1, -1, 1, -1], [1, 2, 1, 2], [2, 1, 1, 0]]) / 10
    for share, values in zip(shares, within):
        assert [share["low"], share["high"]] == pytest.approx(np.quantile(values, (0.25, 0.75)))


def test_the_cache_is_used_and_as_it_was(tmp_path):
    before, run = cache_settings(), jax.jit(lambda x: x * 3 + 1)
    with pytest.raises(KeyError), cache_in(tmp_path / "cache"):
        run(1.0)
        assert len(list((tmp_path / "cache").glob("*-cache"))) == 1
        raise KeyError
    assert cache_settings() == before
    jax.jit(lambda x: x * 5 + 1)(1.0)
    assert len(list((tmp_path / "cache").glob("*-cache"))) == 1


def test_a_filled_cache_spares_the_compiler():
    """What the second compilation of each pair asks for is there: jax says so."""
    events = []

    def listen(event, **more):
        events.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        compilations(case_of(small()), make_mesh(), 1, lambda: events.append("measured"))
    finally:
        jax.monitoring.unregister_event_listener(listen)
    events = [event.rpartition("/")[2] for event in events if "cache_" in event or event == "measured"]
    first, second = (events[: events.index("measured")], events[events.index("measured") :])
    assert "cache_misses" in first and "cache_hits" not in first
    assert "cache_hits" in second and "cache_misses" not in second


@pytest.mark.parametrize(
    "key, value, expected",
    [
        (
            "throughput.batches",
            (),
            r"throughput.batches must be 1 or more numbers, at least 1, got \(\): name",
        ),
        ("throughput.batches", (8, 0), r"at least 1, got \(8, 0\)"),
        ("throughput.devices", (0, 1), r"throughput.devices must be 1 or more numbers, at least 1, got \(0, 1\)"),
        ("throughput.devices", (4, 8), r"some of at most 2, got \(4, 8\): cpu_devices simulates more"),
        ("throughput.count", 0, "throughput.count must be at least 1, got 0: raise it"),
        ("throughput.segment", 0, "throughput.segment must be at least 1, got 0: raise it"),
        ("throughput.segment", 44, "throughput.segment must be at most throughput.count = 43, got 44: lower it"),
        ("throughput.repeats", 0, "throughput.repeats must be from 1 to 1,000,000, got 0"),
        ("sample.block", 0, "sample.block must be at least 1, got 0: raise it"),
        ("sample.devices", 3, "sample.devices = 3: there are 2 devices, choose 1 to 2"),
        ("sample.keep", "jpg", "sample.keep must be one of npz, png, none, got 'jpg'"),
    ],
)
def test_nonsense_is_named(key, value, expected, tmp_path):
    with pytest.raises(ConfigError, match=expected):
        main.run_experiment(small(**{key: value}), tmp_path)
