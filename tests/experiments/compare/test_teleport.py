"""Teleportation as users meet it: a key of the config, a prefix of any table, by class, and its experiments."""

import csv
import json

import jax
import numpy as np
import pytest

import gaussian
import main
from configs import teleport as configs
from configs import toy_gmm
from experiments.build import schedules as build
from experiments.build.jumps import build_gaussian, build_jumps
from experiments.build.network import Network, build_model
from experiments.build.tables import build_table
from experiments.compare import benchmark, choose_skip, contest, teleport
from experiments.compare import published as published_teleport
from experiments.sampling import draw as runner
from experiments.sampling.sampler import make_sampler
from experiments.support import errors
from experiments.support.mesh import make_mesh
from solvers import SOLVERS
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


def test_to_a_gaussian_network_the_jump_is_exact():
    """Whatever sigma it is to: what remains is the solver's error, which a shorter way makes smaller."""
    config = small()
    network = build_model(config)
    collect, errors = make_sampler(config, network), []
    fine = benchmark.solve_exactly(config, network)
    for sigma in (None, 40.0, 10.0, 2.0):
        options = {"name": "ddim", "grid": {"name": "karras"}, "teleport": sigma}
        table = build_table(config, options, 6, "x0").astype(np.float32)
        assert table.nfe == 6 and table.t[0] == np.float32(sigma or 80)
        samples, _ = collect(table, 6, np.arange(8), jump=build_jumps(config, network, {0: sigma})[0])
        errors.append(benchmark.errors(samples, fine)["rmse"])
    assert errors == sorted(errors, reverse=True)


def test_each_label_is_teleported_by_its_class(by_class, tmp_path):
    mixture, network = by_class
    config = small(**{"model.name": "unet", "model.labels": "all"})
    config.teleport.gaussian = str(tmp_path / "gaussian.npz")
    gaussian.save_distribution(config.teleport.gaussian, mixture, {})
    schedule = build.build_schedule(config)
    fine = SOLVERS["unipc"](schedule, GRIDS["karras"](schedule, 60), order=3, prediction="x0")
    collect, indices = make_sampler(config, network), np.arange(6)
    expected, _ = collect(fine.astype(np.float32), 60, indices)
    jumps = build_jumps(config, network, {"far": 0.5, "none": None})
    assert jumps["none"] is None
    table = build_table(config, {"name": "unipc", "teleport": 0.5}, 30, "x0").astype(np.float32)
    got, _ = collect(table, 30, indices, jump=jumps["far"])
    np.testing.assert_allclose(got, expected, atol=1e-3)
    config.model.labels = "none"  # then all by the one Gaussian of both
    assert len(build_gaussian(config, network).weights) == 1


def test_a_sample_is_the_same_in_any_batch(by_class):
    mixture, network = by_class
    config = small(**{"model.labels": "all"})
    jump = jax.tree.map(np.float32, gaussian.teleport(mixture, build.build_schedule(config), 80.0, 3.0))
    table = build_table(config, {"name": "ddim", "teleport": 3.0}, 5, "x0").astype(np.float32)
    draw = runner.make_draw(network.make, SHAPE, 80.0)
    found = []
    for batch, indices in ((4, np.arange(8)), (2, np.arange(8)[::-1])):
        fixed = {"indices": indices, "labels": indices % 2, "batch": batch, "mesh": make_mesh(), "seed": 0}
        samples, _ = runner.collect(draw, network.params, table, 5, jump=jump, **fixed)
        found.append(samples[np.argsort(indices)])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_without_a_jump_nothing_changes():
    """teleport.sigma = 80 is where sampling starts: the same samples, bit for bit, as without."""
    config = small()
    network = build_model(config)
    assert build_jumps(config, network, {0: 80.0}) == {0: None}
    tables = [build_table(config, {"name": "ddim", "teleport": sigma}, 6, "x0") for sigma in (None, 80.0)]
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
        build_gaussian(config, network)


@pytest.mark.parametrize("sigma", [100.0, 0.002, -1.0])
def test_a_sigma_outside_of_sampling_is_refused(sigma):
    with pytest.raises(errors.ConfigError, match="teleport.sigma must be at most 80, where sampling starts, and above"):
        build_table(small(), {"name": "ddim", "teleport": sigma}, 5, "x0")
    given = small(**{"grid.name": "given", "grid.times": (80.0, 3.0, 0.1)})
    with pytest.raises(errors.ConfigError, match="does not go with grid.name=given"):
        build_table(given, {"name": "ddim", "teleport": 10.0}, 2, "x0")


