"""Many tables from the same noise, once per seed, against a fine solution: errors, and their spread over seeds.

What has been measured is kept, per table and seed, by a hash of all that it depends on: a run that is killed goes on
where it was, and a run with more tables or seeds measures those only.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.build.network import build_labels
from experiments.build.schedules import build_indices
from experiments.build.scoring import build_frechet
from experiments.compare.benchmark import errors
from experiments.data import files
from experiments.data.pixels import to_uint8
from experiments.ems.estimate import identity
from experiments.images.case import hash_of_table, passport_of
from experiments.sampling.alignment import align
from solvers import Table
from solvers.fingerprint import fingerprint

MEASURES = {"rmse": "RMSE", "rmse_median": "median RMSE", "frechet": "Fréchet distance", "fid": "FID"}


class Entry(NamedTuple):
    """collect: make_sampler's; jump: to where the table starts, or None; ems: the hash of those it uses, or None."""

    collect: Callable
    table: Table
    jump: tuple | None = None
    ems: str | None = None


def contest(config, network, entries: Mapping, seeds, path: Path) -> dict:
    """{key: {measure: mean over seeds, measure_spread: half the range}} for the keys of `entries`, the first of which
    is the fine solution that errors are to, and has none itself. `path`: a JSON file of what has been measured.
    """
    indices, frechet, (fine, *keys) = build_indices(config), build_frechet(config), entries
    aligned = align({key: entry.table for key, entry in entries.items()})
    names = dict(zip(entries, _names(config, network, frechet, entries)))
    rows = _read(path)
    known = {(row["made"], row["seed"]): row["measured"] for row in rows}
    missing = {seed: [key for key in keys if (names[key], seed) not in known] for seed in seeds}
    with tqdm(total=len(keys) * len(seeds), desc="contest", unit="table", disable=None) as bar:
        bar.update(bar.total - sum(map(len, missing.values())))
        for seed in filter(missing.get, seeds):
            reference, _ = entries[fine].collect(*aligned[fine], indices, seed=seed)
            for key in missing[seed]:
                samples, _ = entries[key].collect(*aligned[key], indices, seed=seed, jump=entries[key].jump)
                measured = errors(samples, reference) | (frechet(to_uint8(samples)) if frechet else {})
                known[names[key], seed] = measured
                row = {"key": str(key), "made": names[key], "seed": seed, "measured": measured}
                rows.append(row | _passport(config, frechet, entries[key], seed))
                files.write_json(path, rows)
                bar.update()
    return {key: spread([known[names[key], seed] for seed in seeds]) for key in keys}


def _read(path: Path) -> list[dict]:
    try:
        return json.loads(path.read_text()) if path.exists() else []
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, and all is measured again") from error


def _passport(config, frechet, entry: Entry, seed) -> dict:
    if frechet is None:
        return {}
    origin = {"table": hash_of_table(entry.table), "ems": entry.ems}
    settings = origin | {"seed": seed, "labels": str(config.model.labels)}
    return {"passport": passport_of(frechet, settings, config.sample.count)}


def _names(config, network, frechet, entries):
    """A hash of each entry with all that its samples and measures depend on beside the seed."""
    fine = next(iter(entries.values())).table
    what = identity(config, network) | {"shape": network.shape, "dtype": config.model.dtype}
    what |= {"features": frechet.space.about(), "reference": frechet.reference} if frechet else {}
    what |= {"labels": build_labels(config, network, build_indices(config)), "fine": fine}
    common = fingerprint(what)
    return [fingerprint({"common": common, "table": entry.table, "jump": entry.jump}) for entry in entries.values()]


def spread(values: list[dict]) -> dict:
    """Mean over seeds of each measure, and half the range under NAME_spread."""
    row = {}
    for name in MEASURES:
        column = [value[name] for value in values if name in value]
        if column:
            row |= {name: float(np.mean(column)), f"{name}_spread": float(np.ptp(column)) / 2}
    return row
