"""Several processes: two on this machine, joined over the loopback, make the statistics that one makes."""

import re
import socket
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from configs import toy_gmm
from experiments.ems import find as ems
from experiments.support import processes
from solvers import npz
from solvers.ems import load_ems
from tests.helpers.places import ROOT
from tests.helpers.processes import CACHE, start
from tests.whole.test_main import command

LEFT = {".lock", "config.json", "ems.npz", "ems.png", "units", "sums.npz"}


def small(**overrides):
    config = toy_gmm.get_config("smoke")
    fixed = {"experiment": "ems", "compilation_cache": str(CACHE), "cpu_devices": 2}
    fixed |= {"ems.points": 40, "ems.nodes": 12, "ems.block": 5, "ems.batch": 8}
    with config.ignore_type():
        config.update_from_flattened_dict(fixed | overrides)
    return config


def keep_sums(workdir, statistics, moments, *more):
    """`statistics`, with the moments that it is given kept."""
    npz.write(workdir / "sums.npz", moments._asdict())
    return statistics(moments, *more)


def one_of_two(number, address, workdir, broken, overrides):
    """What the command does in one of two processes; the model of process `broken` is not finite."""
    joined = {"coordinator": address, "processes": 2, "process": number}
    config = small(**{f"distributed.{k}": v for k, v in joined.items()} | overrides)
    plan_of, ems.statistics = ems.make_plan, partial(keep_sums, workdir, ems.statistics)
    if number == broken:
        ems.make_plan = lambda *a: plan_of(*a)._replace(model=lambda p, x, t, label: x + jnp.nan)
    try:
        main.set_up_jax(config)
        main.run_experiment(config, workdir)
        there = sorted(path.name for path in (workdir.parent / "0").iterdir())
        (workdir.parent / f"end{number}").write_text(" ".join(there))
    except ValueError as error:
        (workdir.parent / f"end{number}").write_text(f"error: {error}")
    jax.distributed.shutdown()  # as python does for a command, not for a fork


def run_two(folder, broken=None, **overrides):
    """Two processes that share no workdir: what each found in that of process 0 when it was done, or its error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder.mkdir()
    both = [start(one_of_two, n, address, folder / str(n), broken, overrides) for n in (0, 1)]
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [0, 0]
    return [(folder / f"end{n}").read_text() for n in (0, 1)]


@pytest.mark.thin(3)
@pytest.mark.parametrize("shard, of_process", [(16, (2, 1)), (10, (2, 2)), (40, (1, 0))])
def test_two_processes_make_what_one_makes(shard, of_process, tmp_path, monkeypatch):
    """With 3 shards, 4, and 1. A unit has the same bits wherever it is made, with as many devices; the sum over units
    is one of float64 in another order: at most 4 terms, 2^-53 of a partial sum each, far below 1e-12 of the largest.
    """
    monkeypatch.chdir(ROOT)
    assert [set(end.split()) >= LEFT for end in run_two(tmp_path / "two", **{"ems.shard": shard})] == [True, True]
    monkeypatch.setattr(ems, "statistics", partial(keep_sums, tmp_path / "one", ems.statistics))
    main.run_experiment(small(**{"ems.shard": shard}), tmp_path / "one")
    workdirs = [tmp_path / "two" / "0", tmp_path / "two" / "1"]
    assert [len({path.parent for path in w.rglob("units/*/*/*.npz")}) for w in workdirs] == list(of_process)
    assert {path.name for path in workdirs[0].iterdir()} == LEFT
    assert {path.name for path in workdirs[1].iterdir()} <= {"units", "sums.npz"}  # process 0 alone writes the rest
    first, second, one = (npz.read(w / "sums.npz", ("count", "sums")) for w in (*workdirs, tmp_path / "one"))
    for name in ("count", "sums"):
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], one[name], rtol=0, atol=1e-12 * np.abs(one[name]).max())
    assert (one["count"] == 40).all()
    two, one = (load_ems(w / "ems.npz").meta for w in (workdirs[0], tmp_path / "one"))
    assert two["made"] == one["made"]


def test_an_error_of_one_process_is_one_of_all(tmp_path, monkeypatch):
    """Within the time of the work, where a process that only ends lets the others wait for minutes."""
    monkeypatch.chdir(ROOT)
    zero, one = run_two(tmp_path / "two", broken=1, **{"ems.shard": 16})
    assert re.match(r"error: the model is not finite at lam=", one)
    assert re.match(r"error: process 1: the model is not finite at lam=", zero)
    assert len(list(tmp_path.glob("two/0/units/*/*/*.npz"))) == 6  # of shards 0 and 2, all
    assert not list(tmp_path.rglob("ems.npz"))


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"processes": 2}, "coordinator must be host:port of process 0, or auto, got ''"),
        ({"coordinator": "here", "processes": 2}, "must be host:port of process 0, or auto, got 'here'"),
        ({"coordinator": "here:", "processes": 2}, "must be host:port"),
        ({"coordinator": "here:1", "processes": 2, "process": 2}, "process must be from 0 to .* = 1, got 2"),
        ({"coordinator": "here:1", "processes": 2, "process": -1}, "got -1"),
        ({"coordinator": "here:1", "processes": 0}, "processes must be at least 1, got 0"),
    ],
    ids=str,
)
def test_nonsense_is_named(options, expected):
    with pytest.raises(ValueError, match=expected):
        processes.join(**({"coordinator": "", "processes": 1, "process": 0} | options))


def test_half_an_environment_is_named(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "here:1")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES and JAX_PROCESS_ID must be too"):
        processes.join("auto", 1, 0)


def test_what_no_cluster_and_no_other_experiment_can_do_is_named():
    code, text = command("--config=configs/toy_gmm.py", "--config.distributed.coordinator=auto")
    assert code == 2 and "benchmark does not read it; these do: sample, ems" in text, text
    options = "--config.experiment=ems", "--config.distributed.coordinator=auto"
    code, text = command("--config=configs/toy_gmm.py", *options)
    assert code == 1 and "distributed.coordinator=auto connects no processes" in text, text
