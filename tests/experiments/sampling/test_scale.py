"""The same images for any batch, number of devices and number of processes, with the embedded network."""

import os
import signal
import socket
import time
from functools import partial

import jax
import numpy as np
import pytest
from experiments.build.network import build_labels, build_model

import main
import models
from configs import fashion_mnist
from experiments.build.tables import build_table
from experiments.data import blocks
from experiments.data.pixels import to_uint8
from experiments.sampling import draw as runner
from experiments.support.mesh import make_mesh
from gaussian import Mixture, gaussian_ems
from solvers.ems import save_ems
from tests.helpers.places import ROOT
from tests.helpers.processes import CACHE, child, start
from tests.helpers.seeded import weights

COUNT, SCALE = 64, 80.0
CASES = [(batch, devices) for batch in (1, 16, 64) for devices in (1, 4, 8)]


def make_config(**overrides):
    config = fashion_mnist.get_config()
    fixed = {"experiment": "sample", "nfe": 5, "sample.count": COUNT, "sample.block": 24, "cpu_devices": 2}
    fixed |= {"solver.name": "unipc", "grid.name": "karras", "compilation_cache": str(CACHE)}
    with config.ignore_type():
        config.update_from_flattened_dict(fixed | overrides)
    return config


def draw_all(folder):
    """Noise and images of every case, into files; in a process with eight devices."""
    config = make_config()
    network = build_model(config)
    table = build_table(config, {"name": "unipc", "order": 3}, 5, network.prediction).astype(np.float32)
    draw = runner.make_draw(network.make, network.shape, SCALE)
    fixed = {"indices": np.arange(COUNT), "labels": build_labels(config, network, np.arange(COUNT)), "seed": 0}
    for batch, devices in CASES:
        where = {"batch": batch, "mesh": make_mesh(jax.devices()[:devices])}
        whole = (list(runner.generate(draw, network.params, table, rows, **fixed, **where)) for rows in (0, 5))
        noise, samples = (np.concatenate([part for _, part in parts]) for parts in whole)
        np.savez(folder / f"{batch}-{devices}.npz", noise=noise, images=to_uint8(samples))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert child(draw_all, folder, devices=8) == 0
    return {case: np.load(folder / "{}-{}.npz".format(*case)) for case in CASES}


def assert_same_images(images, expected):
    """Within one level in all but 1e-4 of pixels: float32 sums in another order move values by 1e-6 of their range."""
    assert images.shape == expected.shape and images.dtype == np.uint8
    off = np.abs(images.astype(int) - expected) > 1
    assert off.mean() <= 1e-4


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_batches_and_devices_change_no_image(drawn, case):
    """The noise, which is all that no row of the table leaves, to the bit."""
    expected, got = drawn[CASES[0]], drawn[case]
    np.testing.assert_array_equal(got["noise"], expected["noise"])
    assert_same_images(got["images"], expected["images"])


COLOURS = [(32, 32, 3), (64, 64, 3)]
RUNS = [(1, 1), (16, 4), (64, 1), (64, 4)]  # batch, devices


def colour_config(folder, shape, batch, devices):
    """DPM-Solver-v3 with statistics of the data's shape on a small network of random weights."""
    module = {"name": "unet", "channels": 16, "multipliers": [1, 2], "blocks": 1, "classes": 3}
    params = models.init(models.build(module), 0, shape)
    params = jax.tree_util.tree_map_with_path(lambda path, leaf: weights(str(path), leaf.shape), params)
    models.save_params(folder / "params.npz", params, {"network": module, "sigma_data": 0.5, "shape": list(shape)})
    rng, size = np.random.default_rng(0), int(np.prod(shape))
    low_rank = Mixture(
        np.ones(1),
        0.1 * rng.normal(size=(1, size)),
        np.linalg.qr(rng.normal(size=(size, 8)))[0][None],
        np.linspace(20, 5, 8)[None],
        np.array([0.1]),
        shape,
    )
    save_ems(folder / "ems.npz", gaussian_ems(low_rank, np.linspace(-4.4, 6.3, 41)))
    found = {"model.checkpoint": str(folder / "params.npz"), "ems.path": str(folder / "ems.npz"), "ems.accept": True}
    found |= {"solver.name": "dpm_v3", "sample.batch": batch, "sample.devices": devices, "cpu_devices": 4}
    return make_config(**found | {"features": "none", "teleport.gaussian": "", "classifier": "", "reference": ""})


