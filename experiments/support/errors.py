"""Errors in the user's settings: one sentence with the value, the bound and the remedy."""

from collections.abc import Mapping
from contextlib import contextmanager


class ConfigError(ValueError):
    """The config asks for something that cannot be built."""


@contextmanager
def config_errors():
    """Turns errors of the parts below into ConfigErrors; their messages already name value, bound and remedy."""
    try:
        yield
    except ConfigError:
        raise
    except (TypeError, ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def check_known(registry, name, what: str):
    if name not in registry:
        raise ConfigError(f"unknown {what} {name!r}: known are {', '.join(registry) or 'none'}")


def choose(registry: Mapping, name, what: str):
    check_known(registry, name, what)
    return registry[name]
