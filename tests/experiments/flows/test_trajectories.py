"""Trajectories against closed forms, adaptive integration and hand-made paths; the experiment at toy size."""

import csv
import json

import jax
import numpy as np
import pytest

import gaussian
from configs import default
from experiments.data import datasets, pixels
from experiments.data.arrays import Dataset
from experiments.flows import numbers, trajectories
from experiments.flows.integrate import Ode, follow, follow_closed_forms, follow_exactly
from experiments.sampling import exact
from experiments.structure.explained import closed_form
from experiments.support.errors import ConfigError
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow
from tests.gaussian.test_gaussian import DIM, SHAPE, one_gaussian, three_components

SCHEDULES = {"edm": EDM(), "vp": VP(), "flow": Flow()}
EXACT = closed_form(gaussian.posterior_mean)


def levels(schedule, n):
    """Times from 0.98 t_max, where every schedule has alpha > 0."""
    return GRIDS["lam_uniform"](schedule, n - 1, 0.98 * schedule.t_max, schedule.t_min)


def noise(schedule, count=3):
    return schedule.sigma(0.98 * schedule.t_max) * np.random.default_rng(0).normal(size=(count, *SHAPE))


def the_gaussian():
    mean, covariance = one_gaussian()
    return gaussian.from_covariances([1.0], mean[None], covariance[None])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SCHEDULES)
