"""Where the points of EMS come from, and statistics without the network."""

from dataclasses import replace

import numpy as np
import pytest

import gaussian
from configs import fashion_mnist, toy_gmm
from configs.sections import Ems
from experiments import build
from experiments.data import datasets, pixels
from experiments.data.arrays import Dataset
from experiments.ems import find
from experiments.ems.points import closed_form, draw_points, rule_of
from experiments.sampling import Sampler
from experiments.support.errors import ConfigError
from solvers.ems import EMS
from solvers.schedule import EDM


def small(**changes):
    config = toy_gmm.get_config("smoke")
    config.ems.update({"nodes": 6, "points": 24, "batch": 8} | changes)
    return config


def parts(config):
    """The problem, and the section `ems`."""
    return build.problem(config), build.settings(config.ems, Ems)


def test_guided_models_have_points_on_their_trajectories():
    config = small()
    assert rule_of(*parts(config)) == "noised"
    problem, own = parts(config)
    assert rule_of(replace(problem, guided=True), own) == "trajectory"
    with pytest.raises(ConfigError, match="unknown ems.rule 'data': known are auto, noised, samples, trajectory"):
        rule_of(*parts(small(rule="data")))


def test_points_of_each_rule(tmp_path):
    """Those of trajectories have the first level's noise, 80; samples of the model are distributed as its data."""
    found = {}
    for rule in ("noised", "samples", "trajectory"):
        config = small(rule=rule, points=400)
        found[rule] = draw_points(*parts(config), tmp_path)[0]
        assert found[rule].shape == (400, 2) and found[rule].dtype == np.float32
    assert abs(found["trajectory"].std() / 80 - 1) < 6 / (2 * 800) ** 0.5
    spread = found["noised"].std(axis=0) / 400**0.5
    assert np.all(np.abs(found["samples"].mean(axis=0) - found["noised"].mean(axis=0)) < 6 * 2**0.5 * spread)


def test_samples_are_drawn_once(tmp_path, monkeypatch, capsys):
    config = small(rule="samples")
    again = lambda: draw_points(*parts(config), tmp_path)[0]  # noqa: E731
    first, drawn, collect = again(), [], Sampler.collect
    monkeypatch.setattr(Sampler, "collect", lambda *a, **k: drawn.append(1) or collect(*a, **k))
    np.testing.assert_array_equal(again(), first)
    assert not drawn
    path = tmp_path / "points.npz"
    path.write_bytes(path.read_bytes()[:200])
    np.testing.assert_array_equal(again(), first)
    assert drawn == [1] and "points.npz is not a whole .npz file" in capsys.readouterr().out
    config.ems.seed = 2
    assert np.abs(again() - first).max() > 0.01 and drawn == [1, 1]


@pytest.mark.parametrize("key, least", [("points", 3), ("nodes", 2), ("batch", 1), ("shard", 1), ("block", 1)])
def test_sizes_have_bounds(key, least):
    config = small(**{key: least - 1})
    with pytest.raises(ConfigError, match=f"ems.{key} must be (at least|from) {least}.*, got {least - 1}: "):
        parts(config)


def test_closed_forms_are_those_of_the_class(monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 28, 28, 1), np.uint8), np.arange(60) % 3
    monkeypatch.setattr(datasets, "load", lambda *_: Dataset(images, labels, None, None, 3))
    config = fashion_mnist.get_config("smoke")
    network = closed_form(build.problem(config))
    one = gaussian.fit_gaussian(pixels.to_float(images[labels == 2]))
    x = rng.normal(size=(28, 28, 1)).astype(np.float32)
    expected = gaussian.denoiser(one, EDM())(x, 0.7)
    # float32 sums over 784 pixels
    np.testing.assert_allclose(network.make(network.params, 2)(x, 0.7), expected, atol=1e-4)
    config.guidance.scale = 2.0
    with pytest.raises(ConfigError, match="without guidance"):
        closed_form(build.problem(config))


def test_closed_forms_above_a_level():
    lam, values = np.array([-2.0, 0.0, 1.0, 3.0]), np.zeros((3, 4, 2))
    got = find.joined(EMS(lam, *(values + 1), {"of": "high"}), EMS(lam, *values, {"of": "low"}), sigma=0.5)
    for x in got[1:4]:  # sigma = e^-lam: 7.4, 1, 0.37, 0.05
        np.testing.assert_array_equal(x[:, 0], [1, 1, 0, 0])
    assert got.meta == {"of": "low"}
