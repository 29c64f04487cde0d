"""Teleportation as users meet it: a key of the config, a prefix of any table, by class, and its experiments."""

import csv
import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import gaussian
import main
from configs import teleport as configs
from configs import toy_gmm
from experiments import build
from experiments.build.jumps import data_gaussian
from experiments.build.networks import Network
from experiments.compare import benchmark, choose_skip, contest, published, savings, teleport
from experiments.metrics.distances import rmse
from experiments.sampling import Sampler, solve_exactly
from experiments.support import errors
from solvers.grid import GRIDS

SHAPE = (2, 2, 1)


def small(**changes):
    """The toy mixture with one component: the exact network is that of a Gaussian."""
    config = toy_gmm.get_config("smoke")
    config.mixture.components, config.mixture.deviations = 1, (0.3, 0.6)
    config.sample.count, config.sample.batch, config.nfe = 8, 4, (6,)
    config.benchmark.solvers = (("DDIM", {"name": "ddim", "grid": {"name": "karras"}}),)
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def by_class():
    """Two classes of data as uint8-like floats, their Gaussians, and the network that is exact for each."""
    rng = np.random.default_rng(0)
    fits = [gaussian.fit_gaussian(rng.normal(m, 0.3, size=(40, *SHAPE))) for m in (-0.5, 0.5)]
    mixture = jax.tree.map(lambda *parts: np.concatenate(parts), *fits)._replace(weights=np.array([0.5, 0.5]))

    def make(params, label):
        component = gaussian.component(params, label)
        return lambda x, t: gaussian.posterior_mean(component, x, 1.0, t)

    return mixture, Network(mixture, make, "x0", SHAPE, 2)


def problem_of(config, network):
    """The problem of a config with another network."""
    found = build.problem(config)
    exact = {"exact": None, "gaussian": lambda: data_gaussian(config, network, None)}
    return replace(found, network=network, **exact)


def test_to_a_gaussian_network_the_jump_is_exact():
    """Whatever sigma it is to: what remains is the solver's error, which a shorter way makes smaller."""
    problem, indices, errors = build.problem(small()), np.arange(8), []
    fine = solve_exactly(problem, 0, indices)
    for sigma in (None, 40.0, 10.0, 2.0):
        options = {"name": "ddim", "grid": {"name": "karras"}, "teleport": sigma}
        method = build.method(problem, "DDIM", options, 6)
        assert method.table.nfe == 6 and method.runs.t[0] == np.float32(sigma or 80)
        samples, _ = Sampler(problem, 4).collect(method, indices)
        errors.append(rmse(samples, fine)["rmse"])
    assert errors == sorted(errors, reverse=True)


def test_each_label_is_teleported_by_its_class(by_class, tmp_path):
    mixture, network = by_class
    config = small(**{"model.name": "mixture", "model.labels": "all"})
    config.teleport.gaussian = str(tmp_path / "gaussian.npz")
    gaussian.save_distribution(config.teleport.gaussian, mixture, {})
    problem, indices = problem_of(config, network), np.arange(6)
    fine = build.method(problem, "fine", {"name": "unipc", "order": 3, "grid": {"name": "karras"}}, 60)
    sampler = Sampler(problem, 4)
    expected, _ = sampler.collect(fine, indices)
    jumped = build.method(problem, "jumped", {"name": "unipc", "teleport": 0.5}, 30)
    assert fine.jump is None and jumped.start == 0.5
    got, _ = sampler.collect(jumped, indices)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    config.model.labels = "none"  # then all by the one Gaussian of both
    assert len(data_gaussian(config, network, None).weights) == 1


