"""Learning dynamics: the numbers of a network known in closed form, resumption, and statements about made-up curves."""

import csv
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import models
from configs import learning as configs
from experiments.data import datasets, pixels
from experiments.structure import course as courses
from experiments.structure import learning
from experiments.structure.explained import KINDS
from experiments.support.errors import ConfigError
from models import checkpoint
from tests.experiments.data.test_data import write_set

SIGMA_DATA = 0.6


def config_of(folder):
    config = configs.get_config("smoke")
    config.data.path, config.learning.run = str(folder / "data"), str(folder / "run")
    return config


def write_snapshot(folder, step, scale):
    """A network whose last layer is `scale` times random: at 0 it is the denoiser of N(0, SIGMA_DATA^2)."""
    network = {"name": "unet", "channels": 8, "blocks": 1, "multipliers": [1], "classes": 10}
    params = jax.tree.map(np.array, models.init(models.build(network), 0, (28, 28, 1)))
    kernel = params["head"]["kernel"]
    kernel[:] = scale * np.random.default_rng(0).normal(size=kernel.shape)
    meta = {"network": network, "sigma_data": SIGMA_DATA, "shape": [28, 28, 1], "images": 16 * step}
    checkpoint.save_params(folder / "run" / "snapshots" / f"{step:08d}.npz", params, meta)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of textured boxes, three snapshots and what the experiment makes of them."""
    folder = tmp_path_factory.mktemp("learning")
    write_set(folder / "data", train=64)
    for step, scale in ((0, 0.0), (3, 0.01), (40, 0.1)):
        write_snapshot(folder, step, scale)
    learning.run(config_of(folder), folder / "out")
    return folder


def test_files(folder):
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"measured", "results.csv", "results.json", "summary.csv", "learning.png"}
    rows = list(csv.DictReader(open(folder / "out/results.csv")))
    assert len(rows) == 3 * 2 * 2 * 4  # snapshots, images, sigmas, closed forms
    assert {(row["step"], row["images_seen"]) for row in rows} == {("0", "0"), ("3", "48"), ("40", "640")}
    summary = list(csv.DictReader(open(folder / "out/summary.csv")))
    assert len(summary) == 2 * 2 * 4 * len(KINDS)


def test_the_first_snapshot_by_brute_force(folder):
    """D = sd^2 / (sd^2 + sigma^2) x beside a Gaussian by its inverse covariance and delta by all distances, float64."""
    train, _, test, *_ = datasets.load("fashion_mnist", folder / "data")
    flat = pixels.to_float(train).reshape(64, -1).astype(np.float64)
    mean, covariance = flat.mean(axis=0), np.cov(flat.T)
    rows = json.loads((folder / "out/results.json").read_text())["rows"]
    found = {(r["split"], r["sigma"], r["name"]): r for r in rows if r["step"] == 0}
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), np.arange(8))
    noise = np.stack([jax.random.normal(key, (28, 28, 1)) for key in keys]).reshape(8, -1)
    for split, images in (("train", train), ("test", test)):
        for sigma in (0.5, 2.0):
            x = pixels.to_float(images[:8]).reshape(8, -1) + sigma * noise.astype(np.float64)
            own = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2) * x
            inverse = np.linalg.inv(covariance + sigma**2 * np.eye(784))
            logits = -((x[:, None] - flat) ** 2).sum(axis=-1) / (2 * sigma**2)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            theirs = {
                "gaussian": mean + (x - mean) @ inverse @ covariance,
                "delta": weights @ flat / weights.sum(axis=1, keepdims=True),
            }
            for name, other in theirs.items():
                missing = ((own - other) ** 2).sum(axis=1)
                for measure, by in (("score", own - x), ("denoiser", own), ("centered", own - mean)):
                    values = 1 - missing / (by**2).sum(axis=1)
                    row = found[split, sigma, name]
                    # float32 denoisers are good to 2e-5 (tests/test_gaussian.py); the smallest |own|/|missing| is 0.3
                    assert row[measure] == pytest.approx(values.mean(), abs=1e-3), (split, sigma, name, measure)
                    assert row[f"{measure}_se"] == pytest.approx(values.std(ddof=1) / np.sqrt(8), abs=1e-3)


def test_only_what_is_new_is_measured(folder, tmp_path, monkeypatch):
    """A run that was done before reads its rows; a new snapshot, or other settings, are measured."""
    folder = Path(shutil.copytree(folder, tmp_path / "copy"))
    before = (folder / "out/results.json").read_text()
    train, labels, *_ = datasets.load("fashion_mnist", folder / "data")
    closed, measure, measured = learning.closed_forms(train, labels, 2, 8), learning.measure, []

    def recorded(problem, closed, points, snapshots, batch):
        measured.append(sorted(snapshots))
        return measure(problem, closed, points, snapshots, batch)

    monkeypatch.setattr(learning, "closed_forms", lambda *others: closed)
    monkeypatch.setattr(learning, "measure", recorded)
    learning.run(config_of(folder), folder / "out")
    assert not measured and (folder / "out/results.json").read_text() == before
    write_snapshot(folder, 100, 0.2)
    (folder / "out/measured/00000003.npz").unlink()
    rows = learning.run(config_of(folder), folder / "out")["rows"]
    assert measured == [[3, 100]]
    # What was measured alone is what was measured together with others.
    assert [row for row in rows if row["step"] < 100] == [pytest.approx(row) for row in json.loads(before)["rows"]]
    write_snapshot(folder, 3, 0.02)
    changed = config_of(folder)
    learning.run(changed, folder / "out")
    changed.sample.seed = 1
    learning.run(changed, folder / "out")
    assert measured[1:] == [[3], [0, 3, 40, 100]]


def test_no_snapshots(tmp_path):
    config = configs.get_config("smoke")
    with pytest.raises(ConfigError, match="learning.run is empty.*train.snapshots"):
        learning.run(config, tmp_path / "out")
    config.learning.run = str(tmp_path)
    with pytest.raises(ConfigError, match="holds 0 snapshots"):
        learning.run(config, tmp_path / "out")


STEPS = [0, 1, 10, 100, 1000]
FIRST = {"gaussian": (-1.0, 0.5, 0.9, 0.898, 0.8), "delta": (-1.0, 0.2, 0.6, 0.85, 0.95)}
LATE = (-1.0, 0.1, 0.2, 0.5, 0.9)


def course(error=0.001, **means):
    """Values of 4 images with these means [T]; what differs between snapshots has the standard error `error`."""
    curves = [means.get(name, LATE) for name in courses.NAMES]
    values = np.broadcast_to(np.transpose(curves)[:, :, None, None, None], (5, 4, len(KINDS), 1, 4)).copy()
    # What all snapshots share, an image's difficulty, is no error of a change; the last one differs by itself.
    values += 0.1 * np.array([-1, -1, 1, 1])
    values[-1] += error * np.sqrt(3) * np.array([-1, 1, -1, 1])
    return courses.Course(STEPS, [16 * step for step in STEPS], [1.0], {"test": values})


def test_curves():
    found = [row for row in courses.curves(course(**FIRST)) if row["kind"] == "score"]
    gaussian, delta = found[0], found[-1]
    assert [gaussian[key] for key in ("start", "peak", "end")] == pytest.approx([-1.0, 0.9, 0.8])
    assert [gaussian[f"step_{key}"] for key in ("90", "95", "99", "peak")] == [10] * 4
    assert gaussian["since_peak"] == pytest.approx(-0.1) and gaussian["since_peak_se"] == pytest.approx(0.001)
    # 0.9 * 0.95 = 0.855 is not reached by 0.85
    assert (delta["step_90"], delta["step_99"], delta["since_peak"], delta["since_peak_se"]) == (1000, 1000, 0, 0)
    assert gaussian["step_above_gaussian"] is None and delta["step_above_gaussian"] == 1000
    never = courses.curves(course(gaussian=FIRST["delta"], delta=FIRST["gaussian"]))[3]
    assert never["name"] == "delta" and never["step_above_gaussian"] is None
    # Nothing explained at all: the best is at the peak, not where the first value exceeds 99 % of a negative one
    bad = courses.curves(course(gaussian=(-4, -3, -1, -2, -2)))[0]
    assert bad["step_99"] == bad["step_peak"] == 10


def test_rows_have_the_error_of_a_mean():
    rows = courses.rows(course(error=0.0, **FIRST))
    assert [row["step"] for row in rows] == STEPS * 4 and rows[2]["images_seen"] == 160
    assert rows[2]["name"] == "gaussian" and rows[2]["score"] == pytest.approx(0.9)
    # 4 values at +- 0.1: variance 0.04 / 3, of the mean a quarter of it
    assert rows[2]["centered_se"] == pytest.approx(0.1 / np.sqrt(3))


@pytest.mark.parametrize(
    "change, held",
    [
        ({}, ("first", "falls", "rises")),
        ({"gaussian": (-1.0, 0.2, 0.6, 0.8, 0.9)}, ()),  # reaches 99 % at the end; after the peak comes nothing
        ({"delta": (0.97, 0.97, 0.97, 0.97, 0.97)}, ("falls",)),
        ({"gaussian": (-1.0, 0.5, 0.9, 0.9, 0.8985)}, ("first", "rises")),  # a fall of 1.5 standard errors
        ({"classes": (0.9, 0.9, 0.9, 0.9, 0.9)}, ("falls", "rises")),
    ],
)
def test_statements(change, held):
    verdicts = courses.verdicts(course(**(FIRST | change)))
    assert len(verdicts) == len(KINDS)
    mine = change.get("gaussian", FIRST["gaussian"])
    for verdict in verdicts:
        assert tuple(name for name in courses.STATEMENTS if verdict[name]) == held
        others = [change.get("delta", FIRST["delta"]), change.get("classes", LATE), LATE]
        overtaken = [s for s in STEPS if any(min(np.subtract(o, mine)[STEPS.index(s) :]) > 0 for o in others)]
        assert verdict["overtaken"] == next(iter(overtaken), None)
    counts = ", ".join(f"{name} {int(name in held)}" for name in courses.STATEMENTS)
    assert f"of 1: {counts}; all three {int(len(held) == 3)}" in courses.text(verdicts)
