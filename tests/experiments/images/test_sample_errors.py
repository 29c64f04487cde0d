"""The experiment `sample` when something is wrong: the error says what to do, and nothing that is done is lost."""

import errno
import os
import re
from functools import partial
from pathlib import Path

import filelock
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from experiments.build.schedules import build_schedule
from experiments.build.tables import build_table
from experiments.data.blocks import read_images
from experiments.images import case as drawing
from experiments.sampling import draw as runner
from experiments.sampling import failures
from experiments.support import workdir
from experiments.support.errors import ConfigError
from tests.experiments.images.test_sample import COUNT, make, of_labels, small
from tests.experiments.sampling.test_blocks import content
from tests.whole.test_stopped import left_over


@pytest.mark.parametrize("schedule, value", [("edm", jnp.nan), ("vp", jnp.inf)])
def test_samples_that_are_not_finite_are_named_and_the_others_kept(schedule, value, tmp_path, monkeypatch):
    """Sample 21 and 22, from the third and from the fifth of five evaluations on."""
    options = {"schedule.name": schedule, "model.labels": "all"}
    times = build_table(small(**options), {"name": "unipc"}, 5, "x0").t
    third, fifth = (float(np.sqrt(times[n - 1] * times[n])) for n in (2, 4))

    def bad(t, label):
        return ((label == 21) & (t < third)) | ((label == 22) & (t < fifth))

    monkeypatch.setattr(drawing, "build_model", of_labels(COUNT, bad, value))
    lam = build_schedule(small(**options)).lam
    first, second = (f"after evaluation {n} of 5, at sigma / alpha = {np.exp(-lam(times[n - 1])):.4g}" for n in (3, 5))
    with pytest.raises(failures.NotFinite) as error:
        make(tmp_path, **options)
    expected = f"2 samples of a batch of 8 are not finite: number 21 {first}; 22 {second}. "
    assert str(error.value).startswith(expected) and "raise nfe" in str(error.value)
    assert [path.name for path in tmp_path.glob("samples/*")] == ["000000-000015.npz"] and not left_over(tmp_path)
    monkeypatch.setattr(drawing, "build_model", of_labels(COUNT))
    make(tmp_path, **options)
    assert len(read_images(tmp_path)) == COUNT


def out_of_memory_above(most):
    """make_draw, with a device that has room for batches of `most`."""
    make_draw = runner.make_draw

    def make(*arguments):
        draw = make_draw(*arguments)

        def limited(params, jump, table, rows, seed, indices, labels):
            if len(indices) > most:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes.")
            return draw(params, jump, table, rows, seed, indices, labels)

        return limited

    return make


@pytest.mark.parametrize("batch, most, fits", [(40, 39, 20), (40, 9, 6), (16, 4, 4), (64, 2, 2)])
def test_out_of_memory_names_the_batch_that_fits(batch, most, fits, tmp_path, monkeypatch):
    """Halves of the batch, rounded up to as many on both devices; at most the 40 samples that are wanted."""
    with monkeypatch.context() as m, pytest.raises(failures.OutOfMemory) as error:
        m.setattr(runner, "make_draw", out_of_memory_above(most))
        make(tmp_path, **{"sample.batch": batch})
    size = min(batch, COUNT)
    assert str(error.value) == f"out of memory with batches of {size}: {fits} fit, set sample.batch={fits}"
    monkeypatch.setattr(runner, "make_draw", out_of_memory_above(most))
    make(tmp_path, **{"sample.batch": fits})


def test_out_of_memory_in_the_middle_keeps_what_is_done(tmp_path, monkeypatch):
    def crowded(make_draw, *arguments):
        draw = make_draw(*arguments)

        def limited(params, jump, table, rows, seed, indices, labels):
            if len(indices) > 4 and rows and int(indices[0]) >= 24:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes.")
            return draw(params, jump, table, rows, seed, indices, labels)

        return limited

    with monkeypatch.context() as m, pytest.raises(failures.OutOfMemory, match="with batches of 8: 4 fit"):
        m.setattr(runner, "make_draw", partial(crowded, runner.make_draw))
        make(tmp_path)
    assert [path.name for path in tmp_path.glob("samples/*")] == ["000000-000015.npz"] and not left_over(tmp_path)
    make(tmp_path, **{"sample.batch": 4})


def test_memory_that_no_machine_has(tmp_path, monkeypatch):
    """A program with 2^47 bytes of temporaries a sample, in a branch that never runs: the allocation itself fails."""

    def model(params, label):
        def huge(x):
            return jnp.sort(jnp.broadcast_to(x.ravel()[:, None], (16, 1 << 41)) * jnp.arange(1 << 41), axis=1)[:, 0]

        return lambda x, t: jax.lax.cond(t < 0, huge, jnp.ravel, x).reshape(x.shape)

    monkeypatch.setattr(drawing, "build_model", lambda config: of_labels(1)(config)._replace(make=model))
    with pytest.raises(failures.OutOfMemory, match="out of memory with batches of 8, and of 2: use model.dtype=bfloat16"):
        make(tmp_path)


