"""A benchmark that is stopped goes on, to the same numbers."""

import json

import pytest

from configs import toy_gmm
from experiments.compare import benchmark
from experiments.sampling import Sampler


class Killed(Exception):
    """What stands for a kill."""


def small():
    config = toy_gmm.get_config("smoke")
    config.nfe, config.sample.count = (5, 8), 8
    config.ems.nodes, config.ems.points = 20, 32
    return config


def numbers(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_what_is_measured_is_not_drawn_again(tmp_path, monkeypatch):
    whole = benchmark.run(small(), tmp_path / "whole")
    drawn, collect = [], Sampler.collect

    def watched(self, method, *args, **more):
        if len(drawn) == stop:
            raise Killed
        drawn.append(method.key)
        return collect(self, method, *args, **more)

    monkeypatch.setattr(Sampler, "collect", watched)
    stop = 3
    with pytest.raises(Killed):
        benchmark.run(small(), tmp_path / "stopped")
    assert len(drawn) == 3 and not (tmp_path / "stopped" / "results.json").exists()
    stop = None
    rows = benchmark.run(small(), tmp_path / "stopped")
    assert len(drawn) == len(set(drawn)) == len(whole) == 10
    assert numbers(rows) == numbers(whole)
    assert benchmark.run(small(), tmp_path / "stopped") == rows and len(drawn) == 10  # with the same seconds
    assert json.loads((tmp_path / "stopped" / "results.json").read_text())["rows"] == rows


def test_other_settings_are_measured_anew(tmp_path, monkeypatch):
    benchmark.run(small(), tmp_path)
    drawn, collect = [], Sampler.collect
    monkeypatch.setattr(Sampler, "collect", lambda *args, **more: drawn.append(args[1].key) or collect(*args, **more))
    config = small()
    config.benchmark.solvers = (("UniPC", {"name": "unipc", "order": 2}), ("DDIM", {"name": "ddim"}))
    benchmark.run(config, tmp_path)
    assert drawn == [("UniPC", 5), ("UniPC", 8)]
    config.sample.seed = 1
    benchmark.run(config, tmp_path)
    assert len(drawn) == 2 + 4
