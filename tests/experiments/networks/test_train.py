"""Training: it learns, it can be killed at any moment, and it never mixes runs."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import models
from configs import default
from experiments.networks import log as losses
from experiments.networks import loop
from experiments.networks import step as updates
from models import checkpoint
from tests.conftest import CACHE
from tests.experiments.data.test_data import write_set
from tests.helpers.places import ROOT

STEPS = 60


def config_of(folder, **changes):
    c = default.get_config()
    c.experiment = "train"
    c.data.path = str(folder / "data")
    c.model.channels, c.model.blocks, c.model.multipliers = 8, 1, (1,)
    c.train.update(
        {
            "steps": STEPS,
            "batch": 16,
            "warmup": 5,
            "chunk": 5,
            "save_every": 20,
            "snapshots": 4,
            "ema_images": 200,
            "learning_rate": 5e-3,
        }
        | changes
    )
    return c


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set and a finished run on it."""
    folder = tmp_path_factory.mktemp("train")
    write_set(folder / "data", train=64)
    main.run_experiment(config_of(folder), folder / "whole")
    return folder


def test_a_run_can_start_from_the_parameters_of_another(folder):
    more = config_of(folder, init=str(folder / "whole"), steps=6, warmup=1, learning_rate=1e-9, seed=1)
    main.run_experiment(more, folder / "more")
    (params, meta), (start, _) = (models.load_params(folder / name) for name in ("more", "whole"))
    assert meta["images"] == 6 * 16 and meta["images_before"] == STEPS * 16
    # Adam's steps are at most the learning rate: 6e-9 in all, below the round-off of parameters of order 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, start)
    more.model.channels = 16
    with pytest.raises(
        ValueError, match="train.init = .* holds the network .* make the model keys of the config equal"
    ):
        main.run_experiment(more, folder / "another")


def test_the_loss_falls_and_the_run_leaves_its_files(folder):
    rows = losses.read(folder / "whole/metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(STEPS))
    assert rows[-1]["images"] == STEPS * 16 and rows[0]["lr"] == 0 and 0 < rows[-1]["lr"] < 5e-4
    loss = [row["loss"] for row in rows]
    assert 0.5 < loss[0] < 2 and np.mean(loss[-10:]) < 0.95 * np.mean(loss[:5])
    names = {p.name for p in (folder / "whole").iterdir()}
    files = {"config.json", "metrics.jsonl", "loss.png", "params.npz", "results.json"}
    assert names == files | {"checkpoints", "snapshots", ".lock"}
    params, meta = models.load_params(folder / "whole/params.npz")
    assert meta["steps"] == STEPS and meta["images"] == STEPS * 16 and meta["shape"] == [28, 28, 1]
    assert (folder / "whole/loss.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(int(p.name) for p in (folder / "whole/checkpoints").iterdir()) == [40, 60]
    snapshots = sorted((folder / "whole/snapshots").iterdir())
    assert [path.name for path in snapshots] == ["00000000.npz", "00000001.npz", "00000008.npz", "00000060.npz"]
    assert [models.load_params(path)[1]["steps"] for path in snapshots] == [0, 1, 8, 60]
    assert snapshots[-1].read_bytes() == (folder / "whole/params.npz").read_bytes()


def test_killed_and_started_again_it_is_the_same_run(folder):
    workdir, config = folder / "killed", config_of(folder)
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from pathlib import Path\nfrom main import run_experiment\n"
        "from tests.experiments.networks.test_train import config_of\n"
        "run_experiment(config_of(Path(sys.argv[1])), sys.argv[2])\n"
    )
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    at = int(np.random.default_rng().integers(21, 55))
    with (folder / "stderr").open("wb") as errors:  # a pipe that nobody reads would fill up, and stop the process
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), str(workdir)], cwd=ROOT, env=environment, stderr=errors
        )
    while process.poll() is None and len(losses.read(workdir / "metrics.jsonl")) < at:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    error = (folder / "stderr").read_text(errors="replace")
    assert len(losses.read(workdir / "metrics.jsonl")) >= at, error
    (workdir / "checkpoints" / "999.orbax-checkpoint-tmp").mkdir(exist_ok=True)  # a save that was cut short
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')  # and a row
    main.run_experiment(config, workdir)
    for name in ("metrics.jsonl", *(f"snapshots/{step:08d}.npz" for step in (0, 1, 8, 60))):
        assert (workdir / name).read_bytes() == (folder / "whole" / name).read_bytes(), f"{name}: killed at {at}"
    jax.tree.map(
        np.testing.assert_array_equal,
        *(models.load_params(folder / name / "params.npz")[0] for name in ("whole", "killed")),
    )


