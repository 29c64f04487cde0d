"""Two simulated devices, one thread of BLAS, and a compilation cache that makes the second run of the suite faster.

Several threads of BLAS wait for each other in small matrices, many times longer than they work where cores are busy.
"""

import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compilation is most of the work: .ci/run sets 0
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # jaxlib 0.10.1 logs 10 KB for each program of the cache

import hypothesis
import jax
import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fast-diffusion-sampling-tests"

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# the same examples in every run; others each time: pytest --hypothesis-profile=other
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("other", deadline=None)
hypothesis.settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Of a test that is marked thin(k), all cases but every k-th are deep. Where k has no divisor in common with the
    length of a list of parameters, all values of the list are among every k-th case, if there are enough.
    """
    count = Counter()
    for item in items:
        if thin := item.get_closest_marker("thin"):
            test = item.nodeid.partition("[")[0]
            if count[test] % thin.args[0]:
                item.add_marker("deep")
            count[test] += 1


@pytest.fixture
def x64():
    """float64 inside one test."""
    with jax.enable_x64(True):
        yield
