"""The experiment score_analysis on networks that are closed forms themselves, so that what they explain is known."""

import csv
import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gaussian
from configs import score_analysis as config_file
from experiments import build
from experiments.build import Network
from experiments.data import datasets
from experiments.data.arrays import Dataset
from experiments.structure import analysis as score_analysis
from experiments.structure import explained, summary
from experiments.support.errors import ConfigError
from experiments.support.mesh import make_mesh, place
from gaussian import analysis
from solvers.schedule import EDM, VP

SHAPE, SIGMAS = (4, 4, 1), (0.1, 1.0, 10.0)
VE = EDM()


@pytest.fixture(scope="module")
def images():
    """Correlated uint8 images of three classes."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(16, 16)) / 4
    x = np.clip(127.5 + 60 * rng.normal(size=(120, 16)) @ mix, 0, 255).astype(np.uint8).reshape(-1, *SHAPE)
    labels = (np.arange(120) % 3).astype(np.uint8)
    return Dataset(x[:90], labels[:90], x[90:], labels[90:], 3)


def floats(images):
    return images.astype(np.float32) / np.float32(127.5) - 1


def network_of(mixture, schedule=VE, prediction="x0"):
    make = {"x0": gaussian.denoiser, "score": gaussian.score}[prediction]
    return Network(mixture, lambda mixture, label: make(mixture, schedule), prediction, SHAPE, 0)


def rows_of(network, forms, x, schedule=VE, *, seed=0, batch=64, mean=None):
    """What mixtures {name: mixture} explain of the network at noised images x, a row per form and sigma."""
    points = explained.make_points(x, SIGMAS, schedule, seed)
    run = partial(explained.outputs, points=points, batch=batch)
    mine = run(explained.network_function(network, schedule), network.params)
    form = explained.closed_form(gaussian.posterior_mean)
    whole, rows = explained.squares(points, mine, mean), []
    for name, mixture in forms.items():
        rows += explained.compare(points, mine, run(form, mixture), name, whole)
    return rows


def test_rows_are_the_definition(images):
    """Against float64 numpy on the same points."""
    x = floats(images[0])
    one, iso = gaussian.fit_gaussian(x), gaussian.isotropic(gaussian.fit_gaussian(x))
    rows = rows_of(network_of(one), {"iso": iso}, x[:7], seed=3, batch=4, mean=x.mean(axis=0))
    for row, sigma in zip(rows, SIGMAS, strict=True):
        noise = [jax.random.normal(jax.random.fold_in(jax.random.key(3), i), SHAPE) for i in range(7)]
        noised = (x[:7] + sigma * np.stack(noise)).astype(np.float64)
        flat, mean = noised.reshape(7, 16), one.means[0]
        covariance = (one.basis[0] * one.variances[0]) @ one.basis[0].T
        mine = mean + (flat - mean) @ np.linalg.solve(covariance + sigma**2 * np.eye(16), covariance)
        v = np.trace(covariance) / 16
        other = mean + (flat - mean) * v / (v + sigma**2)
        shift = {"score": flat, "denoiser": 0, "centered": x.mean(axis=0).ravel()}
        for kind, origin in shift.items():
            ratios = ((mine - other) ** 2).sum(axis=1) / ((mine - origin) ** 2).sum(axis=1)
            np.testing.assert_allclose(row[kind], 1 - ratios.mean(), atol=1e-4)
            np.testing.assert_allclose(row[f"{kind}_se"], ratios.std(ddof=1) / np.sqrt(7), rtol=1e-3, atol=1e-6)


def test_a_network_is_explained_by_itself(images):
    """Whatever the schedule and what the network predicts; sigma is in units of the image."""
    x = floats(images[0])
    mixture = gaussian.fit_classes(x, images[1])
    for schedule, prediction in ((EDM(), "x0"), (VP(), "x0"), (VP(), "score")):
        forms = {"itself": mixture, "Gaussian": gaussian.fit_gaussian(x)}
        rows = rows_of(network_of(mixture, schedule, prediction), forms, x[:6], schedule)
        own, other = rows[:3], rows[3:]
        assert [row["sigma"] for row in own] == list(SIGMAS)
        for row in own:
            assert all(1 - row[kind] < 1e-5 for kind in explained.KINDS), (schedule, row)
        assert all(row["centered"] < 1 - 1e-4 for row in other[:2])


def test_schedules_agree(images):
    """x of VP is alpha times that of EDM: the shares are the same."""
    x = floats(images[0])
    mixture, forms = gaussian.fit_classes(x, images[1]), {"Gaussian": gaussian.fit_gaussian(x)}
    edm, vp = (rows_of(network_of(mixture, s), forms, x[:6], s) for s in (EDM(), VP()))
    for a, b in zip(edm, vp, strict=True):
        np.testing.assert_allclose([a[kind] for kind in explained.KINDS], [b[k] for k in explained.KINDS], atol=1e-4)


def test_shares_are_those_of_the_pairs(images):
    """The shortcut over the pairs of scores, denoisers, and denoisers from the mean."""
    x, schedule, rng = floats(images[0])[:5], VP(), np.random.default_rng(0)
    points = explained.make_points(x, SIGMAS, schedule)
    noised = explained.outputs(lambda _, x, *others: x, (), points).astype(np.float64)
    mine, theirs, mean = *rng.normal(size=(2, 3, 5, *SHAPE)).astype(np.float32), x.mean(axis=0)
    found = explained.shares(points, mine, theirs, explained.squares(points, mine, mean))
    for row, (alpha, a, b) in enumerate(zip(points.alpha, mine.astype(float), theirs, strict=True)):
        pairs = (alpha * a - noised[row], alpha * b - noised[row]), (a, b), (a - mean, b - mean)
        np.testing.assert_allclose(found[:, row], [analysis.explained(*pair) for pair in pairs], rtol=1e-6, atol=1e-6)


def test_points_do_not_depend_on_the_batch(images):
    x, function = floats(images[0]), explained.closed_form(lambda mixture, x, alpha, sigma: x)
    points, counted = explained.make_points(x[:7], SIGMAS, EDM(), seed=1), []
    wide = explained.outputs(function, (), points, batch=100, progress=counted.append)
    np.testing.assert_array_equal(wide, explained.outputs(function, (), points, batch=2))
    first = explained.make_points(x[:2], SIGMAS, EDM(), seed=1)
    np.testing.assert_array_equal(wide[:, :2], explained.outputs(function, (), first, batch=2))
    assert sum(counted) == 7 * len(SIGMAS)


def test_aligned_arrays_are_not_copied(images):
    """On CPUs: what is placed on all devices is the host's memory."""
    x = explained.aligned(floats(images[0])[:, :3])
    np.testing.assert_array_equal(x, floats(images[0])[:, :3])
    placed = place(make_mesh(), x)
    assert {shard.data.unsafe_buffer_pointer() for shard in placed.addressable_shards} == {x.ctypes.data}


