"""The configs: what `python main.py --config=configs/NAME.py:VARIANT` names."""

import difflib
from collections.abc import Iterable


def check_variant(name: str, variant: str, known: Iterable[str]) -> None:
    """ValueError unless configs/NAME.py has this variant; the empty one it always has."""
    if variant and variant not in known:
        known = ", ".join(known)
        what = f"known are {known}{did_you_mean(variant, known.split(', '))}" if known else "it has none"
        raise ValueError(f"unknown variant {variant!r} of configs/{name}.py: {what}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question after a list of what is known, empty where nothing is alike."""
    alike = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {alike[0]}?" if alike else ""