def test_other_errors_of_the_device_are_not_called_memory(tmp_path, monkeypatch):
    def broken(*arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: it is broken")

    monkeypatch.setattr(runner, "make_draw", lambda *arguments: broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL: it is broken"):
        make(tmp_path)


def test_a_workdir_that_cannot_be_one_is_named(tmp_path, monkeypatch):
    """Root may write everywhere but where the system has no files to write."""
    (tmp_path / "file").write_text("mine")
    places = [tmp_path / "file", tmp_path / "file" / "below", "/proc/self/samples", "/sys", "/sys/samples"]
    for place in places:
        with pytest.raises(ConfigError, match=rf"cannot write in {place} \(.+\): give another --workdir"):
            make(Path(place))
    assert (tmp_path / "file").read_text() == "mine"

    def acquire(self):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), self.lock_file)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(ConfigError, match=rf"cannot write in {tmp_path} \(Read-only file system\)"):
        make(tmp_path)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("sample.devices", -1, "sample.devices = -1: there are 2 devices, choose 1 to 2"),
        ("cpu_devices", -1, "cpu_devices must be 1 to "),
        ("sample.keep", "jpg", "sample.keep must be one of npz, png, none, got 'jpg'"),
        ("sample.batch", 0, "sample.batch must be at least 1, got 0"),
        ("sample.block", -1, "sample.block must be at least 1, got -1"),
        ("mixture.shape", (2,), "sample.keep=png is for images of 1 or 3 channels, samples are (2,): set it to npz"),
        ("model.labels", "random", "model.labels must be none, all, random, or a class below 0, got 'random'"),
    ],
)
def test_impossible_options_are_named(key, value, expected, tmp_path):
    config = small(**({"sample.keep": "png"} | {key: value}))
    with pytest.raises(ValueError, match=re.escape(expected)):
        main.set_up_jax(config) if key == "cpu_devices" else main.run_experiment(config, tmp_path)
    assert not (tmp_path / "samples").exists()


OTHERS = [
    ("sample.seed", 3, "seed 0 there, 3 here"),
    ("nfe", 6, "nfe 5 there, 6 here"),
    ("solver.name", "ddim", "solver {'name': 'unipc', .* there, {'name': 'ddim', .* here"),
    ("solver.order", 2, "solver {.*} there, {.*'order': 2.*} here"),
    ("grid.rho", 5.0, "grid {.*'rho': 7.0.*} there, {.*'rho': 5.0.*} here"),
    ("grid.name", "karras", "grid {.*'lam_uniform'.*} there, {.*'karras'.*} here"),
    ("mixture.radius", 0.7, "parameters [0-9a-f]{16} there, [0-9a-f]{16} here"),
    ("schedule.name", "vp", r"schedule EDM\(\) there, VP\(.*\) here"),
    ("model.dtype", "bfloat16", "dtype float32 there, bfloat16 here"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    make(workdir)
    return workdir


@pytest.mark.parametrize("key, value, expected", OTHERS, ids=lambda value: str(value))
def test_another_config_is_refused_and_changes_no_byte(key, value, expected, whole):
    before = content(whole)
    message = f"holds samples of other settings .000000-000015.npz, for one: .*{expected}.*: give another --workdir"
    with pytest.raises(ConfigError, match=message):
        make(whole, **{key: value})
    assert content(whole) == before


def test_another_network_costs_this_one_at_most_statistics_that_are_made_again(tmp_path):
    """Those that a mixture's run with the solver `auto` keeps for the next time, as sums of which they are made."""
    options = {"solver.name": "auto", "mixture.shape": (2,), "nfe": 8}
    make(tmp_path, **options)
    before = content(tmp_path)
    with pytest.raises(ConfigError, match="samples of other settings .*parameters [0-9a-f]{16} there"):
        make(tmp_path, **options, **{"mixture.radius": 0.7})
    assert {name for name, found in before.items() if found != content(tmp_path)[name]} <= {"ems.npz"}
    (row,) = make(tmp_path, **options)
    assert row["images_per_second"] is None  # nothing is drawn again
    assert {name for name, found in before.items() if found != content(tmp_path)[name]} <= {"results.json"}


def test_hidden_files_that_are_not_its_own_are_left(tmp_path):
    """In a run's folder, leftovers of a killed run go; below it may be other runs, and above all other folders."""
    (tmp_path / "below").mkdir()
    own, others = tmp_path / ".results.7.tmp.json", [tmp_path / "below" / ".results.7.tmp.json", tmp_path / ".my.tmpl"]
    for path in (own, *others):
        path.write_text("")
    with workdir.sole_user(tmp_path / "below"), workdir.sole_user(tmp_path):
        assert not own.exists()
        assert others[1].exists(), "a file of someone else"
    others[0].write_text("")
    with workdir.sole_user(tmp_path / "below"):
        pass
    assert not others[0].exists()
