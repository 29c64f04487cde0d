"""Builds the dataclass of a section of the config, and checks types and bounds (configs/sections/)."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterable

from configs.sections import SECTIONS, Run
from experiments.support.errors import ConfigError

NAMES = {kind: f"{name}." for name, kind in SECTIONS.items()} | {Run: ""}
WORDS = {
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "a text",
    tuple: "several values",
}


def settings(section, kind: type):
    """Builds the dataclass `kind` from a section. A ConfigError names the key, the value, the bound and the remedy."""
    return kind(**checked(kind, {field.name: section[field.name] for field in dataclasses.fields(kind)}))


def changed(settings, changes):
    """The settings with some changes, checked like those of a config."""
    for key in changes:
        if key not in (known := [field.name for field in dataclasses.fields(settings)]):
            raise ConfigError(f"unknown key {key!r} of {NAMES[type(settings)][:-1]}: known are {', '.join(known)}")
    return dataclasses.replace(settings, **checked(type(settings), changes))


def checked(kind: type, values) -> dict:
    """Converts {key: value} of a section to the types of its dataclass; ConfigError for the first wrong value."""
    fields, hints = {field.name: field for field in dataclasses.fields(kind)}, typing.get_type_hints(kind)
    return {
        name: check_value(NAMES[kind] + name, value, hints[name], fields[name].metadata["bounds"])
        for name, value in values.items()
    }


def check_value(name: str, value, hint, bounds: Iterable):
    """Checks a value and converts it to its type: 1e3 to the integer 1000, a list to a tuple."""
    wanted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in wanted:
        return None
    wanted = [kind for kind in wanted if kind is not type(None)]
    found = next((fit for kind in wanted if (fit := as_type(value, kind)) is not None), None)
    if found is None:
        raise ConfigError(f"{name} must be {' or '.join(map(word, wanted))}, got {value!r}")
    for bound in bounds:
        if not bound.test(found):
            raise ConfigError(f"{name} must be {bound.text}, got {value!r}: {bound.remedy}")
    return found


def as_type(value, kind):
    """The value as this type, None if it does not fit. Numbers must be finite."""
    if kind is tuple:
        return tuple(value) if isinstance(value, (tuple, list)) else None
    if typing.get_origin(kind) is tuple:
        found = [as_type(x, typing.get_args(kind)[0]) for x in value] if isinstance(value, (tuple, list)) else [None]
        return None if None in found else tuple(found)
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(value) if kind is float else int(value) if value == int(value) else None
    return value if isinstance(value, kind) else None


def word(kind) -> str:
    """The name of a type in messages."""
    if typing.get_origin(kind) is tuple:
        return {int: "integers", float: "numbers"}[typing.get_args(kind)[0]] + " with commas between"
    return WORDS[kind]


def read_keys(reads: Iterable[str]) -> dict:
    """{dataclass: keys that are read}, from the names of sections and single keys that an experiment reads."""
    found = {}
    for name in reads:
        section, _, key = name.partition(".")
        kind = SECTIONS.get(section, Run)
        keys = [key or section] if key or kind is Run else [field.name for field in dataclasses.fields(kind)]
        found.setdefault(kind, set()).update(keys)
    return found


def check_config(config, name: str, experiments, always: Iterable[str] = ()) -> None:
    """Checks the config for experiment `name`.

    ConfigError for the first value that it reads and that has a wrong type or is out of bounds, and for a key that is
    set, not read, and marked as never ignored. experiments: {name: Experiment}; always: the keys that all of them read.
    """
    if name not in experiments:
        raise ConfigError(f"unknown experiment {name!r}: known are {', '.join(experiments)}")
    read = read_keys((*experiments[name].reads, *always))
    for kind, own in NAMES.items():
        section = config[own[:-1]] if own else config
        checked(kind, {key: section[key] for key in read.get(kind, ())})
        for field in dataclasses.fields(kind):
            ignored = field.name not in read.get(kind, ()) and section[field.name] != field.default
            if ignored and field.metadata["never_ignored"]:
                readers = [n for n, other in experiments.items() if field.name in read_keys(other.reads).get(kind, ())]
                raise ConfigError(
                    f"{own}{field.name} is set, but {name} does not read it: leave it at {field.default}, or take "
                    f"one of {', '.join(readers)}"
                )
