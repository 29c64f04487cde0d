"""The command: configs build, mistakes are one line that lists what is known, and the main job leaves all its files."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import main
from configs import default, fashion_mnist, toy_gmm
from experiments import EXPERIMENTS, build
from experiments.sampling import exact
from experiments.support import errors, keys
from solvers import SOLVERS
from tests.helpers.places import ROOT

EDM_TIMES = (80.0, 10.0, 1.0, 0.1, 0.01, 0.002)


def command(*arguments):
    """(exit status, stderr) of main.py with these arguments."""
    done = subprocess.run([sys.executable, "main.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr


def small(**overrides):
    """The toy benchmark in a second or two."""
    config = toy_gmm.get_config("smoke")
    with config.ignore_type():
        config.update_from_flattened_dict(overrides)
    return config


@pytest.mark.parametrize("module", [fashion_mnist, toy_gmm])
@pytest.mark.parametrize("variant", ["", "smoke"])
def test_configs_build(module, variant):
    config = module.get_config(variant)
    assert set(config.keys()) == set(default.get_config().keys())
    assert config.is_locked
    json.loads(config.to_json_best_effort())
    problem = build.problem(config)
    for label, options in build.solvers(config):
        for nfe in build.nfes(config):
            if options["name"] != "dpm_v3":
                table = problem.tables.build(options, nfe)
                assert table.nfe == nfe, label
    with pytest.raises(ValueError, match="known are smoke; did you mean smoke?"):
        module.get_config("smok")


@pytest.mark.parametrize(
    "argument, status, expected",
    [
        ("--config.sovler.order=2", 2, "unknown key 'sovler' in --config.sovler.order; keys of config are: ablation,"),
        ("--config.solver.ordr=2", 2, "keys of config.solver are: coordinates, corrector, "),
        ("--config.nfe.a=2", 2, "none: it is a value"),
        ("--config.solver.order=x", 2, "solver.order must be an integer, got 'x'"),
        ("--config.sample.count=1.5", 2, "sample.count must be an integer, got '1.5'"),
        ("--config.convergence.schedules=edm", 2, "benchmark does not read it; these do: convergence. Leave it out"),
        ("--config=configs/teleprot.py", 2, f"no config file {ROOT}/configs/teleprot.py; this project has configs/"),
        ("--config=configs/toy_gmm.py:smok", 2, f"{ROOT}/configs/toy_gmm.py: unknown variant 'smok'"),
        ("--config.experiment=bench", 1, "known are benchmark, sample, score, reference, ems, convert, train"),
        ("nonsense", 2, "unexpected argument 'nonsense'"),
    ],
)
def test_mistakes_are_one_line_that_lists_what_is_known(argument, status, expected, tmp_path):
    arguments = [argument] if argument.startswith("--config=") else ["--config=configs/toy_gmm.py", argument]
    code, text = command(*arguments, f"--workdir={tmp_path}")
    assert code == status and expected in text, text
    assert text.startswith("error: ") and text.count("\n") == 1, text
    assert not list(tmp_path.iterdir())


def test_help_names_the_experiments():
    done = subprocess.run([sys.executable, "main.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    short = subprocess.run([sys.executable, "main.py", "-h"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == short.returncode == 0 and done.stdout == short.stdout
    assert all(text in done.stdout for text in (*EXPERIMENTS, "--workdir", "configs/sections/"))


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"name": "unipcc"}, "unknown solver 'unipcc': known are " + ", ".join(SOLVERS)),
        ({"name": "unipc", "ordr": 2}, "unknown option of unipc 'ordr': known are order, variant, corrector"),
        ({"name": "ddim", "order": 2}, "unknown option of ddim 'order': known are none"),
        ({"name": "unipc", "order": 9}, "order"),
        ({"name": "unipc", "variant": "bh3"}, "bh1"),
        ({"name": "ddim", "grid": {"name": "karas"}}, "unknown grid 'karas'"),
        ({"name": "ddim", "grid": {"t_end": 0.1}}, "unknown key of the grid of ddim 't_end'"),
        ({"name": "ddim", "grid": {"name": "given", "times": (80, 10, 5, 3, 2, 1, 0.5)}}, "run from 80 to 0.5"),
        ({"name": "dpm_v3"}, "set ems.path"),
    ],
)
def test_impossible_tables_are_config_errors(options, expected):
    with pytest.raises(errors.ConfigError) as error:
        build.problem(small()).tables.build(options, 6)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("schedule.name", "vpp", "known are edm, vp, vp_cosine, vp_discrete, flow"),
        ("schedule.betas", "1,2", "first,last,count"),
        ("model.name", "net", "known are unet, mixture"),
        ("model.labels", "7", "a class below 0"),
        ("guidance.scale", 2.0, "needs labels"),
        ("teleport.sigma", 0.001, "at most 80, where sampling starts, and above 0.002, where it ends, got 0.001"),
        ("nfe", (), "nfe must be"),
        ("sample.count", 0, "sample.count must be at least 1"),
        ("nfe", (5, 0), "nfe must be"),
        ("benchmark.solvers", (), "name some of"),
        ("benchmark.solvers", ("ddim,ddmi",), "unknown solver of 'ddmi' 'ddmi'"),
        ("benchmark.solvers", ("ddim,ddim",), "two of one label"),
        ("benchmark.solvers", (1, 2), "an entry of benchmark.solvers must be a name or (label, {options}), got 1"),
        ("benchmark.solvers", ((3, {"name": "ddim"}),), "must be a name or (label, {options}), got (3,"),
        ("benchmark.solvers", (("a",),), "must be a name or (label, {options}), got ('a',)"),
        ("benchmark.solvers", (("a", {"name": "dpmpp", "order": "2"}),), "'a': solver.order must be an integer"),
        ("benchmark.solvers", (("a", {"name": "ddim", "grid": {"rho": "x"}}),), "'a': grid.rho must be a number"),
        ("benchmark.solvers", (("a", {"name": "ddim", "grid": 3}),), "'a': grid must be keys and values"),
        ("benchmark.solvers", (("a", {"name": "ddim", "at_nfe": 3}),), "'a': at_nfe must be keys and values"),
        ("benchmark.solvers", (("a", {"name": "ddim", "at_nfe": {5: {"order": "x"}}}),), "'a', at_nfe 5: solver.order"),
        ("benchmark.solvers", (("a/b", {"name": "ddim"}), ("a b", {"name": "unipc"})), "would be samples/a-b_5.npz"),
        ("published.rows", (1,), "a row of published.rows must be (label, {nfe: number}), got 1"),
        ("sample.seed", 2**31, "sample.seed must be from 0 to 2,147,483,647"),
        ("model.labels", "²", "a class below 0"),
    ],
)
def test_impossible_configs_are_config_errors(key, value, expected, tmp_path):
    config = small(**{key: value})
    if key == "schedule.betas":
        config.schedule.name = "vp_discrete"
    with pytest.raises(errors.ConfigError) as error:
        main.run_experiment(config, tmp_path)
    assert expected in str(error.value)


@pytest.mark.parametrize("nfe", [1, 2, 5, 6, 35])
def test_heun_takes_the_configured_number_of_evaluations(nfe):
    config = small(**{"grid.name": "karras"})
    table = build.problem(config).tables.build({"name": "edm_heun"}, nfe)
    assert table.nfe == nfe
    published = {35: 18, 5: 3, 1: 1}  # intervals, the last one to sigma = 0
    if nfe in published:
        assert len(np.unique(table.t)) == published[nfe]


def test_one_solver_may_differ_in_its_grid_and_at_one_nfe():
    config = small(**{"grid.name": "lam_uniform"})
    options = {"name": "unipc", "order": 3, "at_nfe": {5: {"order": 1}}, "grid": {"name": "given", "times": EDM_TIMES}}
    tables = build.problem(config).tables
    table = tables.build(options, 5)
    np.testing.assert_array_equal(table.t, EDM_TIMES[:-1])
    first_order = tables.build({"name": "unipc", "order": 1, "grid": options["grid"]}, 5)
    np.testing.assert_array_equal(table.b, first_order.b)


def test_labels():
    problem = build.problem(small())
    problem = replace(problem, network=problem.network._replace(classes=10))
    for rule, expected in {"none": [10, 10], "all": [0, 1], "3": [3, 3]}.items():
        assert replace(problem, rule=rule).labels([0, 11]).tolist() == expected
    with pytest.raises(errors.ConfigError, match="below 10"):
        replace(problem, rule="10").labels([0])


def test_exact_solution_of_a_gaussian():
    """One component: x_T / sigma-scaled deviations shrink by the ratio of standard deviations."""
    problem = build.problem(small(**{"mixture.components": 1}))
    mixture, network = problem.exact, problem.network
    x = 80.0 * keys.initial_noise(0, np.arange(3), (2,))
    got = exact.solve(network.make(network.params, 0), problem.schedule, x, 80.0, 0.002)
    basis, variances, mean = mixture.basis[0], mixture.variances[0], mixture.means[0]
    gain = np.sqrt((variances + 0.002**2) / (variances + 80.0**2))
    np.testing.assert_allclose(got, mean + ((x - mean) @ basis * gain) @ basis.T, atol=1e-7)


def visible(folder):
    return {path.name for path in folder.iterdir() if path.name[0] != "."}


def test_the_main_job_leaves_all_its_files(tmp_path, capsys):
    config = small()
    main.run_experiment(config, tmp_path)
    names = {"config.json", "results.csv", "results.json", "grid.png", "error.png", "samples", "ems.npz", "units"}
    assert visible(tmp_path) == names
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert {(r["solver"], r["nfe"]) for r in rows} == {(s, n) for s, _ in config.benchmark.solvers for n in ("5", "8")}
    assert all(0 < float(r["rmse_median"]) < 1 and float(r["rmse"]) > 0 for r in rows)
    assert json.loads((tmp_path / "config.json").read_text())["experiment"] == "benchmark"
    samples = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert len(samples) == 11 and "reference.npz" in samples and "dpm-solver-v3_5.npz" in samples
    printed = capsys.readouterr().out
    assert str(tmp_path) in printed and "DPM-Solver-v3" in printed and "*" in printed


def test_the_solution_becomes_exact(tmp_path):
    """The benchmark's numbers mean something: errors fall with nfe towards the exact solution."""
    config = small(nfe=(10, 60), **{"benchmark.solvers": (("UniPC", {"name": "unipc"}), ("DDIM", {"name": "ddim"}))})
    main.run_experiment(config, tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    error = {(r["solver"], r["nfe"]): r["rmse_median"] for r in rows}
    assert error["UniPC", 60] < 1e-3 < error["DDIM", 60] < error["DDIM", 10]


def test_ems_and_speed_run(tmp_path, capsys):
    config = small(experiment="ems")
    main.run_experiment(config, tmp_path / "ems")
    assert visible(tmp_path / "ems") == {"config.json", "ems.npz", "ems.png", "units"}
    config = small(experiment="speed", **{"speed.batch": 4, "speed.repeats": 2, "ems.path": f"{tmp_path}/ems/ems.npz"})
    main.run_experiment(config, tmp_path / "speed")
    rows = json.loads((tmp_path / "speed" / "results.json").read_text())["rows"]
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in rows) and len(rows) == 6  # five solvers and the EMS
    assert "ratio" in capsys.readouterr().out


