"""jaxlib 0.10.2 computes some sums wrongly on CPUs: the flag that prevents it, and the warning where it is not set.

There, XLA compiles a product with a broadcast factor, summed over a leading axis, into a program that is wrong for the
last samples of a batch. This package writes its sums in another form; a user's network may contain this one.
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
    """True if this jaxlib has the fault and XLA_FLAGS does not set FLAG."""
    return _version() == WRONG and FLAG not in os.environ.get("XLA_FLAGS", "")


def set_right_sums() -> None:
    """Adds SETTING to XLA_FLAGS if this jaxlib needs it. Call it before the first use of a device.

    Other versions get no flag, because XLA aborts on flags that it does not know. If XLA_FLAGS names a file of flags,
    it stays as it is.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if sums_are_wrong() and (not flags or flags.startswith("-")):
        os.environ["XLA_FLAGS"] = f"{flags} {SETTING}".strip()


@cache
def warn_of_wrong_sums() -> None:
    """Warns once if networks may be computed wrongly. Starts the backend."""
    if sums_are_wrong() and jax.default_backend() == "cpu":
        warnings.warn(
            f"jaxlib {WRONG} computes some sums of a network wrongly on CPUs: install another version of jaxlib, or "
            f"set XLA_FLAGS={SETTING} before the first use of a device",
            stacklevel=2,
        )


def _version() -> str:
    """The version of jaxlib, without a builder's label; empty if jaxlib has no package metadata."""
    try:
        return str(metadata.version("jaxlib")).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""
