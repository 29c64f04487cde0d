"""Stub."""

from dataclasses import make_dataclass


def settings(section, kind):
    values = section.to_dict()
    return make_dataclass(kind.__name__, list(values), frozen=True)(**values)