def test_other_schedules_take_sigma_over_alpha():
    for name in ("vp", "flow"):
        config = small(**{"schedule.name": name})
        schedule = build.build_schedule(config)
        table = build_table(config, {"name": "ddim", "teleport": 2.0}, 5, "x0")
        np.testing.assert_allclose(schedule.lam(table.t[0]), -np.log(2), rtol=1e-9)


def test_benchmark_and_sample_teleport(tmp_path):
    plain = benchmark.run(small(), tmp_path / "plain")
    jumped = benchmark.run(small(**{"teleport.sigma": 5.0}), tmp_path / "jumped")
    assert jumped[0]["teleport"] == 5 and jumped[0]["rmse"] < plain[0]["rmse"]
    main.run_experiment(small(experiment="sample", nfe=6, **{"solver.name": "teleport"}), tmp_path / "sample")
    row = json.loads((tmp_path / "sample" / "results.json").read_text())["rows"][0]
    assert row["solver"].startswith("teleport: ") and row["teleport"] > 1
    with pytest.raises(errors.ConfigError, match="health does not teleport: leave it at None, or take one of"):
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
    np.testing.assert_allclose(heun[1]["teleport"], GRIDS["karras"](build.build_schedule(experiment), 5)[2])
    written = list(csv.DictReader(open(tmp_path / "results.csv")))
    assert [float(row["rmse"]) for row in written] == [row["rmse"] for row in rows]
    assert "without -> best teleport" in capsys.readouterr().out
    assert {"heatmaps.png", "teleport.png", "measured.json"} <= {p.name for p in tmp_path.iterdir()}

    drawn, collect = [], runner.collect
    monkeypatch.setattr(runner, "collect", lambda *args, **more: drawn.append(more["seed"]) or collect(*args, **more))
    measured = json.loads((tmp_path / "measured.json").read_text())
    (tmp_path / "measured.json").write_text(json.dumps(measured[:-1]))  # as if killed in the last of seed 1
    assert teleport.run(experiment, tmp_path) == rows and drawn == [1, 1]  # the fine solution, and what was missing
    experiment.teleport.seeds = (0, 1, 2)
    more = teleport.run(experiment, tmp_path)
    assert drawn[2:] == [2] * 9 and len(more) == len(rows)
    (tmp_path / "measured.json").write_text("[{")
    with pytest.raises(ValueError, match="measured.json is damaged .*: delete it, and all is measured again"):
        teleport.run(experiment, tmp_path)
    experiment.teleport.skips = (0, 6)
    with pytest.raises(errors.ConfigError, match="teleport.skips must be from 0 to teleport.intervals - 1 = 5, got 6"):
        teleport.run(experiment, tmp_path)


def test_savings_are_the_fewest_evaluations_for_the_same():
    rows = [
        {"nfe": nfe, "teleport": sigma, "rmse": rmse}
        for nfe, sigma, rmse in ((4, None, 4), (4, 3.0, 7), (5, None, 9), (5, 3.0, 4), (8, None, 4), (8, 3.0, 5))
    ]
    pairs = teleport.best_starts(rows, "rmse")
    assert [(p["rmse"], b["rmse"]) for p, b in pairs] == [(4, 4), (9, 4), (4, 4)]
    assert teleport.savings(pairs, "rmse") == "5 instead of 8"


def test_spread_is_half_the_range():
    row = contest.spread([{"rmse": 1.0, "frechet": 3.0}, {"rmse": 2.0, "frechet": 3.0}, {"rmse": 6.0}])
    assert row == {"rmse": 3.0, "rmse_spread": 2.5, "frechet": 3.0, "frechet_spread": 0.0}


def test_published_numbers_are_where_they_belong():
    assert published_teleport.fid("CIFAR10", "DPM-Solver-v3", 80.0, 5) == 12.42
    assert published_teleport.fid("AFHQv2", "UniPC-3, bh2", 2.5, 40) == 11.67
    assert published_teleport.fid("CIFAR10", "UniPC-3, bh2", 14.0, 5) is None
    assert published_teleport.fid("CIFAR10", "UniPC-3, bh2", 10.0, 7) is None
    for data, solvers in published_teleport.FID.items():
        assert all(len(row) == len(published_teleport.NFES[data]) for grid in solvers.values() for row in grid.values())
    labels = {label for label, _ in configs.AS_PUBLISHED}
    assert labels == set(published_teleport.FID["CIFAR10"]) and labels > set(published_teleport.FID["AFHQv2"])


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_configs_build(variant):
    config = configs.get_config(variant)
    cases = teleport.heun_cases(config) | teleport.grid_cases(config)
    for (label, nfe, _), (options, _) in cases.items():
        if options["name"] != "dpm_v3":
            assert build_table(config, options, nfe, "x0").nfe == nfe, label


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
