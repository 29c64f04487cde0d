"""Flows in the plane: fields against differences of the log density, moments, adaptive integration, and a run."""

import csv

import jax
import numpy as np
import pytest

import gaussian
from configs import flows_2d as configs
from experiments import build
from experiments.flows import fields
from experiments.flows import plane as flows_2d
from experiments.flows.laws import distributions, follow_all, times_of
from experiments.sampling import exact
from experiments.support.errors import ConfigError
from solvers.schedule import EDM, VP, Flow

SCHEDULES = {"edm": EDM(), "vp": VP(), "flow": Flow()}


def the_laws():
    config = configs.get_config()
    return distributions(build.mixture(config), config.mixture.seed, config.flows.points)


@pytest.mark.parametrize("name", SCHEDULES)
def test_score_is_the_slope_of_the_log_density(name):
    """Central differences of step h are off by h^2 / 6 times the third derivative, of order 1 / sigma^3 here."""
    schedule, laws = SCHEDULES[name], the_laws()
    for law in laws.values():
        found = fields.field(law, schedule, 0.7, count=9)
        t = schedule.t_of_lam(-np.log(0.7))
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        points = np.stack(np.meshgrid(found.axis, found.axis), axis=-1)
        for axis in (0, 1):
            step = 1e-3 * np.eye(2)[axis]
            up, down = (np.log(fields.density(law, (points + s).reshape(-1, 2), alpha, sigma)) for s in (step, -step))
            np.testing.assert_allclose(found.score[..., axis], ((up - down) / 2e-3).reshape(9, 9), rtol=1e-4, atol=1e-4)


def test_density_integrates_to_one():
    """The trapezoid rule over 5 sigma and more of a smooth function is exact to far below 1e-4."""
    axis = np.linspace(-6, 6, 241)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for law in the_laws().values():
        total = fields.density(law, points, 0.9, 0.5).sum() * (axis[1] - axis[0]) ** 2
        assert total == pytest.approx(1, abs=1e-4)


def test_the_three_have_equal_mean_and_covariance():
    laws = the_laws()
    mixture, normal, points = (laws[name] for name in ("mixture", "gaussian", "delta"))
    covariances = [(u * v) @ u.T for u, v in zip(mixture.basis, mixture.variances, strict=True)]
    mean = mixture.weights @ mixture.means
    covariance = np.tensordot(mixture.weights, covariances, 1)
    covariance += ((mixture.means - mean).T * mixture.weights) @ (mixture.means - mean)
    for found_mean, found in (
        (normal.means[0], (normal.basis[0] * normal.variances[0]) @ normal.basis[0].T),
        (points.means.mean(axis=0), np.cov(points.means.T, bias=True)),
    ):
        np.testing.assert_allclose(found_mean, mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found, covariance, rtol=1e-9, atol=1e-12)


def test_schedules_lead_to_the_same_ends():
    """x / alpha at equal sigma / alpha does not depend on the schedule, and is what adaptive integration gives.

    1e-3: UniPC of order 2 at least with 400 steps of 0.02 in lam, on data of scale 1.
    """
    laws, z = the_laws(), np.random.default_rng(0).normal(size=(5, 2))
    ends = {}
    for name, schedule in SCHEDULES.items():
        times = times_of(schedule, (20.0, 0.01), 401)
        np.testing.assert_allclose(schedule.sigma(times[[0, -1]]) / schedule.alpha(times[[0, -1]]), (20, 0.01))
        paths = follow_all(laws, schedule, times, z)
        ends[name] = np.stack([paths[law][0][-1] / schedule.alpha(times[-1]) for law in laws])
        np.testing.assert_allclose(ends[name], ends["edm"], rtol=0, atol=1e-3)
    schedule = SCHEDULES["edm"]
    with jax.enable_x64(True):
        for law, end in zip(laws.values(), ends["edm"], strict=True):
            wanted = exact.solve(gaussian.denoiser(law, schedule), schedule, 20 * z, 20.0, 0.01)
            np.testing.assert_allclose(end, wanted, rtol=0, atol=1e-3)


def test_run(tmp_path, capsys):
    config = configs.get_config("smoke")
    found = flows_2d.run(config, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*("flow_vp.png", "parting.png", "results.csv", "results.json")}
    written = list(csv.DictReader(open(tmp_path / "results.csv")))
    assert [float(row["denoised"]) for row in written] == [row["denoised"] for row in found["rows"]]
    assert len(written) == 2 * config.flows.levels
    parted = found["summary"][0]["x_parts_at"]
    assert (
        0.005 < parted < 20 and f"Gaussian and mixture part at sigma / alpha = {parted:.3g}" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "key, value, message",
    [("flows.range", (0.1, 2.0), "falling"), ("flows.schedules", (), "one schedule"), ("mixture.shape", (3,), "plane")],
)
def test_mistakes_are_config_errors(tmp_path, key, value, message):
    config, (section, name) = configs.get_config("smoke"), key.split(".")
    config[section][name] = value
    with pytest.raises(ConfigError, match=message):
        flows_2d.run(config, tmp_path)
