"""The solvers that a config asks for, and their numbers of network evaluations."""

from collections.abc import Mapping
from dataclasses import fields

from configs.sections import Grid, Run, Solver, Teleport
from experiments.build.sections import checked
from experiments.support.errors import ConfigError, check_known
from solvers import SOLVERS


def nfes(config) -> tuple[int, ...]:
    """The numbers of network evaluations, increasing."""
    found = checked(Run, {"nfe": config.nfe})["nfe"]
    return tuple(sorted(set(found if isinstance(found, tuple) else (found,))))


def solver(config) -> tuple[str, dict]:
    """(label, options) of `config.solver`: the options that are set.

    If its name is a label of `benchmark.solvers`, options that are not set come from that entry, and the returned label
    says which were set.
    """
    own = {key: value for key, value in config.solver.to_dict().items() if value is not None}
    names = ("auto", "teleport", *SOLVERS)
    if own["name"] in names:
        return own["name"], own
    entries, label = dict(_entries(config)), own.pop("name")
    check_known((*names, *entries), label, "solver")
    options = entries[label] | own
    if "at_nfe" in options:  # options that are set replace these too
        changes = options["at_nfe"].items()
        options["at_nfe"] = {nfe: {key: x for key, x in more.items() if key not in own} for nfe, more in changes}
    return ", ".join([label, *(f"{key}={value}" for key, value in own.items())]), options


def solvers(config) -> list[tuple[str, dict]]:
    """(label, options) of each entry of `config.benchmark.solvers`; a name alone means default options."""
    entries = _entries(config)
    for label, options in entries:
        check_known(("auto", "teleport", *SOLVERS), options.get("name"), f"solver of {label!r}")
    if not entries:
        raise ConfigError(f"benchmark.solvers is empty: name some of {', '.join(SOLVERS)}")
    labels = [label for label, _ in entries]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"benchmark.solvers has two of one label: {', '.join(labels)}")
    return entries


def _entries(config) -> list[tuple[str, dict]]:
    found, entries = [], config.benchmark.solvers
    for entry in (entries,) if isinstance(entries, str) else entries:
        if isinstance(entry, str):
            found += [(name, {"name": name}) for name in map(str.strip, entry.split(",")) if name]
            continue
        if not (isinstance(entry, (tuple, list)) and len(entry) == 2 and _is_text(entry[0]) and _is_dict(entry[1])):
            raise ConfigError(
                f"an entry of benchmark.solvers must be a name or (label, {{options}}), got {entry!r}: give it that form"
            )
        check_options(f"benchmark.solvers, {entry[0]!r}", entry[1])
        found.append((entry[0], dict(entry[1])))
    return found


def check_options(where: str, options) -> None:
    """ConfigError unless the options of an entry have the types and bounds of the sections that they are of.

    where: what the message begins with. Names that no section has are for the builder to refuse.
    """
    nested = {name: options[name] for name in ("grid", "at_nfe") if name in options}
    nested |= {f"at_nfe, {nfe}": more for nfe, more in _dict_or_empty(nested.get("at_nfe")).items()}
    for name, value in nested.items():
        if not _is_dict(value):
            raise ConfigError(f"{where}: {name} must be keys and values, as {{'name': 'karras'}}, got {value!r}")
    try:
        _check_known_keys(Solver, options)
        _check_known_keys(Grid, nested.get("grid", {}))
        _check_known_keys(Teleport, {"sigma": options["teleport"]} if "teleport" in options else {})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    for nfe, more in nested.get("at_nfe", {}).items():
        check_options(f"{where}, at_nfe {nfe}", more)


def _check_known_keys(kind, values) -> None:
    known = {field.name for field in fields(kind)}
    checked(kind, {key: value for key, value in values.items() if key in known})


def _is_text(value) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_dict(value) -> bool:
    return isinstance(value, Mapping)


def _dict_or_empty(value):
    return value if _is_dict(value) else {}
