"""The experiment `sample`: what it leaves, and how it goes on from what is there."""

import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import main
import models
from configs import toy_gmm
from experiments import build
from experiments.build import Network
from experiments.data import blocks
from experiments.data.blocks import read_images
from experiments.metrics.moments import moments
from experiments.sampling import Blocks, draw, sampler
from experiments.support.errors import ConfigError
from experiments.support.features import features
from models import classifier
from solvers import npz
from tests.experiments.sampling.test_blocks import content

COUNT, BLOCK, IMAGE = 40, 16, (4, 4, 1)
LEFT = {"config.json", "grid.png", "results.json", "samples", "statistics.npz", ".lock"}


def small(**overrides):
    """40 samples of a mixture of small images, by UniPC, which needs no statistics: a quarter of a second."""
    config = toy_gmm.get_config("smoke")
    fixed = {"experiment": "sample", "nfe": 5, "solver.name": "unipc", "mixture.shape": IMAGE}
    fixed |= {"sample.count": COUNT, "sample.batch": 8, "sample.block": BLOCK}
    with config.ignore_type():
        config.update_from_flattened_dict(fixed | overrides)
    return config


def make(workdir, **overrides) -> list[dict]:
    """The rows of results.json."""
    main.run_experiment(small(**overrides), workdir)
    return json.loads((workdir / "results.json").read_text())["rows"]


def assert_same_images(images, expected):
    """float32 sums in another order move a value by 1e-6 of its range, which may pass the edge between two levels."""
    assert images.shape == expected.shape
    assert (images != expected).mean() <= 1e-2 and np.abs(images.astype(int) - expected).max() <= 1


@pytest.fixture
def drawn(monkeypatch):
    """A list that gets the indices of each call that draws samples."""
    calls, original = [], sampler.generate

    def generate(draw, params, table, rows, **more):
        if rows:
            calls.append(more["indices"].tolist())
        return original(draw, params, table, rows, **more)

    monkeypatch.setattr(sampler, "generate", generate)
    return calls


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workdir of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole")
    make(workdir)
    return workdir


def make_scoring(folder, shape) -> dict:
    """The options that name a small feature network and moments to compare with."""
    module = classifier.Classifier(channels=4, features=8)
    about = {"name": "classifier", "channels": 4, "features": 8, "classes": 10, "dropout": 0.4}
    models.save_params(folder / "classifier.npz", classifier.init(module, 0, shape), {"network": about})
    npz.write(folder / "reference.npz", {"train_feature_mean": np.zeros(8), "train_feature_cov": np.eye(8)})
    return {"classifier": f"{folder}/classifier.npz", "reference": f"{folder}/reference.npz"}


@pytest.fixture(scope="module")
def scoring(tmp_path_factory):
    return make_scoring(tmp_path_factory.mktemp("scoring"), IMAGE)


def expected_samples(config):
    """The same samples from the network and the table, without blocks and devices."""
    problem = build.problem(config)
    network, table = problem.network, build.method(problem, "unipc", {"name": "unipc"}, 5).runs
    run = draw.make_draw(network.make, network.shape, 80.0)
    indices = np.arange(config.sample.count, dtype=np.int32)
    return np.asarray(run(network.params, None, table, 5, config.sample.seed, indices, indices * 0))