def test_labels_reach_the_network(images):
    network = Network((), lambda params, label: lambda x, t: label + jnp.zeros_like(x), "x0", SHAPE, 5)
    points = explained.make_points(floats(images[0])[:5], (1.0,), EDM())
    run = partial(explained.outputs, explained.network_function(network, EDM()), (), points)
    np.testing.assert_array_equal(run(labels=np.arange(5), batch=2)[0].mean(axis=(1, 2, 3)), np.arange(5))
    assert np.all(run(labels=4) == 4)


@pytest.fixture
def config():
    c = config_file.get_config("smoke")
    c.score_analysis.sigmas, c.score_analysis.images = SIGMAS, 12
    c.score_analysis.ranks, c.score_analysis.components, c.score_analysis.mixture_ranks = (2, 8, 16), (2, 20), (1, 3)
    c.score_analysis.directions = 40
    return c


@pytest.fixture
def on_small_data(monkeypatch, images):
    """The experiment with these images, and the training data as its network."""
    network = network_of(gaussian.delta(floats(images[0])))
    problem = build.problem
    monkeypatch.setitem(datasets.DATASETS, "fashion_mnist", lambda path: images)
    monkeypatch.setattr(build, "problem", lambda *a, **k: replace(problem(*a, **k), network=network))


@pytest.mark.usefixtures("on_small_data")
def test_run(config, tmp_path, monkeypatch, capsys):
    found = score_analysis.run(config, tmp_path)
    rows = {(row["images"], row["name"], row["sigma"]): row for row in found["rows"]}
    for split in ("train", "test"):
        for sigma in SIGMAS:
            of = {name: row for (s, name, level), row in rows.items() if (s, level) == (split, sigma)}
            assert 1 - of["delta"]["centered"] < 1e-4  # the network is it
            full = [of["Gaussian"], of["Gaussian, rank 16"], of["Gaussian, rank 16, no floor"]]
            np.testing.assert_allclose([row["score"] for row in full], full[0]["score"], atol=1e-4)
            assert of["Gaussian + 1e-4"]["score"] == pytest.approx(full[0]["score"], abs=0.02)
        # variance far above sigma^2 is left out
        ranks = [rows[split, f"Gaussian, rank {rank}, no floor", 0.1]["score"] for rank in (2, 8, 16)]
        assert ranks[0] < min(ranks[1:])
    assert {(r["components"], r["rank"]) for r in found["rows"] if r["name"][:7] == "k-means"} == {
        *((2, rank) for rank in (1, 3, 16)),
        *((20, rank) for rank in (1, 2)),
    }
    assert rows["train", "delta", 0.1]["rank"] == 0 and rows["train", "delta", 0.1]["components"] == 90
    assert rows["train", "Gaussian", 0.1]["published_mnist_score"] == 0.7522
    assert rows["test", "Gaussian", 0.1]["published_mnist_score"] is None
    smallest = {(row["images"], row["name"]): row["denoiser"] for row in found["smallest"]}
    assert smallest["train", "delta"] == 0.1
    names = {"results.csv", "results.json", "scores.png", "sweeps.png", "table.png", "parts"}
    assert {path.name for path in tmp_path.iterdir()} == names
    with open(tmp_path / "results.csv") as file:
        assert len(list(csv.DictReader(file))) == len(found["rows"])
    assert "delta at 0.1" in capsys.readouterr().out

    # again: nothing is evaluated; one part lost: that form and the network are
    (tmp_path / "parts" / "delta.npz").unlink()
    evaluated, outputs = [], explained.outputs
    monkeypatch.setattr(explained, "outputs", lambda *a, **k: evaluated.append(a[0]) or outputs(*a, **k))
    again = score_analysis.run(config, tmp_path)
    assert len(evaluated) == 4
    assert again["rows"] == json.loads(json.dumps(found["rows"]))
    score_analysis.run(config, tmp_path)
    assert len(evaluated) == 4
    config.sample.seed = 1
    assert score_analysis.run(config, tmp_path)["rows"] != found["rows"]