def test_a_sample_is_the_same_in_any_batch(by_class):
    mixture, network = by_class
    config = small(**{"model.labels": "all"})
    problem = replace(problem_of(config, network), gaussian=lambda: mixture)
    method = build.method(problem, "DDIM", {"name": "ddim", "teleport": 3.0}, 5)
    found = []
    for batch, indices in ((4, np.arange(8)), (2, np.arange(8)[::-1])):
        samples, _ = Sampler(problem, batch).collect(method, indices)
        found.append(samples[np.argsort(indices)])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_without_a_jump_nothing_changes():
    """teleport.sigma = 80 is where sampling starts: the same samples, bit for bit, as without."""
    problem = build.problem(small())
    assert problem.jump(80.0) is None
    tables = [problem.tables.build({"name": "ddim", "teleport": sigma}, 6) for sigma in (None, 80.0)]
    for a, b in zip(*tables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13) if a is not None else None


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"guidance.scale": 2.0}, "for models without guidance, got guidance.scale = 2.0"),
        ({"model.name": "unet"}, "set teleport.gaussian to a file that --config.experiment=fit_gaussian has written"),
        ({"model.name": "unet", "teleport.gaussian": "none.npz"}, "no distribution at"),
        (
            {"model.name": "unet", "teleport.gaussian": "3 classes", "model.labels": "all"},
            "has 3 components, the model",
        ),
        ({"model.name": "unet", "teleport.gaussian": "other shape"}, r"of data of shape \(5,\), the model's samples"),
    ],
)
def test_what_cannot_be_teleported_is_refused(changes, expected, by_class, tmp_path):
    mixture, network = by_class
    three = jax.tree.map(lambda a: np.concatenate([a, a[:1]]), mixture)._replace(weights=np.full(3, 1 / 3))
    gaussian.save_distribution(tmp_path / "3 classes.npz", three, {})
    flat = gaussian.from_covariances([1.0], np.zeros((1, 5)), np.eye(5)[None])
    gaussian.save_distribution(tmp_path / "other shape.npz", flat, {})
    config = small(**changes)
    if " " in config.teleport.gaussian:
        config.teleport.gaussian = str(tmp_path / f"{config.teleport.gaussian}.npz")
    with pytest.raises(errors.ConfigError, match=expected):
        data_gaussian(config, network, None)


@pytest.mark.parametrize("sigma", [100.0, 0.002, -1.0])
def test_a_sigma_outside_of_sampling_is_refused(sigma):
    with pytest.raises(errors.ConfigError, match="teleport.sigma must be at most 80, where sampling starts, and above"):
        build.problem(small()).tables.build({"name": "ddim", "teleport": sigma}, 5)
    given = build.problem(small(**{"grid.name": "given", "grid.times": (80.0, 3.0, 0.1)}))
    with pytest.raises(errors.ConfigError, match="does not go with grid.name=given"):
        given.tables.build({"name": "ddim", "teleport": 10.0}, 2)


def test_other_schedules_take_sigma_over_alpha():
    for name in ("vp", "flow"):
        problem = build.problem(small(**{"schedule.name": name}))
        table = problem.tables.build({"name": "ddim", "teleport": 2.0}, 5)
        np.testing.assert_allclose(problem.schedule.lam(table.t[0]), -np.log(2), rtol=1e-9)


def test_benchmark_and_sample_teleport(tmp_path):
    plain = benchmark.run(small(), tmp_path / "plain")
    jumped = benchmark.run(small(**{"teleport.sigma": 5.0}), tmp_path / "jumped")
    assert jumped[0]["teleport"] == 5 and jumped[0]["rmse"] < plain[0]["rmse"]
    main.run_experiment(small(experiment="sample", nfe=6, **{"solver.name": "teleport"}), tmp_path / "sample")
    row = json.loads((tmp_path / "sample" / "results.json").read_text())["rows"][0]
    assert row["solver"].startswith("teleport: ") and row["teleport"] > 1
    with pytest.raises(errors.ConfigError, match="teleport.sigma"):
        main.run_experiment(small(experiment="health", **{"teleport.sigma": 5.0}), tmp_path / "health")
    with pytest.raises(errors.ConfigError, match="holds samples of other settings"):
        main.run_experiment(small(experiment="sample", nfe=6, **{"teleport.sigma": 9.0}), tmp_path / "sample")


@pytest.fixture
def experiment(tmp_path):
    config = small(experiment="teleport", nfe=(5, 8))
    config.teleport.sigmas, config.teleport.seeds = (20.0, 5.0), (0, 1)
    config.teleport.intervals, config.teleport.skips = 6, (0, 2)
    config.benchmark.reference_nfe = 40
    return config


