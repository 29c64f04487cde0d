"""The look at a network's health sees what it is for: sound models pass, the faults it names are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gaussian
from experiments.build import Network
from experiments.networks import health, looks
from solvers.ems import EMS
from solvers.schedule import EDM

SHAPE = (4, 4, 1)
MOMENTS = gaussian.from_covariances(
    [1.0], np.linspace(-0.5, 0.5, 16).reshape(1, *SHAPE), np.diag(np.geomspace(0.01, 1, 16))[None]
)


def network(wiggle=0.0, trained_to=np.inf):
    """The Gaussian's exact denoiser; with a wiggle in log sigma, or returning x from `trained_to` on."""

    def make(params, label):
        def model(x, t):
            x0 = gaussian.posterior_mean(MOMENTS, x, 1.0, t)
            x0 = x0 + wiggle * jnp.sin(60 * jnp.log(t))
            return jnp.where(t > trained_to, x, x0)

        return model

    return Network(make=make, params=(), shape=SHAPE, classes=0, prediction="x0")


def test_the_order_of_heun_on_a_sound_and_on_a_wiggling_denoiser():
    noise = 80 * np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
    sound = looks.heun_order(network(), EDM(), noise)
    assert sound["intervals"] == list(looks.INTERVALS[:-1])
    assert all(abs(slope - 2) < 0.2 for slope in sound["slopes"]), sound
    assert min(looks.heun_order(network(wiggle=0.05), EDM(), noise)["slopes"]) < 1.5


def test_the_gaussian_part():
    images = np.asarray(gaussian.sample_data(MOMENTS, jax.random.key(0), 16), np.float32)
    for row in looks.gaussian_rows(network(), MOMENTS, images, seed=0):
        # float32 over 16 pixels; at sigma = 80 the posterior mean is a difference of numbers near 80
        assert row["score"] > 1 - 1e-6 and row["denoiser"] > 1 - 1e-6 and row["rmse"] < 1e-4 and row["l"] < 1e-4, row
    untrained = looks.gaussian_rows(network(trained_to=10.0), MOMENTS, images, seed=0)
    assert all((row["l"] > 0.5 and row["rmse"] > 5) == (row["sigma"] > 10) for row in untrained), untrained


def test_statistics_and_the_summary():
    lam, s = np.array([-1.0, 0.0, 1.0]), np.array([[1.0, -7.0], [0.0, 2.0], [0.5, 0.5]])
    rows = looks.s_rows(EMS(lam, s, s, s, {}))
    assert [row["max"] for row in rows] == [7.0, 2.0, 0.5] and rows[0]["rms"] == pytest.approx(5.0)
    text = health.summary({"order": {"slopes": [2.0, 1.9]}, "gaussian": [], "s": rows})
    assert "2.00, 1.90" in text and "at most 5.00" in text and "up to 7.0" in text
