"""Start-up: a package loads what all of its uses need; what some need is loaded by the functions that use it."""

import subprocess
import sys

import pytest

from tests.helpers.places import ROOT

LIBRARY = ("scipy", "sklearn", "flax", "optax", "orbax", "safetensors", "matplotlib", "PIL", "tqdm")
UNUSED = {
    "main": ("jax", "numpy", *LIBRARY),
    "solvers": LIBRARY,
    "gaussian": LIBRARY,
    "models": ("scipy", "sklearn", "optax", "orbax", "safetensors", "matplotlib", "PIL", "tqdm"),
    "experiments.compare.benchmark": ("scipy", "sklearn", "optax", "orbax"),
}


@pytest.mark.parametrize("module", UNUSED)
def test_import_loads_no_more_than_is_used(module):
    script = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert module.partition(".")[0] in loaded, done.stderr
    assert not loaded & set(UNUSED[module])
