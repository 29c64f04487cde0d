"""Every key of every experiment with its default, made of configs/sections/. The other configs hold differences only.

A value of None means "the code's own default".
"""

import dataclasses
import types
import typing

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.sections import SECTIONS, Run


def get_config() -> ConfigDict:
    config = make_section(Run)
    for name, kind in SECTIONS.items():
        config[name] = make_section(kind)
    return config.lock()


def make_section(kind: type) -> ConfigDict:
    """The keys of a dataclass with their defaults; what may be None is a placeholder of its type."""
    section, types_of = ConfigDict(), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        section[field.name] = field.default
        if field.default is None:
            section[field.name] = placeholder(first_type(types_of[field.name]))
    return section


def first_type(hint) -> type:
    """int of `int | None`."""
    return typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