def draw_colours(folder, shape):
    for batch, devices in RUNS:
        config = colour_config(folder, shape, batch, devices)
        main.run_experiment(config, folder / f"{batch}-{devices}")


@pytest.mark.parametrize("shape", COLOURS, ids=str)
def test_batches_and_devices_change_no_colour_image(tmp_path, shape, monkeypatch):
    """The whole path of `sample`, from files to files, at sizes where sums of the engine are compiled differently."""
    monkeypatch.chdir(ROOT)
    assert child(draw_colours, tmp_path, shape, devices=4) == 0
    first, *others = (blocks.read_images(tmp_path / f"{batch}-{devices}") for batch, devices in RUNS)
    assert first.shape == (COUNT, *shape) and first.std() > 20  # the samples are not all clipped, nor all grey
    for images in others:
        assert_same_images(images, first)


def test_the_noise_is_that_of_the_index(drawn):
    """fold_in(fold_in(key(seed), i), 0), one sample at a time."""
    for index in (0, 7, 63):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), index), 0)
        expected = np.float32(SCALE) * np.asarray(jax.random.normal(key, (28, 28, 1)))
        np.testing.assert_array_equal(drawn[64, 8]["noise"][index], expected)


def one_of_two(number, address, workdir, event):
    """What the command does in one of two processes, which learn of each other by flags, or by the environment.

    event(write, path, arrays): what happens in place of the writing of a block.
    """
    joined = {"coordinator": address, "processes": 2, "process": number}
    if event:
        os.environ |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}
        joined, npz.write = {"coordinator": "auto"}, partial(event, npz.write)
    sizes = {"sample.batch": 16} | ({"sample.block": 8} if event else {})
    config = make_config(**{f"distributed.{k}": v for k, v in joined.items()}, **sizes)
    try:
        main.set_up_jax(config)
        main.run_experiment(config, workdir / str(number))
        (workdir / f"end{number}").write_text("done")
    except (ValueError, OSError) as error:
        (workdir / f"end{number}").write_text(f"error: {error}")
    finally:
        jax.distributed.shutdown()


def full_disk(write, path, arrays):
    raise OSError(28, "No space left on device", str(path))


def told_to_end(write, path, arrays):
    write(path, arrays)
    if path.name == "000000-000007.npz":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(3)  # jax looks for signals once a second; the other process waits for the next block meanwhile


def run_two(folder, event=None, code=0):
    """What each of two processes wrote at its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder.mkdir(exist_ok=True)
    both = [start(one_of_two, n, address, folder, event) for n in (0, 1)]
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [code, code]
    return [path.read_text() for path in sorted(folder.glob("end*"))]


def test_two_processes_draw_what_one_draws(tmp_path, drawn, monkeypatch):
    """Four devices in two processes; then a block is lost, and one process alone goes on from the others."""
    monkeypatch.chdir(ROOT)
    assert run_two(tmp_path) == ["done", "done"]
    assert {path.name for path in (tmp_path / "1").iterdir()} <= {".lock"}, "process 0 alone writes"
    images = blocks.read_images(tmp_path / "0")
    assert_same_images(images, drawn[CASES[0]]["images"])
    names = sorted(path.name for path in (tmp_path / "0" / "samples").iterdir())
    assert names == ["000000-000023.npz", "000024-000047.npz", "000048-000063.npz"]
    (tmp_path / "0" / "samples" / names[1]).unlink()
    main.run_experiment(make_config(), tmp_path / "0")
    again = blocks.read_images(tmp_path / "0")
    assert_same_images(again, drawn[CASES[0]]["images"])
    np.testing.assert_array_equal(again[:24], images[:24])


def test_a_full_disk_of_one_process_ends_both(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    ends = run_two(tmp_path, full_disk)
    assert "No space left on device" in ends[0] and ends[1].startswith("error: process 0: [Errno 28] No space left")


def test_a_signal_to_one_process_ends_both_after_a_block(tmp_path, drawn, monkeypatch):
    """It comes while the first of eight is written; what is written is whole, and another start goes on."""
    monkeypatch.chdir(ROOT)
    assert run_two(tmp_path, told_to_end, code=128 + signal.SIGTERM) == []
    written = list((tmp_path / "0" / "samples").iterdir())
    assert 1 <= len(written) < 8 and not [path for path in written if path.name[0] == "."]
    main.run_experiment(make_config(), tmp_path / "0")
    assert_same_images(blocks.read_images(tmp_path / "0"), drawn[CASES[0]]["images"])
