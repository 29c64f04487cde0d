"""Describes the keys of a section: `key(default, meaning, bound, ...)`. Bounds see values of the key's type, finite."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

HUGE = 10**12  # above any count in a run


class Bound(NamedTuple):
    """test(value) holds; else the message is "KEY must be TEXT, got VALUE: REMEDY"."""

    test: Callable[[Any], bool]
    text: str
    remedy: str = "choose one within"


def key(default, meaning: str, *bounds: Bound, never_ignored: bool = False):
    """A field with its meaning and bounds.

    never_ignored: an experiment that does not read the key refuses a config that sets it.
    """
    metadata = {"meaning": meaning, "bounds": bounds, "never_ignored": never_ignored}
    return dataclasses.field(default=default, metadata=metadata)


def at_least(least, remedy: str = "raise it") -> Bound:
    return Bound(lambda value: least <= value <= max(HUGE, least), f"at least {least}", remedy)


def above(bound, remedy: str = "raise it") -> Bound:
    return Bound(lambda value: bound < value <= HUGE, f"above {bound:g}", remedy)


def between(low, high) -> Bound:
    return Bound(lambda value: low <= value <= high, f"from {low:,} to {high:,}")


def one_of(*names: str) -> Bound:
    return Bound(lambda value: value in names, f"one of {', '.join(names)}", "choose one of them")


def of_length(count: int, what: str) -> Bound:
    return Bound(lambda value: len(value) == count, what, f"give {count} values")


def several(*bounds: Bound, least: int = 1, remedy: str = "name one, or several separated by commas") -> Bound:
    """The bound of one value, or of a tuple of at least `least` values; all `bounds` hold for each."""

    def test(value):
        values = value if isinstance(value, tuple) else (value,)
        return len(values) >= least and all(bound.test(x) for x in values for bound in bounds)

    of_each = " and ".join(bound.text for bound in bounds)
    count = f"{least} or more numbers" if least else "numbers"
    return Bound(test, f"{count}, {of_each}", remedy)


POSITIVE = at_least(1)
SIGMAS = several(above(0), remedy="name noise levels sigma / alpha, separated by commas")
SEED = between(0, 2**31 - 1)  # what jax takes as an integer of a compiled program
SEEDS = several(SEED)
