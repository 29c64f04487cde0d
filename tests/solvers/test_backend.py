"""The guard against jaxlib 0.10.2, whose sums on CPUs are wrong: the flag, where it is needed, and the warning."""

import os
import subprocess
import sys
import warnings
from importlib import metadata

import jax
import numpy as np
import pytest

from solvers import SOLVERS, advance, backend, sample
from solvers.ems import estimate
from solvers.schedule import EDM
from tests.helpers.places import ROOT

RIGHT = ("0.10.1", "0.11.0", "0.10.20", None)
OWN = f"{backend.FLAG}=LIBRARY_FUSION_TYPE_REDUCE"


@pytest.fixture
def installed(monkeypatch):
    """installed(version, flags): as if this jaxlib were installed (None: without metadata), and XLA_FLAGS set."""

    def set_up(version, flags=None):
        def found(name):
            assert name == "jaxlib"
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", found)
        monkeypatch.setenv("XLA_FLAGS", flags or "")
        if flags is None:
            monkeypatch.delenv("XLA_FLAGS")
        backend.warn_of_wrong_sums.cache_clear()

    yield set_up
    backend.warn_of_wrong_sums.cache_clear()


def warned(calls=1) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(calls):
            backend.warn_of_wrong_sums()
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize("version", RIGHT)
@pytest.mark.parametrize("flags", [None, "--xla_cpu_multi_thread_eigen=true"])
def test_right_versions_get_neither_flag_nor_warning(installed, version, flags):
    installed(version, flags)
    backend.set_right_sums()
    assert os.environ.get("XLA_FLAGS") == flags and not warned()


@pytest.mark.parametrize("version", ["0.10.2", "0.10.2+local"])
@pytest.mark.parametrize(
    "flags, expected",
    [
        (None, backend.SETTING),
        (" ", backend.SETTING),
        (
            "--xla_cpu_multi_thread_eigen=true --xla_dump_hlo_as_text=false",
            f"--xla_cpu_multi_thread_eigen=true --xla_dump_hlo_as_text=false {backend.SETTING}",
        ),
        (OWN, OWN),  # the user's own value
    ],
)
def test_the_wrong_version_gets_the_flag_beside_those_that_are_set(installed, version, flags, expected):
    installed(version, flags)
    for _ in range(2):
        backend.set_right_sums()
        assert os.environ["XLA_FLAGS"] == expected
    assert not warned()


def test_the_wrong_version_without_the_flag_warns_once(installed):
    installed("0.10.2", "--xla_cpu_multi_thread_eigen=true")
    (message,) = warned(calls=3)
    assert "0.10.2" in message and f"XLA_FLAGS={backend.SETTING}" in message


def test_the_first_sampling_or_estimate_warns(installed):
    grid, data = np.array([2.0, 1.0]), np.zeros((3, 2), np.float32)
    table, net = SOLVERS["ddim"](EDM(), grid), lambda x, t: 0.1 * x
    for use in (
        lambda: sample(net, table, data[0]),
        lambda: advance(net, table, data[0], 1),
        lambda: estimate(net, EDM(), data, np.linspace(-1, 1, 3), jax.random.key(0)),
    ):
        installed("0.10.2")
        with pytest.warns(UserWarning, match="some sums of a network wrongly"):
            use()


def test_a_file_of_flags_stays_and_the_warning_says_what_to_add(installed):
    installed("0.10.2", "flags.txt")
    backend.set_right_sums()
    assert os.environ["XLA_FLAGS"] == "flags.txt" and len(warned()) == 1


def test_other_backends_are_right(installed, monkeypatch):
    installed("0.10.2")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not warned()


COMMAND = """
import atexit, os, runpy, sys
from importlib import metadata
from jax._src import xla_bridge
version, true = sys.argv.pop(1), metadata.version
metadata.version = lambda name: version if name == "jaxlib" else true(name)
atexit.register(lambda: print(os.environ["XLA_FLAGS"], xla_bridge.backends_are_initialized()))
sys.argv[0] = "main.py"
runpy.run_path("main.py", run_name="__main__")
"""


@pytest.mark.skipif(not (ROOT / "main.py").exists(), reason="the library alone has no command")
@pytest.mark.parametrize("version, added", [("0.10.1", ""), ("0.10.2", f" {backend.SETTING}")])
def test_the_command_sets_the_flag_before_it_uses_a_device(version, added):
    flags = "--xla_cpu_multi_thread_eigen=true"
    arguments = [version, "--config=configs/toy_gmm.py", "--config.experiment=sample"]
    arguments.append("--config.distributed.coordinator=nowhere")  # no host and port: it ends here
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert "distributed.coordinator must be host:port" in done.stderr
    assert done.stdout.strip() == f"{flags}{added} False"


def test_import_starts_no_backend():
    script = "import solvers; from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr
