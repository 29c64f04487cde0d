"""A solver with its number of network evaluations, ready to run on a problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from experiments.build.entries import nfes, solvers
from experiments.data.files import slug
from solvers import Table
from solvers.fingerprint import fingerprint


@dataclass(frozen=True, eq=False)
class Method:
    """A solver's float64 `table`, which runs after the `jump` to sigma / alpha = `start` (both None without teleport).

    ems: the hash of the statistics in the table, or None. padded: the table as it runs, in float32 and padded to the
    shape of other methods' tables (sampling/alignment.py); only its first `nfe` rows count.
    """

    label: str
    nfe: int
    table: Table
    jump: Any = None
    start: float | None = None
    ems: str | None = None
    padded: Table | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.label, self.nfe

    @property
    def slug(self) -> str:
        return f"{slug(self.label)}_{self.nfe}"

    @property
    def runs(self) -> Table:
        return self.table.astype(np.float32) if self.padded is None else self.padded

    def row(self) -> dict:
        return {"solver": self.label, "nfe": self.nfe, "teleport": self.start}

    def origin(self) -> dict:
        """The passport entries of the solver: hashes of its coefficients (in float32, as used) and of its EMS."""
        return {"table": fingerprint(self.table.astype(np.float32)._asdict()), "ems": self.ems}


def method(problem, label: str, options: Mapping, nfe: int, ems=None) -> Method:
    """Builds one method. options: as for Tables.build."""
    return make_methods(problem, {label: (label, options, nfe)}, ems)[label]


def methods(config, problem, ems=None) -> dict:
    """Builds {(label, nfe): Method} for `benchmark.solvers` and `nfe`."""
    wanted = {(label, nfe): (label, options, nfe) for nfe in nfes(config) for label, options in solvers(config)}
    return make_methods(problem, wanted, ems)


def make_methods(problem, wanted: Mapping, ems=None) -> dict:
    """Builds {key: Method} from {key: (label, options, nfe)}. Methods with the same start share their jump."""
    found, jumps, of_ems = {}, {}, cache(partial(hash_of_ems, ems))
    for key, (label, options, nfe) in wanted.items():
        options = problem.tables.resolve(options, nfe, ems)
        table, start = problem.tables.build(options, nfe, ems), options["teleport"]
        if start not in jumps:
            jumps[start] = problem.jump(start)
        used = of_ems() if options["name"] == "dpm_v3" else None
        found[key] = Method(label, nfe, table, jumps[start], start, used)
    return found


def hash_of_ems(ems) -> str:
    return fingerprint({name: getattr(ems, name) for name in ("lam", *"lsb")})
