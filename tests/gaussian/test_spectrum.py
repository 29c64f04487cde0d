"""The spectrum of a table against the engine, closed forms and orders of convergence; the experiment that plots it."""

import csv
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import image

import main
from configs import default
from configs import spectrum as config_file
from experiments import build
from experiments.checks import modes
from experiments.checks import spectrum as experiment
from experiments.support import errors
from gaussian import Mixture, denoiser, gaussian_ems, spectrum
from solvers import SOLVERS, sample
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow
from tests.gaussian.test_gaussian import within_six_errors

DIM = 5
VARIANCES = np.array([9.0, 1.0, 0.04, 1e-4, 0.0])
SCHEDULES = {"edm": EDM(), "vp": VP(), "flow": Flow()}
TABLES = [("ddim", {}), ("dpmpp", {"order": 2}), ("unipc", {"order": 3}), ("edm_heun", {}), ("ipndm", {})]


def gaussian(basis, seed=0):
    """A Gaussian with VARIANCES along the columns of `basis` [5, 5]; its mean in these coordinates."""
    mean = np.random.default_rng(seed).normal(size=DIM)
    return Mixture(np.ones(1), (basis @ mean)[None], basis[None], VARIANCES[None], np.zeros(1), (DIM,)), mean


def network(mixture, schedule, prediction):
    """The exact model of the mixture as a network of any prediction."""

    def model(x, t):
        x0 = denoiser(mixture, schedule)(x, t)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        eps = (x - alpha * x0) / sigma
        return {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps / sigma, "flow": eps - x0}[
            prediction
        ]

    return model


def times(schedule, n):
    """From 0.98 t_max, where every schedule has alpha > 0."""
    return GRIDS["lam_uniform"](schedule, n, 0.98 * schedule.t_max, schedule.t_min)


@pytest.mark.thin(7)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("solver", "options"), TABLES, ids=[name for name, _ in TABLES])
@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_equals_the_engine_on_a_tilted_gaussian(name, solver, options, prediction):
    """Round-off is all that may differ: states up to 80 in 7 rows, so some 1e-14, and 1e-12 is asked for."""
    schedule = SCHEDULES[name]
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0]
    mixture, mean = gaussian(basis)
    t = times(schedule, 7)
    table = SOLVERS[solver](schedule, t, prediction=prediction, **options)
    found = spectrum(table, schedule, VARIANCES, prediction, t[-1], mean)
    y = schedule.sigma(t[0]) * np.random.default_rng(2).normal(size=DIM)
    x0, _ = jax.jit(partial(sample, network(mixture, schedule, prediction)))(table, basis @ y)
    scale = np.abs(y).max() + np.abs(mean).max()
    np.testing.assert_allclose(basis.T @ x0, found.gain * y + found.offset, rtol=0, atol=1e-12 * scale)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["edm", "vp"])
@pytest.mark.parametrize("options", [{"order": 1}, {"order": 3, "corrector_pseudo": True}])
def test_equals_the_engine_with_a_coefficient_per_mode(name, options):
    """DPM-Solver-v3 with statistics that are wrong for this Gaussian, so that nothing is nearly exact."""
    schedule = SCHEDULES[name]
    mixture, mean = gaussian(np.eye(DIM))
    t = times(schedule, 6)
    other = mixture._replace(variances=mixture.variances[:, ::-1] + 0.5, means=mixture.means + 1)
    ems = gaussian_ems(other, np.linspace(*schedule.lam(t[[0, -1]]), 61))
    table = SOLVERS["dpm_v3"](schedule, t, "x0", ems=ems, **options)
    found = spectrum(table, schedule, VARIANCES, "x0", t[-1], mean)
    y = schedule.sigma(t[0]) * np.random.default_rng(2).normal(size=DIM)
    x0, _ = jax.jit(partial(sample, denoiser(mixture, schedule)))(table, y)
    scale = np.abs(y).max() + np.abs(mean).max()
    np.testing.assert_allclose(x0, found.gain * y + found.offset, rtol=0, atol=1e-12 * scale)
    assert np.abs(found.error).max() > 1e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_ddim_is_a_product(name):
    """Each step multiplies x_s - alpha_s mean by (alpha_t alpha_s v + sigma_t sigma_s) / (alpha_s^2 v + sigma_s^2)."""
    schedule = SCHEDULES[name]
    t = times(schedule, 9)
    alpha, sigma = (f(t)[:, None] for f in (schedule.alpha, schedule.sigma))
    steps = (alpha[1:] * alpha[:-1] * VARIANCES + sigma[1:] * sigma[:-1]) / (
        alpha[:-1] ** 2 * VARIANCES + sigma[:-1] ** 2
    )
    gain = steps.prod(axis=0)
    found = spectrum(SOLVERS["ddim"](schedule, t), schedule, VARIANCES, "eps", t[-1], mean=2.0)
    np.testing.assert_allclose(found.gain, gain, rtol=1e-12)
    np.testing.assert_allclose(found.offset, 2 * (alpha[-1] - gain * alpha[0]), rtol=0, atol=1e-12)
    start = np.sqrt(alpha[0] ** 2 * VARIANCES + sigma[0] ** 2)
    np.testing.assert_allclose(found.deviation, gain * start, rtol=1e-12)
    assert not found.noise.any()


