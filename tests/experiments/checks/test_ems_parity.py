"""The statistics against a directory whose l, s and b are by their definition and automatic differentiation."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from configs import ems_parity as config_file
from experiments.checks import contenders, ems_parity, estimates
from experiments.checks import oracle as official
from experiments.support.errors import ConfigError

POINTS, LEVELS = 4, 24
METHODS = {
    "v3_o2": {"desc": "", "runner": "run_v3", "args": {"order": 2}},
    "v3_o1_deg": {"desc": "", "runner": "run_v3", "args": {"order": 1, "deg": True}},
    "v3_o2_traj": {"desc": "", "runner": "run_v3", "args": {"order": 2, "ems": "traj"}},
}


def brute_force(model, schedule, x0, noise, lam):
    """l, s, b [G + 1, *D] at lam, by definition: means over x = alpha x0 + sigma noise."""

    def coefficients(lam):
        t = schedule.t_of_lam(lam)
        return t, schedule.alpha(t), schedule.sigma(t)

    def eps(x, lam):
        t, alpha, sigma = coefficients(lam)
        return (x - alpha * model(x, t)) / sigma

    def l_of(lam):
        t, alpha, sigma = coefficients(lam)
        jacobian = jax.vmap(jax.jacfwd(lambda x: eps(x, lam).ravel()))(alpha * x0 + sigma * noise)
        return sigma * jnp.diagonal(jacobian.reshape(len(x0), x0[0].size, -1), axis1=1, axis2=2).mean(axis=0)

    def at(lam):
        l, slope = jax.jvp(l_of, (lam,), (1.0,))
        l, slope = l.reshape(x0.shape[1:]), slope.reshape(x0.shape[1:])
        t, alpha, sigma = coefficients(lam)
        rate = jax.grad(lambda lam: jnp.log(coefficients(lam)[1]))(lam)

        def f_of(x, lam, l):
            t, alpha, sigma = coefficients(lam)
            return (sigma * eps(x, lam) - l * x) / alpha

        def one(x):
            velocity = rate * x - sigma * eps(x, lam)  # along the diffusion ODE
            return jax.jvp(f_of, (x, lam, l), (velocity, 1.0, slope))

        f, df = jax.vmap(one)(alpha * x0 + sigma * noise)
        s = ((f - f.mean(0)) * (df - df.mean(0))).mean(0) / ((f - f.mean(0)) ** 2).mean(0)
        return l, s, df.mean(0) - s * f.mean(0)

    return jax.jit(lambda lam: jax.lax.map(at, lam))(lam)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A mixture of two components, two classes: statistics of EDM by brute force, those of guidance all constant."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("official")
    columns = ["sched", "model", "method", "skip", "nfe", "calls", "row"]
    (folder / "index.json").write_text(json.dumps({"methods": METHODS, "columns": columns, "cases": []}))
    gmm = {
        "w": [0.4, 0.6],
        "mean": 0.5 * rng.normal(size=(2, 192)),
        "Q": np.linalg.qr(rng.normal(size=(2, 192, 2)))[0],
        "e": [[2.0, 1.0], [1.5, 0.5]],
        "delta": [0.05, 0.2],
        "class": [0, 1],
    }
    np.savez(folder / "models.npz", **{f"gmm_{name}": np.array(value) for name, value in gmm.items()})
    shape, labels = (POINTS, 192), np.arange(POINTS) % 2
    inside = np.einsum(
        "kdr,kr->kd", gmm["Q"][labels], np.sqrt(np.array(gmm["e"])[labels]) * rng.normal(size=(POINTS, 2))
    )
    x0 = gmm["mean"][labels] + inside + np.array(gmm["delta"])[labels, None] * rng.normal(size=shape)
    noise = rng.normal(size=shape)
    np.savez(folder / "ems_points.npz", x0=x0, noise=noise, comp=labels)
    np.savez(folder / "ems_points_cfg_traj.npz", xT=rng.normal(size=shape), cls=labels)
    oracle = official.load(folder)
    for name, setting in contenders.SETTINGS.items():
        schedule = official.SCHEDULES[setting.schedule]
        lam = np.linspace(*schedule.lam(np.array([schedule.t_max, schedule.t_min])), LEVELS)
        l, s, b = np.ones((3, LEVELS, *official.SHAPE)) * np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1, 1, 1)
        if name == "edm_gmm":
            with jax.enable_x64(True):
                network = official.network(oracle, setting.schedule, "gmm")
                model = network.make(network.params, 0)
                l, s, b = brute_force(model, schedule, *(x.reshape(-1, *official.SHAPE) for x in (x0, noise)), lam)
        ems = folder / "ems" / "_".join(filter(None, (name, setting.suffix)))
        ems.mkdir(parents=True)
        np.savez(ems / "l.npz", l=l)
        np.savez(ems / "sb.npz", s=s, b=b)
        np.savez(ems / "extra.npz", lam=lam)
    tables = {"edm_gmm": ["v3_o2", "v3_o1_deg", "dpmpp_2m"], "vp_sd_cfg": ["v3_o2", "v3_o2@traj"]}
    tables = {name: dict.fromkeys(methods, {}) for name, methods in tables.items()}
    (folder / "convergence.json").write_text(json.dumps({"tables": tables}))
    return folder


@pytest.fixture
def small(directory, monkeypatch):
    config = config_file.get_config()
    config.nfe, config.ems.batch, config.ems.probes, config.oracle = (3,), POINTS, 2, str(directory)
    settings = {name: contenders.SETTINGS[name] for name in ("edm_gmm", "vp_sd_cfg")}
    monkeypatch.setattr(ems_parity, "SETTINGS", settings)
    monkeypatch.setattr(official, "MANY", 4)
    return config


def test_right_statistics_pass(small, tmp_path, capsys):
    main.run_experiment(small, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "config.json", "results.csv", "results.json"}
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found["statistics"]) == 3 * estimates.NODES
    assert {row["node"] for row in found["statistics"]} >= {0, LEVELS - 1}
    methods = {(row["model"], row["solver"]) for row in found["published"]}
    assert methods == {("edm_gmm", "v3_o2"), ("vp_sd_cfg", "v3_o2@traj")}
    peers = 3 * len(contenders.PEERS)
    assert len(found["rows"]) == 2 * (peers + 1) and len(found["best"]) == 2
    for best in found["best"]:
        mine = {row["solver"]: row["rmse"] for row in found["rows"] if row["model"] == best["model"]}
        v3, least = mine.pop("DPM-Solver-v3"), min(mine.values())
        np.testing.assert_allclose([best["rmse"]["best_value"], best["rmse"]["ratio"]], [least, v3 / least], rtol=1e-12)
    assert "edm_gmm: s within" in capsys.readouterr().out


def test_a_wrong_statistic_fails_with_its_node(small, directory, tmp_path, monkeypatch):
    wrong = tmp_path / "official"
    shutil.copytree(directory, wrong)
    with np.load(wrong / "ems/edm_gmm/sb.npz") as file:
        arrays = dict(file)
    arrays["s"][LEVELS - 1, 2, 3, 4] += 1e-5
    np.savez(wrong / "ems/edm_gmm/sb.npz", **arrays)
    small.oracle = str(wrong)
    monkeypatch.setattr(ems_parity, "SETTINGS", {"edm_gmm": contenders.SETTINGS["edm_gmm"]})
    with pytest.raises(ArithmeticError, match="1 statistics are off.*s of edm_gmm at node 23 .* by 1.0e-05"):
        main.run_experiment(small, tmp_path)
    assert (tmp_path / "results.json").is_file()


def test_the_ratio_is_of_the_same_samples():
    """Errors that are twice the other's, sample by sample, have ratio 2 without any spread."""
    rng = np.random.default_rng(0)
    error, truth = rng.normal(size=(16, 3, 8, 8)), rng.normal(size=(16, 3, 8, 8))
    ends = {("DPM-Solver-v3", 5): truth + 2 * error, ("a", 5): truth + error, ("b", 5): truth + 3 * error}
    row = contenders.best_of("name", 5, ends | {("c", 6): truth}, truth)
    for column in ("rmse", "rmse_median"):
        assert row[column]["best"] == "a"
        np.testing.assert_allclose([row[column]["ratio"], row[column]["ratio_se"]], [2, 0], atol=1e-12)


def test_a_directory_is_needed(small, tmp_path):
    small.oracle = ""
    with pytest.raises(ConfigError, match="set --config.oracle=DIR"):
        main.run_experiment(small, tmp_path)