def test_follow_is_the_closed_form_on_a_gaussian(name):
    """UniPC of order 3, with first steps of order 1: at least order 2, a quarter of the error at half the step."""
    schedule, law, errors = SCHEDULES[name], the_gaussian(), []
    for n in (101, 201):
        times = levels(schedule, n)
        found = follow(EXACT, law, Ode(schedule, times, noise(schedule)))
        wanted = follow_exactly(law, Ode(schedule, times, noise(schedule)))
        assert [a.shape for a in found] == [(n, 3, *SHAPE)] * 2 and found[0].dtype == np.float64
        scale = np.hypot(schedule.alpha(times), schedule.sigma(times))[:, None, None, None, None]
        errors.append([np.abs((a - b) / s).max() for a, b, s in zip(found, wanted, (scale, 1))])
        np.testing.assert_array_equal(found[0][0], noise(schedule))
    assert np.max(errors[0]) < 2e-3
    assert np.all(np.divide(*errors) > 3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_follow_ends_where_adaptive_integration_does(name):
    """On a mixture; 2e-4 is five times the error of 401 levels on the Gaussian above, 2e-3 / 4^2 / 3 at most."""
    schedule, law = SCHEDULES[name], gaussian.from_covariances(*three_components())
    times, start = levels(schedule, 401), noise(schedule)
    with jax.enable_x64(True):
        x, _ = follow(EXACT, law, Ode(schedule, times, start))
        wanted = exact.solve(gaussian.denoiser(law, schedule), schedule, start, times[0], times[-1])
    np.testing.assert_allclose(x[-1], wanted, rtol=0, atol=2e-4)


def test_batches_and_labels_reach_every_sample():
    schedule, law = EDM(), gaussian.from_covariances(*three_components())
    times, start = levels(schedule, 6), noise(schedule, 5).astype(np.float32)
    ode, seen = Ode(schedule, times, start), []

    def of_component(mixture, x, level, label):
        return gaussian.posterior_mean(gaussian.component(mixture, label), x, *level[:2])

    labels = np.array([0, 1, 2, 1, 0])
    whole = follow(of_component, law, ode, labels, batch=6)
    parts = follow(of_component, law, ode, labels, batch=2, progress=seen.append)
    assert sum(seen) == 5 and whole[0].dtype == np.float32
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    alone = follow(EXACT, gaussian.component(law, 1), ode._replace(start=start[3:4]))
    np.testing.assert_allclose(whole[1][:, 3:4], alone[1], rtol=1e-5, atol=1e-5)


def test_parting():
    sigma = np.array([10.0, 5.0, 2.0, 0.5])
    values = 0.04 / sigma**2  # 0.01 at sigma = 2, between levels at others; the interpolation is exact for powers
    assert numbers.parting(sigma, values, 0.0025) == pytest.approx(4.0)
    assert numbers.parting(sigma, values, 0.16) is None
    assert numbers.parting(sigma, values, 1e-5) == 10.0
    assert numbers.parting(sigma, np.array([0, 0.1, 0.0, 1.0]), 0.05) < 10  # the first time, though it comes back


def test_a_gaussian_network_is_its_gaussian():
    """What the comparison says of a network that is the closed form, and of one whose mean is off by 0.2."""
    schedule, law = VP(), the_gaussian()
    times = levels(schedule, 161)
    mine = follow_exactly(law, Ode(schedule, times, noise(schedule, 40).astype(np.float32)))
    shifted = tuple(states + 0.2 * s for states, s in zip(mine, (schedule.alpha(times)[:, None, None, None, None], 1)))
    others = [("gaussian", law, mine), ("mixture", None, shifted)]
    found = numbers.compare(mine, others, schedule, times, threshold=0.01, shown=2)
    same, off = found["summary"]
    assert same["final_mse"] == same["final_std"] == 0 and same["final_explained"] == 1 and same["x_parts_at"] is None
    assert off["final_mse"] == pytest.approx(0.04, rel=1e-4) and off["x_parts_at"] == found["levels"][0]
    variance = mine[1][-1].astype(np.float64).reshape(40, DIM).var(axis=0, ddof=1).mean()
    assert off["final_explained"] == pytest.approx(1 - 0.04 / variance, rel=1e-3)
    rows = [row for row in found["rows"] if row["name"] == "mixture"]
    np.testing.assert_allclose([[row["x"], row["denoised"]] for row in rows], 0.04, rtol=1e-3)
    # Half-times are interpolated between levels 7 % apart. The last mode has not reached its end at sigma = 0.01.
    modes = found["modes"]
    np.testing.assert_allclose(modes["explained"]["gaussian"], 1)
    coefficients = (mine[1][-1].reshape(40, DIM) - law.means[0]) @ law.basis[0]
    wanted = 1 - 40 * (0.2 * law.basis[0].sum(axis=0)) ** 2 / (coefficients**2).sum(axis=0)
    np.testing.assert_allclose(modes["explained"]["mixture"], wanted, rtol=1e-3)
    assert off["closer_than_gaussian"] == 0
    assert law.variances[0, 4] > 100 * found["levels"][-1] ** 2
    np.testing.assert_allclose(modes["half"][:5], modes["half_exact"][:5], rtol=2e-3)
    assert modes["order"] == pytest.approx(1)
    np.testing.assert_allclose(modes["half_exact"], np.sqrt(3 * law.variances[0]), rtol=1e-6)
    np.testing.assert_array_equal(modes["deviation"], modes["deviation_exact"])


def test_plane_of_a_known_turn():
    """x = sigma e1 + (1 - sigma / sigma_T) e2, and a third direction that takes a tenth of |x|^2 in the middle."""
    schedule, times = EDM(), np.array([4.0, 1.0, 0.5])
    x = np.stack([times, 1 - times / 4, 0 * times], axis=1)[:, None]
    found = numbers.plane(x, schedule, times)
    norm = np.hypot(1, times)
    np.testing.assert_allclose(found["share"], 1)
    np.testing.assert_allclose(found["first"][0], 1)
    # In coordinates of the ends: x(1) = a x(4) + b x(1/2) with b = (1 - 1/4) / (1 - 1/8) and a = (1 - b / 2) / 4.
    b = 0.75 / 0.875
    np.testing.assert_allclose(found["last"][1], b * norm[-1] / norm[1])
    np.testing.assert_allclose(found["first"][1], (1 - b / 2) / 4 * norm[0] / norm[1])
    x[1, 0, 2] = np.sqrt((x[1] ** 2).sum() / 9)
    np.testing.assert_allclose(numbers.plane(x, schedule, times)["share"][1], [1, 0.9, 1])


def toy_images():
    """uint8 [300, 2, 3, 1] of three classes, and their labels."""
    rng = np.random.default_rng(1)
    classes = np.arange(300) % 3
    means = np.array([-0.5, 0.0, 0.5])[classes]
    return pixels.to_uint8(means[:, None, None, None] + 0.15 * rng.normal(size=(300, 2, 3, 1))), classes


def test_closed_forms_with_labels_are_those_of_the_class():
    images, classes = toy_images()
    images, schedule = pixels.to_float(images), EDM()
    times, start = levels(schedule, 101), noise(schedule, 5).astype(np.float32)
    labels = np.array([2, 0, 2, 1, 0])
    solutions = follow_closed_forms(images, classes, Ode(schedule, times, start), labels, follow)
    found = {name: solution for name, _, solution in solutions}
    assert list(found) == ["gaussian", "class_gaussian", "class_delta"]
    for i, label in enumerate(labels):
        mine = images[classes == label]
        covariance = np.cov(mine.reshape(100, -1).astype(np.float64).T)
        law = gaussian.from_covariances([1.0], mine.mean(axis=0, dtype=np.float64)[None], covariance[None])
        wanted = follow_exactly(law, Ode(schedule, times, start[i : i + 1]))
        np.testing.assert_allclose(found["class_gaussian"][1][:, i], wanted[1][:, 0], rtol=0, atol=2e-4)
        # The delta's trajectory ends in an image of the class.
        distance = np.abs(mine - found["class_delta"][1][-1, i]).reshape(len(mine), -1).max(axis=1)
        assert distance.min() < 1e-3


def toy_config():
    c = default.get_config()
    c.experiment, c.model.name, c.mixture.shape, c.mixture.components = "trajectories", "mixture", (2, 3, 1), 3
    c.trajectories.count, c.trajectories.levels, c.trajectories.shown, c.sample.batch = 6, 25, 3, 4
    return c


def test_run(tmp_path, monkeypatch, capsys):
    images, classes = toy_images()
    monkeypatch.setitem(datasets.DATASETS, "fashion_mnist", lambda path: Dataset(images, classes, None, None, 3))
    result = trajectories.run(toy_config(), tmp_path)
    files = ["trajectories.png", "samples.png", "denoised.png", "modes.png", "plane.png"]
    for name in [*files, "results.csv", "results.json"]:
        assert (tmp_path / name).stat().st_size > 0
    assert [row["name"] for row in result["summary"]] == ["gaussian", "mixture", "delta"]
    written = list(csv.DictReader(open(tmp_path / "results.csv")))
    assert len(written) == 3 * 25
    assert [float(row["x"]) for row in written] == [row["x"] for row in result["rows"]]
    assert all(float(row["x"]) == 0 for row in written if float(row["sigma"]) == 80)  # the same noise
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["summary"][0]["published_cifar10"] == [0.013, 0.0073] and len(stored["levels"]) == 25
    printed = capsys.readouterr().out
    assert "class mixture" in printed and "0.0130 (0.0073)" in printed


@pytest.mark.parametrize("key, value, message", [("count", 1, "at least 2"), ("levels", 1, "from 4")])
def test_mistakes_are_config_errors(tmp_path, key, value, message):
    c = toy_config()
    c.trajectories[key] = value
    with pytest.raises(ConfigError, match=message):
        trajectories.run(c, tmp_path)