@pytest.mark.parametrize(
    ("solver", "options", "order"),
    [
        ("ddim", {}, 1),
        ("edm_heun", {}, 2),
        ("dpmpp", {"order": 2, "lower_order_final": False}, 2),
        ("unipc", {"order": 2, "corrector": False, "lower_order_final": False}, 2),
    ],
)
@pytest.mark.parametrize("name", ["edm", "vp"])
def test_becomes_exact_with_the_order_of_the_method(name, solver, options, order):
    """The error of gain and offset is C n^-order (1 + O(1/n)): at some hundred steps the slope is within 0.15.

    No method of order 3: its first steps, of order 1 and 2, leave an error of order 2 in all multistep solvers.
    """
    schedule, variances, errors = SCHEDULES[name], np.array([4.0, 0.25, 0.01]), []
    for n in (400, 800):
        t = times(schedule, n)
        found = spectrum(SOLVERS[solver](schedule, t, **options), schedule, variances, "eps", t[-1], mean=1.0)
        errors.append([found.gain / found.exact_gain - 1, found.offset - found.exact_offset])
    slopes = np.log2(np.abs(np.divide(*errors)))
    np.testing.assert_allclose(slopes, order, rtol=0, atol=0.15)
    np.testing.assert_allclose(
        found.exact_deviation**2, schedule.alpha(t[-1]) ** 2 * variances + schedule.sigma(t[-1]) ** 2
    )


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(
    ("options", "most", "fall"),
    [({"published": True}, 1e-2, 4), ({"interpolation": "linear"}, 1e-2, 4), ({}, 1e-4, 16)],
)
def test_v3_with_ideal_statistics_is_exact_up_to_its_integrals(order, options, most, fall):
    """In the basis of the Gaussian: 5 steps, an error that falls by `fall` with every doubling of 120 intervals."""
    schedule, errors = EDM(), []
    mixture, mean = gaussian(np.eye(DIM))
    t = times(schedule, 5)
    for intervals in (120, 240, 480):
        ems = gaussian_ems(mixture, np.linspace(*schedule.lam(t[[0, -1]]), intervals + 1))
        table = SOLVERS["dpm_v3"](schedule, t, ems=ems, order=order, **options)
        found = spectrum(table, schedule, VARIANCES, "eps", t[-1], mean)
        errors.append(max(np.abs(found.error).max(), np.abs(found.offset - found.exact_offset).max()))
    assert errors[0] < most
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), fall, rtol=0.05)


def test_noise_of_a_stochastic_table():
    """Variance at the end by Monte Carlo through the engine, within 6 standard errors."""
    schedule, t = VP(), times(VP(), 5)
    table = SOLVERS["unipc"](schedule, t, prediction="x0", order=2)._replace(s=np.array([0.5, 0.1, 0.3, 0.05, 0.2]))
    mixture, mean = gaussian(np.eye(DIM))
    found = spectrum(table, schedule, VARIANCES, "x0", t[-1], mean)
    silent = spectrum(table._replace(s=None), schedule, VARIANCES, "x0", t[-1], mean)
    np.testing.assert_array_equal(found.gain, silent.gain)
    np.testing.assert_array_equal(found.offset, silent.offset)
    keys = jax.random.split(jax.random.key(0), 20_000)
    run = jax.jit(
        jax.vmap(lambda key: sample(denoiser(mixture, schedule), table.astype(np.float32), jnp.zeros(DIM), key)[0])
    )
    ends = np.asarray(run(keys), np.float64)
    assert within_six_errors(ends, found.offset)
    assert within_six_errors((ends - found.offset) ** 2, found.noise)
    np.testing.assert_allclose(found.deviation**2, silent.deviation**2 + found.noise)


def test_errors_say_what_to_do():
    t = times(EDM(), 5)
    table = SOLVERS["ddim"](EDM(), t)
    with pytest.raises(ValueError, match="variances must be >= 0"):
        spectrum(table, EDM(), [-1.0, 1.0], "eps", t[-1])
    with pytest.raises(ValueError, match="leave those modes out"):
        spectrum(table, EDM(), [0.0, 1.0], "eps", 0.0)
    ems = gaussian_ems(gaussian(np.eye(DIM))[0], np.linspace(-5, 7, 9))
    with pytest.raises(ValueError, match=r"modes of shape \(5,\) \(column p\), the variances have shape \(2,\)"):
        spectrum(SOLVERS["dpm_v3"](EDM(), t, ems=ems), EDM(), [0.5, 1.0], "eps", t[-1])