def test_a_finished_run_restores_its_files_and_refuses_another_config(folder):
    (folder / "whole/params.npz").unlink()
    main.run_experiment(config_of(folder, chunk=7), folder / "whole")  # chunk changes no number
    assert models.load_params(folder / "whole/params.npz")[1]["steps"] == STEPS
    with pytest.raises(ValueError, match=r"train.learning_rate = 0.005 there, 0.01 now.*give another --workdir"):
        main.run_experiment(config_of(folder, learning_rate=0.01), folder / "whole")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves its event loop closed
def test_an_unreadable_checkpoint_is_named(folder, tmp_path):
    like = {"a": jax.numpy.arange(3.0)}
    with checkpoint.manager(tmp_path) as checkpoints:
        checkpoint.save_state(checkpoints, 5, like)
        np.testing.assert_array_equal(checkpoint.restore_state(checkpoints, like)["a"], [0, 1, 2])
        for path in (tmp_path / "5").rglob("*"):
            if path.is_file() and "METADATA" not in path.name:
                path.write_bytes(b"")
        with pytest.raises(ValueError, match=r"5 cannot be restored.*delete that folder"):
            checkpoint.restore_state(checkpoints, like)
    gc.collect()  # Orbax's failed tasks complain when they are collected: here, not in the tests that follow


def test_a_loss_that_is_not_finite_stops_before_the_checkpoint(tmp_path):
    log, saved = losses.Log(tmp_path / "metrics.jsonl", 0), []

    def chunk(state, first, last):
        values = np.where(np.arange(first, last) == 7, np.nan, 1.0)
        return state._replace(step=last), values, np.ones(last - first)

    with pytest.raises(FloatingPointError, match="nan .* at step 7: lower train.learning_rate"):
        loop.fit(
            updates.State({}, {}, (), 0),
            chunk,
            lambda r: (r.start, r.stop),
            loop.ranges(0, 12, 3, {6}),
            SimpleNamespace(
                stops={6},
                rows=lambda r, *v: log.append(r, *v, 4, lambda s: 0 * s),
                stop=lambda state: saved.append(state.step),
            ),
        )
    assert saved == [6] and [row["step"] for row in losses.read(tmp_path / "metrics.jsonl")] == list(range(7))


def test_rows_of_another_run_are_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 0}) + "\n")
    with pytest.raises(ValueError, match="1 rows before step 5"):
        losses.Log(tmp_path / "metrics.jsonl", 5)


def test_chunks_end_at_every_stop():
    assert list(loop.ranges(0, 11, 4, {0, 6})) == [range(0, 4), range(4, 6), range(6, 10), range(10, 11)]
    assert list(loop.ranges(5, 11, 4, {0, 5, 20})) == [range(5, 9), range(9, 11)]
    assert list(loop.ranges(6, 6, 4, {6})) == []


def test_snapshots_are_spaced_logarithmically():
    assert loop.snapshot_steps(1000, 0) == [] and loop.snapshot_steps(1000, 1) == [0]
    assert loop.snapshot_steps(1000, 5) == [0, 1, 10, 100, 1000]
    assert loop.snapshot_steps(4, 20) == [0, 1, 2, 3, 4]  # fewer where they would coincide


