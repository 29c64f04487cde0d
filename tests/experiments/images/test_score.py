"""Scores of images from anywhere: one code, one number, with its passport; what cannot be compared is refused."""

import json

import numpy as np
import pytest
from PIL import Image

import main
from configs import default
from experiments.data import datasets
from experiments.data.arrays import Dataset
from experiments.data.pixels import to_float
from experiments.images import score
from experiments.metrics import distances as metrics
from experiments.metrics import layouts
from experiments.metrics.passport import MEASURE
from experiments.metrics.spaces import Space
from experiments.support.errors import ConfigError
from experiments.support.features import features
from models import classifier, save_params

SHAPE, COUNT = (8, 8, 1), 60
RNG = np.random.default_rng(0)
DATA, IMAGES = RNG.integers(0, 256, (2, COUNT, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A feature network, a data set as .npz, images as PNG files, and the data's statistics."""
    folder = tmp_path_factory.mktemp("score")
    network = {"channels": 4, "features": 6, "classes": 3}
    params = classifier.init(classifier.Classifier(**network), 0, SHAPE)
    save_params(folder / "classifier.npz", params, {"network": {"name": "classifier", **network}})
    np.savez(folder / "data.npz", images=DATA)
    (folder / "images").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(folder / f"images/{number:03d}.png")
    run(folder, "reference", folder / "reference", images=folder / "data.npz", **{"score.layout": "pool_3"})
    return folder


def run(folder, experiment, workdir, **changes):
    config = default.get_config()
    config.experiment, config.classifier = experiment, str(folder / "classifier.npz")
    config.score.batch, config.sample.block = 16, 25
    changes = {key: str(value) if key in ("images", "reference") else value for key, value in changes.items()}
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    main.run_experiment(config, workdir)
    path = workdir / "results.json"
    return json.loads(path.read_text())["rows"] if path.exists() else None


def scored(folder, workdir, **changes):
    reference = folder / "reference/reference.npz"
    return run(folder, "score", workdir, **{"images": folder / "images", "reference": reference} | changes)


def rows_of(folder, images):
    return features(Space("classifier", *classifier.load(folder / "classifier.npz")), images).astype(np.float64)


def test_the_number_is_that_of_all_features_at_once(folder, tmp_path, capsys):
    """float32 features of other batches differ in their last bits: 1e-4, as for a run of `sample`."""
    (row,) = scored(folder, tmp_path)
    x, y = rows_of(folder, DATA), rows_of(folder, IMAGES)
    expected = metrics.frechet(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    assert row["frechet"] == pytest.approx(expected, rel=1e-4) and row["frechet_se"] > 0
    parts = np.array_split(np.arange(COUNT), 10)
    rest = [np.delete(y, part, axis=0) for part in parts]
    left = [metrics.frechet(x.mean(0), np.cov(x.T), z.mean(0), np.cov(z.T)) for z in rest]
    assert row["frechet_se"] == pytest.approx(np.sqrt(9 / 10 * np.sum((left - np.mean(left)) ** 2)), rel=1e-2)
    assert set(row["passport"]) == {*MEASURE, "table", "ems"}
    assert row["passport"]["uint8"] == "uint8 as stored (PNG)" and row["passport"]["indices"] == f"0 to {COUNT - 1}"
    printed = capsys.readouterr().out
    assert "NOT the Inception FID" in printed and "biased upwards" in printed and "passport" in printed


def test_a_killed_run_goes_on_with_what_it_has(folder, tmp_path):
    """Two of three blocks are lost: the others are not taken again, and the number is the same."""
    (before,) = scored(folder, tmp_path)
    lost = sorted(tmp_path.glob("features-0/samples/*.npz"))
    assert [path.stem for path in lost] == ["000000-000024", "000025-000049", "000050-000059"]
    kept = lost.pop(1).stat().st_mtime_ns
    for path in lost:
        path.unlink()
    (after,) = scored(folder, tmp_path)
    assert after["frechet"] == pytest.approx(before["frechet"], rel=1e-4)
    assert (tmp_path / "features-0/samples/000025-000049.npz").stat().st_mtime_ns == kept


def test_every_metric_that_is_asked_for(folder, tmp_path):
    wanted = ("kid,precision_recall,sliced_wasserstein", "rmse")
    more = {"score.metrics": wanted, "score.solution": str(folder / "data.npz"), "score.extrapolate": True}
    first, last = scored(folder, tmp_path, **more, **{"sample.scored": 30})
    assert [first["images"], last["images"]] == [30, COUNT]
    x, y = rows_of(folder, DATA), rows_of(folder, IMAGES)
    assert last["kid"] == pytest.approx(metrics.kid(y, x)[0], rel=1e-3, abs=1e-6)
    assert (last["precision"], last["recall"]) == metrics.precision_recall(x, y)
    assert last["sliced_wasserstein"] == pytest.approx(metrics.sliced_wasserstein(y, x), rel=1e-4)
    difference = to_float(IMAGES).astype(np.float64) - to_float(DATA)
    assert last["rmse_to_solution"] == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-12)
    assert first["rmse_to_solution"] == pytest.approx(np.sqrt(np.mean(difference[:30] ** 2)), rel=1e-12)
    assert last["extrapolated"] < last["frechet"]
    header, *lines = (tmp_path / "results.csv").read_text().splitlines()
    assert "frechet [2]" in header and "kid [2]" in header and len(lines) == 2


def test_without_images_the_reference_is_of_the_training_set(folder, tmp_path, monkeypatch):
    """Of any data set that has a loader, with its rule for uint8 in the note."""
    labels = np.zeros(COUNT, np.int64)
    toy = Dataset(DATA, labels, IMAGES, labels, 1, "uint8 of a toy")
    monkeypatch.setitem(datasets.DATASETS, "toy", lambda path: toy)
    run(folder, "reference", tmp_path, **{"data.name": "toy"})
    made, expected = (layouts.read(place / "reference.npz") for place in (tmp_path, folder / "reference"))
    np.testing.assert_allclose(made.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(made.covariance, expected.covariance, rtol=1e-4, atol=1e-6)
    assert made.count == COUNT and made.about["uint8"] == "uint8 of a toy"


@pytest.mark.parametrize("layout", ["mu, sigma", "edm2"])
def test_a_reference_in_any_layout_gives_the_same_number(layout, folder, tmp_path):
    """As Inception's alone has spatial features, their layouts are in tests/test_statistics.py."""
    run(folder, "reference", tmp_path / "made", images=folder / "data.npz", **{"score.layout": layout})
    (path,) = (tmp_path / "made").glob("reference.*")
    (expected,) = scored(folder, tmp_path / "expected")
    (row,) = scored(folder, tmp_path / "row", reference=path)
    assert row["frechet"] == pytest.approx(expected["frechet"], rel=1e-4)


def test_a_reference_in_other_features_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="is of other features: features classifier .*, here pixels"):
        scored(folder, tmp_path, features="pixels")
    run(folder, "reference", tmp_path / "made", images=folder / "data.npz", features="pixels")
    (row,) = scored(folder, tmp_path / "row", features="pixels", reference=tmp_path / "made/reference.npz")
    x, y = (to_float(images).reshape(COUNT, -1).astype(np.float64) for images in (DATA, IMAGES))
    assert row["frechet"] == pytest.approx(metrics.frechet(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T)), rel=1e-6)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images": ""}, "`score` needs images"),
        ({"reference": ""}, "compares with a reference: name its file"),
        ({"score.metrics": "fidelity"}, "unknown metric of score.metrics 'fidelity': known are inception_score, kid"),
        ({"score.metrics": "inception_score"}, "is of Inception's classes, not of classifier"),
        ({"score.metrics": "rmse"}, "name its images in score.solution"),
        ({"features": "vgg"}, "unknown features 'vgg'"),
    ],
)
def test_what_cannot_be_scored_is_named(changes, message, folder, tmp_path):
    with pytest.raises(ConfigError, match=message):
        scored(folder, tmp_path, **changes)


def test_images_and_references_of_few(folder, tmp_path):
    """One image has no covariance; constant images have one of zeros; float images are not rounded here."""
    for name, images in {"one": IMAGES[:1], "same": np.repeat(IMAGES[:1], 5, axis=0), "floats": IMAGES / 255}.items():
        np.savez(tmp_path / f"{name}.npz", images=images)
    (row,) = scored(folder, tmp_path / "1", images=tmp_path / "one.npz")
    assert row["frechet"] is None and row["images"] == 1
    (row,) = scored(folder, tmp_path / "2", images=tmp_path / "same.npz")
    x, y = rows_of(folder, DATA), rows_of(folder, IMAGES[:1])[0]
    expected = np.square(x.mean(0) - y).sum() + np.trace(np.cov(x.T))
    assert row["frechet"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ConfigError, match="float64.*to_uint8"):
        scored(folder, tmp_path / "3", images=tmp_path / "floats.npz")
    with pytest.raises(ValueError, match="at least 2 images"):
        run(folder, "reference", tmp_path / "4", images=tmp_path / "one.npz")


def test_names_are_split_at_commas():
    assert score.several("a, b") == score.several(("a,b",)) == score.several(("a", "b")) == ["a", "b"]
    assert score.several("") == score.several(()) == []