@pytest.fixture
def small():
    config = config_file.get_config("smoke")
    config.nfe = (5, 6)
    return config


def curve_of(config, *args):
    tables = build.make_tables(config, build.schedule(config), modes.PREDICTION, guided=False)
    return modes.curve(tables, *args, config.ems.nodes)


@pytest.mark.parametrize("schedule", ["edm", "vp"])
def test_the_experiment_leaves_its_files(small, schedule, tmp_path, capsys):
    small.schedule.name = schedule
    main.run_experiment(small, tmp_path)
    names = {".lock", "config.json", "results.csv", "results.json", "spectrum.png"}
    assert {p.name for p in tmp_path.iterdir()} == names
    assert np.ptp(image.imread(tmp_path / "spectrum.png")[..., :3]) > 0.5
    found = json.loads((tmp_path / "results.json").read_text())
    labels = [label for label, _ in small.benchmark.solvers]
    assert [(row["solver"], row["nfe"]) for row in found["rows"]] == [(label, n) for n in (5, 6) for label in labels]
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert tuple(rows[0]) == experiment.COLUMNS and len(rows) == 2 * len(labels) * 13
    curves = {(c["solver"], c["nfe"]): c for c in found["curves"]}
    for row in found["rows"]:
        assert abs(row["worst"]) == np.abs(curves[row["solver"], row["nfe"]]["error"]).max()
        assert row["data"] < abs(row["worst"]) + 1e-12
    error = {row["solver"]: abs(row["worst"]) for row in found["rows"] if row["nfe"] == 6}
    assert error["DPM-Solver-v3 per mode"] < 1e-2 < min(value for label, value in error.items() if "mode" not in label)
    assert "worst" in capsys.readouterr().out


def test_the_average_over_the_data_is_that_at_its_eigenvalues(small):
    """Interpolated between 200 variances, against the spectrum at the eigenvalues themselves."""
    eigenvalues = experiment.data_eigenvalues(small.reference)
    assert eigenvalues.shape == (784,) and np.all(np.diff(eigenvalues) <= 0)
    found = curve_of(small, {"name": "unipc"}, 6, np.geomspace(1e-6, 1e2, 200), eigenvalues)
    schedule, t = EDM(), GRIDS["lam_uniform"](EDM(), 6)
    exact = spectrum(SOLVERS["unipc"](schedule, t), schedule, eigenvalues, "eps", t[-1]).error
    wanted = np.sqrt((eigenvalues * exact**2).sum() / eigenvalues.sum())
    np.testing.assert_allclose(modes.summary(found, eigenvalues)["data"], wanted, rtol=1e-2)


def test_the_statistics_of_pixels_are_those_of_a_stationary_gaussian():
    """A Hadamard basis shares every mode equally among the pixels."""
    variances, lam = np.array([4.0, 1.0, 0.3, 0.01]), np.linspace(-4, 5, 21)
    two = np.array([[1, 1], [1, -1]])
    basis = np.kron(two, two) / 2
    whole = gaussian_ems(Mixture(np.ones(1), np.zeros((1, 4)), basis[None], variances[None], np.zeros(1), (4,)), lam)
    one = modes.ems_of_pixels(np.ones(7), variances, lam)
    assert one.l.shape == one.s.shape == one.b.shape == (21,)
    for pixels, pixel in zip(whole[1:4], one[1:4], strict=True):
        np.testing.assert_allclose(pixels, np.broadcast_to(pixel[:, None], (21, 4)), rtol=1e-12, atol=1e-15)


def test_tables_that_go_on_to_zero_are_compared_there(small):
    """Heun's of an odd number: the Gaussian's exact deviation at sigma = 0 is the root of its variance."""
    options, variances = {"name": "edm_heun", "grid": {"name": "karras"}}, np.array([0.25, 4.0])
    for nfe, end in ((35, 0.0), (36, 0.002)):
        found = curve_of(small, options, nfe, variances, np.zeros(0))
        np.testing.assert_allclose(found.exact_deviation, np.sqrt(variances + end**2), rtol=1e-14)


def test_mistakes_are_config_errors(small):
    with pytest.raises(errors.ConfigError, match="known are pixels, modes"):
        curve_of(small, {"name": "dpm_v3", "ems": "mode"}, 6, np.ones(2), np.zeros(0))


@pytest.mark.parametrize("variant", ["", "smoke"])
def test_the_config_builds(variant):
    config = config_file.get_config(variant)
    assert set(config.keys()) == set(default.get_config().keys()) and config.is_locked
    with pytest.raises(ValueError, match="known are smoke"):
        config_file.get_config("smok")