class Small(nn.Module):
    """A network that compiles in no time."""

    classes: int = 10

    @nn.compact
    def __call__(self, x, c_noise, labels):
        y = jnp.concatenate([x, jnp.broadcast_to(c_noise[:, None, None, None], x.shape)], axis=-1)
        return nn.Dense(1)(nn.silu(nn.Dense(8)(y) + nn.Embed(self.classes + 1, 8)(labels)[:, None, None]))


def small_update(devices, optimizer="adam"):
    """(update, state, images, labels, mesh) of a tiny network on so many devices."""
    module, mesh = Small(), updates.batch_mesh(devices, 4)
    optimiser, _ = updates.optimizer(optimizer, 1e-3, 1, 10)
    settings = {"batch": 4, "seed": 0, "ema_images": 100, "label_dropout": 0.5, "p_mean": -1.2, "p_std": 1.2}
    update = updates.make_update(module, optimiser, mesh, 0.7, SimpleNamespace(**settings, uniform_share=0.3))
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 1), dtype=np.uint8)
    state = updates.init_state(optimiser, models.init(module, 0, (8, 8, 1)), mesh)
    return update, state, images, np.zeros((3, 4), np.uint8), mesh


def test_scan_loop_and_number_of_devices_agree():
    found = []
    for scan, devices in ((False, 1), (True, 1), (False, 2)):
        update, state, images, labels, mesh = small_update(devices)
        state, loss, norm = updates.make_chunk(update, mesh, scan)(state, images, labels)
        assert int(state.step) == 3
        found.append(np.array([*map(float, loss), *map(float, norm)]))
    # the same samples, levels and noise; sums in another order
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_muon_makes_the_updates_of_matrices_orthogonal():
    """Its first update of a kernel [inputs, outputs] has nearly equal singular values, whatever the gradient's."""
    update, state, images, labels, mesh = small_update(1, "muon")
    before = jax.tree.map(np.array, state.params)  # the update donates the state
    state, *_ = updates.make_chunk(update, mesh, False)(state, images[:2], labels[:2])  # the first has rate 0
    change = np.asarray(state.params["Dense_1"]["kernel"]) - before["Dense_1"]["kernel"]
    assert change.shape == (2, 8)
    singular = np.linalg.svd(change)[1] / (1e-3 * 0.2 * np.sqrt(8))  # rate, consistent_rms, the larger side
    # five Newton-Schulz steps bring every singular value into 0.68 to 1.13 (Jordan et al. 2024)
    assert np.all((0.65 < singular) & (singular < 1.15)), singular


def test_one_collective_per_step():
    """Several at once have stopped a run: simulated devices share a thread pool and waited for each other."""
    update, state, images, labels, _ = small_update(2)
    program = jax.jit(update).lower(state, images[0], labels[0]).compile().as_text()
    assert len(re.findall(r" all-reduce(?:-start)?\(", program)) == 1


def test_the_average_has_edms_half_life():
    ema = {"a": 1.0}
    for step in range(100):
        ema = updates.average(ema, {"a": 0.0}, step, batch=10, half_life=40.0)
    decays = [0.5 ** (10 / min(40.0, 0.05 * 10 * (step + 1))) for step in range(100)]
    np.testing.assert_allclose(ema["a"], np.prod(decays), rtol=1e-3)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="train.warmup = 10 must be below train.steps = 10"):
        updates.optimizer("adam", 1e-3, 10, 10)
    with pytest.raises(ValueError, match="unknown train.optimizer = 'lion': choose one of adam, muon"):
        updates.optimizer("lion", 1e-3, 1, 10)
    with pytest.raises(ValueError, match="train.batch = 5 is not a multiple of train.devices = 2"):
        updates.batch_mesh(2, 5)
    with pytest.raises(ValueError, match="train.devices = 64: there are"):
        updates.batch_mesh(64, 64)
    assert updates.batch_mesh(0, 5).size == 1