def test_ems_of_another_model_are_refused_and_named(tmp_path, capsys):
    """By dpm_v3, unless they are accepted; the solver `auto` goes on without them."""
    main.run_experiment(small(experiment="ems"), tmp_path)
    path = {"ems.path": f"{tmp_path}/ems.npz"}
    for change, sides in (
        ({"schedule.name": "vp"}, r"schedule EDM\(\), sampling uses VP"),
        ({"mixture.radius": 0.7}, "parameters [0-9a-f]{16}, sampling uses [0-9a-f]{16}"),
    ):
        with pytest.raises(errors.ConfigError, match=sides):
            main.run_experiment(small(**path, **change), tmp_path / "b")
    other = {"mixture.radius": 0.7, "experiment": "sample", "nfe": 8, "sample.count": 4}
    main.run_experiment(small(**path, **other, **{"ems.accept": True, "solver.name": "dpm_v3"}), tmp_path / "c")
    capsys.readouterr()
    main.run_experiment(small(**path, **other), tmp_path / "d")
    printed = capsys.readouterr().out
    assert "auto goes on without EMS: the EMS are of parameters" in printed and "auto: ipndm" in printed
    main.run_experiment(small(**path, experiment="sample", nfe=8, **{"sample.count": 4}), tmp_path / "e")
    assert "auto: dpm_v3" in capsys.readouterr().out


def test_images_are_written_as_uint8_and_drawn(tmp_path):
    config = small(nfe=5, **{"mixture.shape": (4, 4, 1), "benchmark.solvers": "ddim,edm_heun", "benchmark.shown": 3})
    main.run_experiment(config, tmp_path)
    stored = np.load(tmp_path / "samples" / "edm-heun_5.npz")
    assert stored["images"].dtype == np.uint8 and stored["images"].shape == (32, 4, 4, 1)
    assert stored["indices"].tolist() == list(range(32))
    exact = np.load(tmp_path / "samples" / "reference.npz")["images"]
    assert exact.dtype == np.uint8 and exact.shape == stored["images"].shape
    assert (tmp_path / "grid.png").stat().st_size > 1000
