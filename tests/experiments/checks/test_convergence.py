"""The convergence experiment where everything is known: on a single Gaussian every error has a closed form."""

import csv
import json

import numpy as np
import pytest
from matplotlib import image

import main
from configs import convergence as config_file
from configs import default
from experiments import build
from experiments.checks import convergence, curves, oracle
from experiments.support import errors, keys
from gaussian import spectrum
from solvers import SOLVERS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP

SOLVERS_HERE = (
    ("DDIM", {"name": "ddim"}),
    ("2M", {"name": "dpmpp", "order": 2, "lower_order_final": False}),
    ("Heun", {"name": "edm_heun", "grid": {"name": "karras"}}),
)


@pytest.fixture
def small():
    """One component of 12 dimensions, 4 samples."""
    config = config_file.get_config("smoke")
    with config.ignore_type():
        config.update_from_flattened_dict({"mixture.components": 1, "benchmark.solvers": SOLVERS_HERE})
    return config


def errors_by_mode(table, schedule, mixture, x, t_end):
    """x_end less the exact one, [n, D], in the basis of a Gaussian."""
    found = spectrum(table, schedule, mixture.variances[0], "x0", t_end, mixture.basis[0].T @ mixture.means[0])
    y = x.reshape(len(x), -1) @ mixture.basis[0]
    return (found.gain - found.exact_gain) * y + found.offset - found.exact_offset