def test_the_experiment_and_its_resumption(experiment, tmp_path, capsys, monkeypatch):
    rows = teleport.run(experiment, tmp_path)
    by = {(row["solver"], row["nfe"], row["teleport"]): row for row in rows}
    assert len(rows) == 2 * 3 + 2
    for nfe in (5, 8):
        assert by["DDIM", nfe, 5.0]["rmse"] < by["DDIM", nfe, 20.0]["rmse"] < by["DDIM", nfe, None]["rmse"]
    heun = [row for row in rows if row["solver"] == teleport.HEUN]
    assert [(row["skipped"], row["nfe"]) for row in heun] == [(0, 11), (2, 7)]
    np.testing.assert_allclose(heun[1]["teleport"], GRIDS["karras"](build.schedule(experiment), 5)[2])
    written = list(csv.DictReader(open(tmp_path / "results.csv")))
    assert [float(row["rmse"]) for row in written] == [row["rmse"] for row in rows]
    assert "without -> best teleport" in capsys.readouterr().out
    assert {"heatmaps.png", "teleport.png", "measured.json"} <= {p.name for p in tmp_path.iterdir()}

    drawn, collect = [], Sampler.collect

    def watched(self, method, indices, seed, **more):
        drawn.append(seed)
        return collect(self, method, indices, seed=seed, **more)

    monkeypatch.setattr(Sampler, "collect", watched)
    assert teleport.run(experiment, tmp_path) == rows and not drawn
    lost = next((tmp_path / "measured").glob("*-seed1.npz"))
    lost.unlink()  # as if killed before it was written
    assert teleport.run(experiment, tmp_path) == rows and drawn == [1]
    experiment.teleport.seeds = (0, 1, 2)
    more = teleport.run(experiment, tmp_path)
    assert drawn[1:] == [2] * 8 and len(more) == len(rows)  # the exact solution is not drawn
    capsys.readouterr()
    lost.write_bytes(b"PK")
    assert teleport.run(experiment, tmp_path) == more and drawn[9:] == [1]
    assert f"{lost} is not a whole .npz file" in capsys.readouterr().out
    experiment.teleport.skips = (0, 6)
    with pytest.raises(errors.ConfigError, match="teleport.skips must be from 0 to teleport.intervals - 1 = 5, got 6"):
        teleport.run(experiment, tmp_path)


def test_savings_are_the_fewest_evaluations_for_the_same():
    rows = [
        {"nfe": nfe, "teleport": sigma, "rmse": rmse}
        for nfe, sigma, rmse in ((4, None, 4), (4, 3.0, 7), (5, None, 9), (5, 3.0, 4), (8, None, 4), (8, 3.0, 5))
    ]
    pairs = savings.best_starts(rows, "rmse")
    assert [(p["rmse"], b["rmse"]) for p, b in pairs] == [(4, 4), (9, 4), (4, 4)]
    assert savings.savings(pairs, "rmse") == "5 instead of 8"


def test_spread_is_half_the_range():
    row = contest.spread([{"rmse": 1.0, "frechet": 3.0}, {"rmse": 2.0, "frechet": 3.0}, {"rmse": 6.0}])
    assert row == {"rmse": 3.0, "rmse_spread": 2.5, "frechet": 3.0, "frechet_spread": 0.0}


def test_published_numbers_are_where_they_belong():
    known = published.fids()
    assert known["CIFAR10", "DPM-Solver-v3", 80.0, 5] == 12.42
    assert known["AFHQv2", "UniPC-3, bh2", 2.5, 40] == 11.67
    assert len(known) == 7 * (5 * 8 + 4 * 11) and published.heun_fids()[12] == 108.217
    labels = {label for label, _ in configs.AS_PUBLISHED}
    assert labels == {solver for data, solver, *_ in known if data == "CIFAR10"}
    assert labels > {solver for data, solver, *_ in known if data == "AFHQv2"}


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_configs_build(variant):
    config = configs.get_config(variant)
    problem = build.problem(config)
    solvers = build.solvers(config) if config.benchmark.solvers else []
    cases = teleport.heun_cases(problem, config.teleport)
    cases |= teleport.grid_cases(solvers, build.nfes(config), config.teleport)
    for (label, nfe, _), (options, _) in cases.items():
        if options["name"] != "dpm_v3":
            assert problem.tables.build(options, nfe).nfe == nfe, label


def test_choose_skip_finds_the_lowest_of_a_gaussian_network(tmp_path, capsys):
    """Whose every jump is exact: the lower the better, and all of the score is explained."""
    options = {"sample.count": 32, "solver.name": "ddim", "grid.name": "karras"}
    config = small(experiment="choose_skip", nfe=5, **options)
    config.teleport.sigmas = (20.0, 5.0, 2.0)
    config.benchmark.reference_nfe = 60
    found = choose_skip.run(config, tmp_path)
    assert found["by_rmse"] == 2.0 and len(found["rmse"]) == 1 + 3 + 2
    assert found["by_explained"] == choose_skip.LOWEST and found["explained"][0]["denoiser"] > 1 - 1e-6
    assert "--config.teleport.sigma=2" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} >= {"choose_skip.json", "choose_skip.png"}
