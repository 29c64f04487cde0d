"""What a command line changes of a config: `--config.a.b=value`, or `--config.a.b value`."""

import re
from collections.abc import Sequence

from ml_collections import ConfigDict

from configs import did_you_mean

FLAG = re.compile(r"--?(?P<no>no)?config\.(?P<key>[^=\s]+)(?P<given>=(?P<value>.*))?", re.DOTALL)
INTEGRAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def overridden(argv: Sequence[str]) -> list[str]:
    """The keys, as a.b."""
    return [match["key"] for text in argv[1:] if (match := FLAG.fullmatch(text))]


def unknown_key(argv: Sequence[str], config: ConfigDict) -> str | None:
    """What is wrong with the first override that names no key of the config."""
    for key in overridden(argv):
        section = config
        for depth, part in enumerate(key.split(".")):
            if not isinstance(section, ConfigDict) or part not in section:
                where = ".".join(["config", *key.split(".")[:depth]])
                known = sorted(section) if isinstance(section, ConfigDict) else []
                text = f"{', '.join(known)}{did_you_mean(part, known)}" if known else "none: it is a value"
                return f"unknown key {part!r} in --config.{key}; keys of {where} are: {text}"
            section = section[part]
    return None


def with_integers(argv: Sequence[str], config: ConfigDict) -> list[str]:
    """The command line with 1000 for 1e3 where the config has an integer. ValueError for what is no integer there."""
    found, waiting = [], None
    for text in argv:
        match = FLAG.fullmatch(text)
        if match and match["given"] and is_integer(config, match["key"]):
            text = f"--config.{match['key']}={as_integer(match['key'], match['value'])}"
        elif waiting and not match:
            text = as_integer(waiting, text)
        waiting = match and not match["given"] and is_integer(config, match["key"]) and match["key"]
        found.append(text)
    return found


def is_integer(config: ConfigDict, key: str) -> bool:
    """Whether a key, which the config has, holds an integer, or may."""
    *path, name = key.split(".")
    for part in path:
        config = config[part]
    return config.get_type(name) is int


def as_integer(key: str, text: str) -> str:
    """The same number without a point or an exponent; `none` as it is, which the parser of flags reads."""
    if text.lower() == "none":
        return text
    if not INTEGRAL.fullmatch(text) or not float(text).is_integer():
        raise ValueError(f"{key} must be an integer, got {text!r}")
    return str(int(float(text)))