@pytest.mark.usefixtures("on_small_data")
def test_other_images_are_refused(config, tmp_path, monkeypatch, images):
    monkeypatch.setitem(datasets.DATASETS, "fashion_mnist", lambda path: images._replace(train=images.train[:, :2]))
    with pytest.raises(ConfigError, match="the network's"):
        score_analysis.run(config, tmp_path)


def test_who_explains_more_needs_two_standard_errors():
    def row(name, sigma, share, error):
        values = {kind: share for kind in explained.KINDS} | {f"{kind}_se": error for kind in explained.KINDS}
        return [{"images": s, "name": name, "family": "main", "sigma": sigma, **values} for s in ("train", "test")]

    rows = row("Gaussian", 1.0, 0.9, 0.03) + row("Gaussian", 2.0, 0.95, 0.01) + row("Gaussian", 3.0, 0.995, 1e-4)
    rows += row("delta", 1.0, 0.81, 0.04) + row("delta", 2.0, 0.90, 0.01) + row("delta", 3.0, 0.999, 1e-4)
    found = summary.summarise(rows, 0.99)
    levels = summary.better(found["gaussian_or_delta"], "test", "score")
    assert levels == {"Gaussian": [2.0], "delta": [3.0], "even": [1.0]}
    assert [row["score"] for row in found["smallest"]] == [3.0] * 4