def test_errors_are_those_of_the_spectrum(small, tmp_path):
    """To 1e-9 of pixels of size 1, as the exact solution is: float64 all the way, since float32 would leave 1e-6."""
    small.nfe = (6, 12)
    rows = main.run_experiment(small, tmp_path) or json.loads((tmp_path / "results.json").read_text())["rows"]
    assert len(rows) == 2 * 2 * 3
    mixture = build.mixture(small)
    for row in rows:
        schedule = {"edm": EDM(), "vp": VP()}[row["schedule"]]
        options = dict(dict(SOLVERS_HERE)[row["solver"]])
        name, grid = options.pop("name"), options.pop("grid", {"name": "lam_uniform"})["name"]
        t = GRIDS[grid](schedule, row["nfe"] // (2 if name == "edm_heun" else 1))
        x = schedule.sigma(t[0]) * keys.initial_noise(0, np.arange(4), (2, 2, 3)).astype(np.float64)
        table = SOLVERS[name](schedule, t, prediction="x0", **options)
        rmse = np.sqrt((errors_by_mode(table, schedule, mixture, x, t[-1]) ** 2).mean(axis=1))
        np.testing.assert_allclose(row["rmse"], np.sqrt((rmse**2).mean()), rtol=0, atol=1e-9)
        np.testing.assert_allclose(row["rmse_median"], np.median(rmse), rtol=0, atol=1e-9)
        np.testing.assert_allclose(row["rmse_lower"], np.sort(rmse)[1], rtol=0, atol=1e-9)


def test_files_and_tables(small, tmp_path, capsys):
    """With DPM-Solver-v3, whose statistics are estimated once for each schedule."""
    with small.ignore_type():
        small.benchmark.solvers = (*SOLVERS_HERE, ("v3", {"name": "dpm_v3", "order": 2}))
    main.run_experiment(small, tmp_path)
    names = {"config.json", "convergence.png", "edm", "vp", "results.csv", "results.json"}
    assert {p.name for p in tmp_path.iterdir()} == names | {".lock"}
    assert all((tmp_path / name / "ems.npz").is_file() for name in ("edm", "vp"))
    assert np.ptp(image.imread(tmp_path / "convergence.png")[..., :3]) > 0.5
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert tuple(rows[0]) == convergence.COLUMNS and len(rows) == 2 * 2 * 4
    printed = capsys.readouterr().out
    assert printed.count("slope") == 4 and "vp: median RMSE" in printed
    with small.ignore_type():
        small.nfe = (6,)  # a slope needs two numbers
    main.run_experiment(small, tmp_path)
    assert "nan" in capsys.readouterr().out


def test_slope_is_the_order():
    rows = [{"solver": "a", "nfe": n, "rmse": 4.0 * n**-2.0} for n in (10, 20, 40)]
    line = curves.matrix(rows, "rmse").splitlines()[1].split()
    assert line == ["a", "4.00e-02", "1.00e-02", "2.50e-03", "2.00"]


def test_mistakes_are_config_errors(small, tmp_path):
    with pytest.raises(errors.ConfigError, match="no convergence.json|is no directory of official numbers"):
        small.oracle = str(tmp_path)
        main.run_experiment(small, tmp_path)
    small.oracle = ""
    small.model.name = "unet"
    with pytest.raises(errors.ConfigError, match="set model.name=mixture, not unet"):
        main.run_experiment(small, tmp_path)
    small.model.name = "mixture"
    for options, fault in (({"name": "ddpm"}, "is stochastic"), ({"name": "ddim", "teleport": 10.0}, "is teleported")):
        with small.ignore_type():
            small.benchmark.solvers = (("mine", options),)
        with pytest.raises(errors.ConfigError, match=f"mine {fault}"):
            main.run_experiment(small, tmp_path)


@pytest.fixture
def official_directory(tmp_path):
    """Two equal components, so one Gaussian; DDIM's numbers on it in closed form, as official ones, and one missing."""
    rng, folder = np.random.default_rng(0), tmp_path / "official"
    mean, variances, floor = rng.normal(size=192), np.array([4.0, 1.0]), 0.01
    basis = np.linalg.qr(rng.normal(size=(192, 192)))[0]
    folder.mkdir()
    methods = {"dpmpp_1m": {"runner": "run_dpm", "args": {"order": 1}}, "adaptive": {"runner": "none", "args": {}}}
    columns = ["sched", "model", "method", "skip", "nfe", "calls", "row"]
    (folder / "index.json").write_text(json.dumps({"methods": methods, "columns": columns, "cases": []}))
    gmm = {
        "w": [0.3, 0.7],
        "mean": [mean] * 2,
        "Q": [basis[:, :2]] * 2,
        "e": [variances] * 2,
        "delta": [floor**0.5] * 2,
    }
    np.savez(folder / "models.npz", **{f"gmm_{name}": np.array(value) for name, value in gmm.items()})
    z, tables = np.random.default_rng(2024).standard_normal((64, 192)) @ basis, {}
    for name, grid in (("edm", "lam_uniform"), ("vp_sd", "t_uniform")):
        ems = folder / "ems" / f"{name}_gmm"
        ems.mkdir(parents=True)
        for file, arrays in (("l", "l"), ("sb", "sb")):
            np.savez(ems / f"{file}.npz", **{array: np.zeros((3, 3, 8, 8)) for array in arrays})
        np.savez(ems / "extra.npz", lam=np.array([-5.0, 0.0, 7.0]))
        schedule = oracle.SCHEDULES[name]
        t = GRIDS[grid](schedule, 6)
        all_variances = np.append(variances, np.zeros(190)) + floor
        found = spectrum(SOLVERS["ddim"](schedule, t), schedule, all_variances, "eps", t[-1], basis.T @ mean)
        x = z * (80 if name == "edm" else 1)
        error = (found.gain - found.exact_gain) * x + found.offset - found.exact_offset
        rmse = np.sqrt((error**2).mean(axis=1))
        numbers = [float(np.sqrt((rmse**2).mean())), float(np.sort(rmse)[31])]
        tables[f"{name}_gmm"] = {"dpmpp_1m": {"6": numbers, "8": None}, "adaptive": {"6": numbers}}
    (folder / "convergence.json").write_text(json.dumps({"tables": tables}))
    return folder


def test_official_numbers_are_met(official_directory, tmp_path, capsys):
    config = config_file.get_config("smoke")
    with config.ignore_type():
        config.nfe, config.oracle = (6, 8), str(official_directory)
    main.run_experiment(config, tmp_path / "run")
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert {(row["schedule"], row["nfe"]) for row in rows} == {(s, n) for s in ("edm_gmm", "vp_sd_gmm") for n in (6, 8)}
    for row in rows:
        if row["nfe"] == 6:
            np.testing.assert_allclose([row["rmse_off"], row["median_off"]], 0, atol=1e-7)
        else:
            assert row["official_rmse"] is row["median_off"] is None and row["rmse"] > 0
    printed = capsys.readouterr().out
    assert "adaptive is left out at 6 evaluations" in printed and "1 numbers" in printed


@pytest.mark.parametrize("variant", ["", "smoke"])
def test_the_config_builds(variant):
    config = config_file.get_config(variant)
    assert set(config.keys()) == set(default.get_config().keys()) and config.is_locked
    tables = build.make_tables(config, build.schedule(config), "x0", guided=False)
    for label, options in build.solvers(config):
        for nfe in config.nfe:
            if options["name"] != "dpm_v3":
                assert tables.build(options, nfe).nfe == nfe, label
    with pytest.raises(ValueError, match="known are smoke"):
        config_file.get_config("smok")
