"""A run of 2,000 images that is killed again and again ends with the images of one that is left alone."""

import itertools
import json
import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

from experiments import build
from experiments.data import blocks
from experiments.metrics.moments import moments
from experiments.support.features import features
from tests.experiments.images.test_sample import make, make_scoring, small
from tests.whole.test_stopped import begin, finish, left_over, nothing, wait_for

pytestmark = pytest.mark.deep  # by default, test_stopped kills a run once
COUNT, BLOCK, SHAPE, LIVES = 2000, 20, (8, 8, 1), 24  # 20 of them reach their work
PER_BLOCK = 1500  # events of the thread that writes, about
RUN = {"mixture.shape": "(8,8,1)", "nfe": 100, "sample.count": COUNT, "sample.block": BLOCK}  # some 10 ms a block


def killed_in_writing(event):
    """SIGKILL at so manieth call or return, Python's or C's, in the thread that writes blocks."""
    events = itertools.count()

    def watch(frame, kind, argument):
        if next(events) == event:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(watch)


def live(life, rng, workdir, options) -> int:
    """One life of the run, which is ended while it writes (12 of 24), draws (8) or starts (4): its exit code."""
    before = len(list(workdir.glob("samples/*.npz")))
    options = options | {"sample.batch": rng.choice([10, 16, 20, 32]), "sample.devices": rng.choice([1, 2])}
    options["sample.keep"] = "png" if life % 9 in (4, 5) else "npz"  # what is there is written anew in the other form
    prepare = partial(killed_in_writing, rng.integers(5 * PER_BLOCK)) if life % 2 == 0 else nothing
    process, _ = begin(workdir, prepare, **options)
    if life % 6 in (1, 3):
        wait_for(before + rng.integers(1, 9), workdir, process)
        time.sleep(rng.uniform(0, 0.02))
        (process.terminate if life % 12 == 1 else process.kill)()
    elif life % 6 == 5:
        time.sleep(rng.uniform(0.1, 1.0))
        process.kill()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Workdirs of a run that lives LIVES + 1 times, and of one that is not disturbed; the options of both."""
    folder = tmp_path_factory.mktemp("runs")
    options, rng, ends, torn, there = RUN | make_scoring(folder, SHAPE), np.random.default_rng(0), [], 0, set()
    for life in range(LIVES):
        ends.append(live(life, rng, folder / "killed", options))
        before, there = there, {path.name for path in folder.glob("killed/samples/*.npz")}
        assert before <= there, "a finished block was lost"
        assert len(there) < COUNT // BLOCK, "it was done before it was killed often enough"
        left = left_over(folder / "killed")
        assert ends[-1] == -signal.SIGKILL or not left
        torn += len(left) > 0
    assert set(ends) == {-signal.SIGKILL, 128 + signal.SIGTERM} and torn >= 3, (ends, torn)
    code, text = finish(*begin(folder / "killed", nothing, **options))
    assert (code, text) == (0, "")
    make(folder / "whole", **(options | {"mixture.shape": SHAPE, "sample.batch": 64}))
    return folder / "killed", folder / "whole", options


def test_all_samples_are_there_once_and_nothing_else(runs):
    killed, whole, _ = runs
    found = [blocks.read_block(path)[0] for path in sorted(killed.glob("samples/*"))]
    assert np.concatenate([block.indices for block in found]).tolist() == list(range(COUNT))
    assert {path.name for path in killed.iterdir()} - {"images"} == {path.name for path in whole.iterdir()}
    assert not left_over(killed) and not (killed / "set_aside").exists()


def test_images_are_those_of_the_undisturbed_run(runs):
    """Within one level in all but 1e-4 of pixels: float32 sums in another order, as batches and devices differ."""
    images, expected = (blocks.read_images(workdir) for workdir in runs[:2])
    assert images.shape == expected.shape == (COUNT, *SHAPE)
    assert (np.abs(images.astype(int) - expected) > 1).mean() <= 1e-4
    assert (images != expected).mean() <= 1e-3
    for picture in (runs[0] / "images").rglob("*.png"):
        np.testing.assert_array_equal(blocks.read_png(picture), images[int(picture.stem)])


def test_statistics_are_those_of_the_images(runs):
    """To rounding in float64, features to that of float32 networks; so of both runs, whose images are the same."""
    frechet, distances = build.frechet(small(**runs[2] | {"mixture.shape": SHAPE})), []
    for workdir in runs[:2]:
        images, statistics = blocks.read_images(workdir), np.load(workdir / "statistics.npz")
        values = images / 127.5 - 1
        assert statistics["count"] == COUNT
        np.testing.assert_allclose(statistics["pixel_mean"], values.mean(axis=0), rtol=0, atol=1e-12)
        np.testing.assert_allclose(statistics["pixel_variance"], values.var(axis=0, ddof=1), rtol=0, atol=1e-12)
        mean, covariance = moments(features(frechet.space, images))
        np.testing.assert_allclose(statistics["mu"], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(statistics["sigma"], covariance, rtol=1e-4, atol=1e-6)
        distances.append(json.loads((workdir / "results.json").read_text())["rows"][-1]["frechet"])
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)
