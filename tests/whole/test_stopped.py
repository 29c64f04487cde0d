"""The command, in a process of its own, that is told to end, killed, out of disk space or not alone: what is left."""

import errno
import gc
import io
import os
import resource
import signal
import sys
import time
from functools import partial

import pytest

import main
from experiments.data.blocks import read_images
from experiments.images import case as drawing
from experiments.sampling.store import Blocks
from experiments.support.errors import ConfigError
from tests.experiments.images.test_sample import COUNT, assert_same_images, make
from tests.experiments.sampling.test_blocks import content
from tests.helpers.places import ROOT
from tests.helpers.processes import start

SMALL = {"experiment": "sample", "nfe": 5, "solver.name": "unipc", "mixture.shape": "(4,4,1)", "cpu_devices": 2}
SMALL |= {"sample.batch": 8, "sample.block": 16, "sample.count": COUNT}
STOPPED = "error: stopped by SIGTERM: the same command goes on from what is written\n"


def command(log, prepare, *arguments):
    """main.py in a process that was prepared, with all that it prints in a file."""
    with open(log, "w") as sys.stderr, open(f"{log}.out", "w") as sys.stdout:
        prepare()
        sys.argv = ["main.py", f"--config={ROOT}/configs/toy_gmm.py:smoke", *arguments]
        main.main(main.parse(sys.argv))


def begin(workdir, prepare, **options):
    """The process of a run, and the file where it says what is wrong."""
    log = workdir.parent / f"{workdir.name}.log"
    arguments = [f"--config.{key}={value}" for key, value in (SMALL | options).items()]
    return start(command, log, prepare, f"--workdir={workdir}", *arguments), log


def finish(process, log) -> tuple[int, str]:
    """The exit code, and what is said beside the lines of the heartbeat."""
    process.join(60)
    lines = log.read_text().splitlines(keepends=True)
    return process.exitcode, "".join(line for line in lines if not line.startswith(("sample: ", "sample, ")))


def nothing():
    pass


def slowly():
    """Fifty batches a second at most."""
    original = drawing.counted

    def counted(batches, on_batch):
        for batch in original(batches, on_batch):
            time.sleep(0.02)
            yield batch

    drawing.counted = counted


def wait_for(blocks: int, workdir, process):
    while len(list(workdir.glob("samples/*.npz"))) < blocks:
        assert process.is_alive()
        time.sleep(0.005)


def left_over(workdir):
    """Hidden files but for the lock, and files that are not whole."""
    return [path for path in workdir.rglob("*") if ".tmp" in path.name or path.name[0] == "." and path.name != ".lock"]


def test_a_run_says_nothing_where_there_is_no_terminal(tmp_path):
    assert finish(*begin(tmp_path / "run", nothing)) == (0, "")
    assert "images_per_second" in (tmp_path / "run.log.out").read_text()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_counts_images_on_a_terminal(tmp_path, monkeypatch):
    make(tmp_path, **{"sample.count": 24})
    monkeypatch.setattr(sys, "stderr", Terminal())
    make(tmp_path)
    lines = sys.stderr.getvalue().split("\r")
    assert "24/40" in lines[1] and "40/40" in lines[-1] and "image/s" in lines[-1]


def full_from(first, size):
    """When the block that begins with sample `first` is written, no file can be larger than `size` bytes."""
    original, most = Blocks.write, resource.getrlimit(resource.RLIMIT_FSIZE)

    def write(self, block):
        try:
            if block.indices[0] == first:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, most[1]))
            original(self, block)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)  # what is printed goes into a file, too

    Blocks.write = write


@pytest.mark.parametrize("keep, size", [("npz", 300), ("png", 40)])
def test_a_full_disk_stops_cleanly_and_the_run_goes_on(keep, size, tmp_path):
    """The system refuses the write, in the middle of a file."""
    workdir, options = tmp_path / "run", {"sample.keep": keep}
    code, text = finish(*begin(workdir, partial(full_from, 16, size), **options))
    name = "000016-000031.npz" if keep == "npz" else "000016.png"
    assert code == 1 and text.startswith("error: ") and text.count("\n") == 1
    assert os.strerror(errno.EFBIG) in text and name in text, text
    assert [path.name for path in workdir.glob("samples/*")] == ["000000-000015.npz"] and not left_over(workdir)
    before = content(workdir / "samples")
    make(workdir, **options)
    assert before.items() <= content(workdir / "samples").items()
    make(tmp_path / "whole")
    assert_same_images(read_images(workdir), read_images(tmp_path / "whole"))


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_run_that_is_told_to_end_leaves_nothing_half_written(blocks, tmp_path):
    workdir = tmp_path / "run"
    process, log = begin(workdir, slowly, **{"sample.count": 400})
    while not (workdir / "config.json").exists():
        assert process.is_alive()
        time.sleep(0.005)
    wait_for(blocks, workdir, process)
    os.kill(process.pid, signal.SIGTERM)
    code, text = finish(process, log)
    assert code == 143 and text.endswith(STOPPED)
    done = content(workdir / "samples") if blocks else {}
    assert blocks <= len(done) < 25 and not left_over(workdir)
    make(workdir, **{"sample.count": 400, "sample.batch": 64})
    assert done.items() <= content(workdir / "samples").items() and len(read_images(workdir)) == 400


def told_while_collecting(module: str, name: str):
    """The signal comes when this function is called, while Python collects garbage, where it calls a function of jax:
    what that raises is lost.
    """
    module = sys.modules[module]
    original = getattr(module, name)

    def collecting(phase, info):
        gc.callbacks.remove(collecting)
        signal.raise_signal(signal.SIGTERM)

    def told(*arguments):
        gc.callbacks.append(collecting)
        gc.collect()
        return original(*arguments)

    slowly()
    setattr(module, name, told)


@pytest.mark.parametrize("module, name", [(main, "set_up_jax"), (drawing, "sums_of")])
def test_a_signal_in_the_garbage_collection_ends_the_run_too(module, name, tmp_path):
    prepare = partial(told_while_collecting, module.__name__, name)
    code, text = finish(*begin(tmp_path / "run", prepare, **{"sample.count": 400}))
    assert code == 143 and text == STOPPED and not left_over(tmp_path), text


def test_one_run_at_a_time(tmp_path):
    """The second is refused, and the first does not notice; when the first is killed, its folder is free at once."""
    workdir = tmp_path / "run"
    process, log = begin(workdir, slowly, **{"sample.count": 400})
    wait_for(1, workdir, process)
    with pytest.raises(ConfigError, match=f"another run is at work in {workdir}: wait until it ends, or give another"):
        make(workdir)
    assert finish(process, log) == (0, "")
    assert len(read_images(workdir)) == 400 and not left_over(workdir)
    process, log = begin(workdir, slowly, **{"sample.count": 800})
    wait_for(26, workdir, process)
    process.kill()
    process.join()
    make(workdir, **{"sample.count": 800, "sample.batch": 64})
    assert len(read_images(workdir)) == 800 and not left_over(workdir)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("sample.devices", 3, "sample.devices = 3: there are 2 devices, choose 1 to 2, or 0 for all; cpu_devices"),
        ("cpu_devices", 100_000, "cpu_devices must be from 0 to 256, got 100000"),
    ],
)
def test_impossible_options_are_one_line(key, value, expected, tmp_path):
    code, text = finish(*begin(tmp_path / "run", nothing, **{key: value}))
    assert code == 1 and text.startswith(f"error: {expected}") and text.count("\n") == 1, text
    assert not list(tmp_path.glob("run/samples/*"))
