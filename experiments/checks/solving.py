"""Samples by many tables of one closed-form model, from the same noise, in float64."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from experiments.build import Network
from experiments.checks import oracle as official
from experiments.checks.runners import thresholded
from experiments.data.progress import Progress
from experiments.sampling import align
from solvers import advance


def solutions(network: Network, tables: Mapping, x, labels) -> Iterator[tuple]:
    """Yields (key, ends [n, *D]) of {key: table}, from x [n, *D] at the first time, with labels [n]."""

    def one(params, table, rows, x, label):
        return advance(network.make(params, label), table, x, rows)

    sample = jax.jit(jax.vmap(one, in_axes=(None, None, None, 0, 0)))
    for key, (table, rows) in align(tables, np.float64).items():
        with jax.enable_x64(True):
            end = np.asarray(sample(network.params, table, rows, x, labels))
        yield key, end


def sample_all(network: Network, tables: Mapping, x, labels, desc: str) -> dict:
    """{key: ends [n, *D]} of {key: table}."""
    ends, total = {}, sum(table.nfe for table in tables.values())
    with Progress(total=total, desc=desc, unit="evaluation") as bar:
        for key, end in solutions(network, tables, x, labels):
            ends[key] = end
            bar.update(tables[key].nfe)
    return ends


def official_samples(oracle: official.Oracle, tables: Mapping) -> Iterator[tuple]:
    """Yields (case, samples [4, *D]) of {case: table}."""
    groups = defaultdict(dict)
    for case, table in tables.items():
        groups[case.schedule, case.model, thresholded(oracle, case)][case] = table
    with Progress(total=len(tables), desc="cases", unit="case") as bar:
        for (schedule, *model), group in groups.items():
            network = official.network(oracle, schedule, *model)
            for case, end in solutions(network, group, official.noise(schedule), np.arange(4)):
                yield case, end
                bar.update()
