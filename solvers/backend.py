"""jaxlib 0.10.2 computes some sums wrongly on CPUs: the flag that prevents it, and the warning where it is not set.

There, XLA compiles a product with a broadcast factor, summed over a leading axis, into a fusion that is wrong for the
last samples of a batch. The sums of this package have another form; those of a user's network may have this one.
"""

import os
import warnings
from functools import cache
from importlib import metadata

import jax

WRONG = "0.10.2"  # jaxlib 0.9.2 to 0.10.1, and 0.11.0 to 0.12.0, are right
FLAG = "--xla_cpu_experimental_ynn_fusion_type"
SETTING = f"{FLAG}=LIBRARY_FUSION_TYPE_DOT"


def sums_are_wrong() -> bool:
    """Whether CPUs need SETTING: this is the jaxlib with the fault, and XLA_FLAGS has no value of the flag."""
    return _version() == WRONG and FLAG not in os.environ.get("XLA_FLAGS", "")


def set_right_sums() -> None:
    """Adds SETTING to XLA_FLAGS where it is needed; must come before the first use of a device.

    Nowhere else, as XLA aborts on flags that it does not know. An XLA_FLAGS that names a file of flags stays.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if sums_are_wrong() and (not flags or flags.startswith("-")):
        os.environ["XLA_FLAGS"] = f"{flags} {SETTING}".strip()


@cache
def warn_of_wrong_sums() -> None:
    """Warns, once, where a network may be computed wrongly. Starts the backend."""
    if sums_are_wrong() and jax.default_backend() == "cpu":
        warnings.warn(
            f"jaxlib {WRONG} computes some sums of a network wrongly on CPUs: install another version of jaxlib, or "
            f"set XLA_FLAGS={SETTING} before the first use of a device",
            stacklevel=2,
        )


def _version() -> str:
    """Of jaxlib, without a label of who built it; empty where it has no package metadata."""
    try:
        return str(metadata.version("jaxlib")).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""
