"""The solvers that a config asks for, and their numbers of network evaluations."""

from configs.sections import Run
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
    if len({label for label, _ in entries}) < len(entries):
        raise ConfigError(f"benchmark.solvers has two of one label: {', '.join(label for label, _ in entries)}")
    return entries


def _entries(config) -> list[tuple[str, dict]]:
    found, entries = [], config.benchmark.solvers
    for entry in (entries,) if isinstance(entries, str) else entries:
        names = [name.strip() for name in entry.split(",")] if isinstance(entry, str) else []
        found += [(name, {"name": name}) for name in names] or [(entry[0], dict(entry[1]))]
    return found