@pytest.mark.parametrize("shape, kind", [((2,), np.float32), (IMAGE, np.uint8)], ids=["points", "images"])
def test_a_run_leaves_samples_statistics_and_a_picture(shape, kind, tmp_path, capsys):
    (row,) = make(tmp_path, **{"mixture.shape": shape})
    printed = capsys.readouterr()
    assert "unipc" in printed.out and str(tmp_path) in printed.out
    assert printed.err == "sample: starts; a line every 30 s says how far it is\n"  # no terminal: no bar
    assert {path.name for path in tmp_path.iterdir()} == LEFT and not list(tmp_path.rglob("*.tmp*"))
    names = ["000000-000015.npz", "000016-000031.npz", "000032-000039.npz"]
    assert sorted(path.name for path in tmp_path.glob("samples/*")) == names
    images = read_images(tmp_path)
    samples = expected_samples(small(**{"mixture.shape": shape}))
    if kind == np.uint8:
        assert_same_images(images, (samples * 127.5 + 128).clip(0, 255).astype(np.uint8))
    else:
        np.testing.assert_allclose(images, samples, rtol=0, atol=1e-5)
    assert images.dtype == kind and [np.load(tmp_path / "samples" / name)["indices"][0] for name in names] == [
        0,
        16,
        32,
    ]
    assert row["images"] == COUNT and row["nfe"] == 5 and "frechet" not in row and row["images_per_second"] > 0
    values = images / 127.5 - 1 if kind == np.uint8 else images.astype(np.float64)
    statistics = np.load(tmp_path / "statistics.npz")
    np.testing.assert_allclose(statistics["pixel_mean"], values.mean(axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(statistics["pixel_variance"], values.var(axis=0, ddof=1), rtol=0, atol=1e-12)
    assert statistics["count"] == COUNT and "mu" not in statistics.files
    assert (tmp_path / "grid.png").stat().st_size > 500


def test_only_what_is_lost_or_damaged_is_drawn_again(whole, tmp_path, drawn, capsys):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "samples" / "000016-000031.npz").unlink()
    damaged = tmp_path / "samples" / "000032-000039.npz"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    make(tmp_path)
    assert drawn == [list(range(16, 40))]
    assert "000032-000039.npz is now" in capsys.readouterr().out
    assert_same_images(read_images(tmp_path), read_images(whole))
    first = "samples/000000-000015.npz"
    assert (tmp_path / first).read_bytes() == (whole / first).read_bytes()
    (tmp_path / "samples" / "000016-000031.npz").unlink()  # a gap with samples on both sides
    make(tmp_path, **{"sample.batch": 5, "sample.devices": 1})
    assert drawn[1:] == [list(range(16, 32))]
    assert_same_images(read_images(tmp_path), read_images(whole))


def test_more_samples_and_other_blocks_later(tmp_path, drawn):
    """What is there stays; blocks end at multiples of sample.block."""
    make(tmp_path, **{"sample.count": 21})
    before = content(tmp_path / "samples")
    rows = make(tmp_path, **{"sample.block": 10, "sample.batch": 16})
    assert drawn == [list(range(21)), list(range(21, 40))] and rows[0]["images"] == 40
    names = ["000000-000015", "000016-000020", "000021-000029", "000030-000039"]
    assert sorted(path.stem for path in tmp_path.glob("samples/*")) == names
    assert before.items() <= content(tmp_path / "samples").items()
    assert make(tmp_path, **{"sample.count": 25})[0]["images"] == 25 and len(drawn) == 2
    assert np.load(tmp_path / "statistics.npz")["count"] == 25
    make(tmp_path / "at once")
    assert_same_images(read_images(tmp_path), read_images(tmp_path / "at once"))


def test_gaps_are_filled_with_blocks_of_neighbours(tmp_path, drawn):
    """Two lost blocks of 4 in what would now be one of 16: samples of a file follow each other."""
    make(tmp_path, **{"sample.block": 4, "sample.count": 16})
    for name in ("000004-000007.npz", "000012-000015.npz"):
        (tmp_path / "samples" / name).unlink()
    make(tmp_path, **{"sample.count": 20})
    assert drawn[1:] == [[*range(4, 8), *range(12, 20)]]
    edges = ["000000-000003", "000004-000007", "000008-000011", "000012-000015", "000016-000019"]
    assert sorted(path.stem for path in tmp_path.glob("samples/*")) == edges
    make(tmp_path / "at once", **{"sample.count": 20})
    assert_same_images(read_images(tmp_path), read_images(tmp_path / "at once"))


def test_asking_again_draws_nothing(tmp_path, drawn):
    make(tmp_path)
    before = content(tmp_path)
    (row,) = make(tmp_path)
    changed = {name for name, found in content(tmp_path).items() if before.pop(name) != found}
    assert changed == {"results.json"} and not before  # whose time is now none
    assert len(drawn) == 1 and row["seconds"] is None and row["images_per_second"] is None


def test_first_parts_score_as_runs_of_so_many(tmp_path, scoring):
    """Float32 features that differ by 1e-6 of their size in another batch, of which distances are sums."""
    scored = (12, 16, 33)
    rows = make(tmp_path / "all", **scoring, **{"sample.scored": scored})
    assert [row["images"] for row in rows] == [12, 16, 33, COUNT]
    for count, row in zip((*scored, COUNT), rows):
        (alone,) = make(tmp_path / f"{count}", **scoring, **{"sample.count": count})
        assert row["frechet"] == pytest.approx(alone["frechet"], rel=1e-4) and row["frechet"] > 0
    frechet = build.frechet(small(**scoring))
    found = features(frechet.space, read_images(tmp_path / "all"))
    assert rows[-1]["frechet"] == pytest.approx(frechet.of_rows(found)["frechet"], rel=1e-4)
    mean, covariance = moments(found)
    statistics = np.load(tmp_path / "all" / "statistics.npz")
    np.testing.assert_allclose(statistics["mu"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics["sigma"], covariance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scored", [(0,), (41,), (-3, 5)], ids=str)
def test_impossible_parts_are_named(scored, tmp_path):
    with pytest.raises(
        ConfigError, match=r"sample.scored must be (numbers, at least 1|at most sample.count = 40), got "
    ):
        make(tmp_path, **{"sample.scored": scored})


@pytest.mark.parametrize("keep", ["png", "none"])
def test_other_forms_of_keeping_end_with_the_same_numbers(keep, whole, tmp_path, scoring, drawn, monkeypatch):
    monkeypatch.setattr(blocks, "SHOWN", 20)
    options = scoring | {"sample.scored": 25}
    expected = make(tmp_path / "npz", **options)
    got = make(tmp_path / keep, **options, **{"sample.keep": keep})
    for a, b in zip(got, expected, strict=True):
        assert a["images"] == b["images"] and a["frechet"] == pytest.approx(b["frechet"], rel=1e-4)
    a, b = (np.load(tmp_path / name / "statistics.npz") for name in (keep, "npz"))
    one_level = 1 / 127.5 / COUNT  # of one sample
    np.testing.assert_allclose(a["pixel_mean"], b["pixel_mean"], rtol=0, atol=one_level)
    if keep == "none":
        with pytest.raises(ValueError, match="without keeping its images"):
            read_images(tmp_path / keep)
        there = Blocks(tmp_path / keep, settings_in(tmp_path / keep), IMAGE, keep)
        assert sum(len(block.images) for block in there) == 20
    else:
        assert len(list((tmp_path / keep / "images").rglob("*.png"))) == COUNT
        assert_same_images(read_images(tmp_path / keep), read_images(whole))
        blocks.png_path(tmp_path / keep, 17).unlink()
        make(tmp_path / keep, **options, **{"sample.keep": keep})
        assert drawn[2:] == [list(range(16, 32))]
        assert_same_images(read_images(tmp_path / keep), read_images(whole))


def settings_in(workdir) -> dict:
    return json.loads((workdir / "results.json").read_text())["settings"]


def test_random_labels_are_uniform_and_of_the_index_alone():
    """Chi-square of 9 degrees of freedom, passed by one seed in a million; independent of the noise by their stream."""
    problem = with_network(build.problem(small(**{"model.labels": "random", "sample.seed": 5})), classes=10)
    labels = problem.labels(np.arange(20_000))
    counts = np.bincount(labels, minlength=10)
    chi_square = np.square(counts - 2000).sum() / 2000
    assert len(counts) == 10 and chi_square < scipy.stats.chi2.isf(1e-6, 9)
    assert chi_square > scipy.stats.chi2.ppf(1e-6, 9)  # nor are they dealt out
    chosen = np.array([19_999, 3, 3, 700])
    np.testing.assert_array_equal(problem.labels(chosen), labels[chosen])
    np.testing.assert_array_equal(problem.labels(np.arange(7)), labels[:7])
    for index in (0, 11):
        key = jax.random.fold_in(jax.random.key(5), index)
        assert labels[index] == jax.random.randint(jax.random.fold_in(key, 1), (), 0, 10)
    # another seed agrees by chance: a tenth, with six standard deviations of 20,000
    agree = (problem.labels(np.arange(20_000), seed=6) == labels).mean()
    assert abs(agree - 0.1) < 6 * np.sqrt(0.1 * 0.9 / 20_000)


def with_network(problem, **changes):
    """The problem with another network, of which these fields differ."""
    return replace(problem, network=problem.network._replace(**changes))


def of_labels(classes, bad=lambda t, label: False, value=jnp.nan):
    """build.problem, with a network whose data are grey images, one level per label; where `bad`, it gives `value`."""

    def make(params, label):
        return lambda x, t: jnp.where(bad(t, label), value, jnp.full_like(x, label / classes - 0.5))

    network = Network((), make, "x0", IMAGE, classes)
    return lambda config, original=build.problem: replace(original(config), network=network)


@pytest.mark.parametrize("rule", ["all", "random", "none", "3"])
def test_images_are_of_the_labels_beside_them(rule, tmp_path, monkeypatch):
    """Of the last evaluation x0 is what is left, but for the noise of sigma = 0.002."""
    monkeypatch.setattr(build, "problem", of_labels(10))
    make(tmp_path, **{"model.labels": rule})
    found = list(Blocks(tmp_path, settings_in(tmp_path), IMAGE))
    labels = np.concatenate([block.labels for block in found])
    level = (labels / 10 - 0.5) * 127.5 + 128
    assert np.abs(read_images(tmp_path) - level[:, None, None, None]).max() <= 1 + 6 * 0.002 * 127.5
    expected = {"all": np.arange(COUNT) % 10, "none": np.full(COUNT, 10), "3": np.full(COUNT, 3)}
    if rule == "random":
        assert set(labels) <= set(range(10)) and len(set(labels)) > 5
    else:
        assert labels.tolist() == expected[rule].tolist()
    with pytest.raises(ConfigError, match=f"labels {rule} there, 4 here"):
        make(tmp_path, **{"model.labels": "4"})
