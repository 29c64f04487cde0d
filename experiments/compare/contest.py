"""Compares methods with a fine solution from the same noise: errors and scores, and their spread over seeds.

Results are kept per method and seed. So a killed run goes on, and a run with more methods or seeds measures only those.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.build import Method, Problem, Scorer
from experiments.data.pixels import to_uint8
from experiments.data.progress import Progress
from experiments.metrics.distances import rmse
from experiments.sampling import REFERENCE, Sampler, aligned, fine_method, solve_exactly
from experiments.support.kept import Kept
from solvers.fingerprint import fingerprint

MEASURES = {"rmse": "RMSE", "rmse_median": "median RMSE", "frechet": "Fréchet distance", "fid": "FID"}


class Entry(NamedTuple):
    """A method and the sampler of its problem. Methods of one contest may use different coordinates."""

    sampler: Sampler
    method: Method


class Measured(NamedTuple):
    """Errors, scores and seconds of a method, and its samples: uint8 images or float32 points."""

    row: dict
    samples: np.ndarray | None


@dataclass(frozen=True)
class Contest:
    """Compares methods with the fine solution of `sampler.problem` at samples `indices`.

    The fine solution is UniPC's with `reference_nfe` evaluations, or exact for a closed-form model. Measures are kept
    in workdir/measured; with `pictures` in workdir/samples, together with the samples.
    """

    sampler: Sampler
    reference_nfe: int
    indices: np.ndarray
    scorer: Scorer | None
    workdir: Path
    pictures: bool = False

    @property
    def problem(self) -> Problem:
        return self.sampler.problem

    @cached_property
    def reference(self) -> Method | None:
        """The method of the fine solution, None for an exact one. As an entry it has scores but no errors."""
        return None if self.problem.exact is not None else fine_method(self.problem, self.reference_nfe)

    @cached_property
    def exact(self) -> Callable:
        """exact(seed): the exact solution of a closed-form model, computed once for each seed."""
        return cache(partial(solve_exactly, self.problem, indices=self.indices))

    @cached_property
    def settings(self) -> Callable:
        """settings(seed): everything but the method that measures depend on, hashed once for each seed."""
        return cache(self._settings)

    def run(self, entries: Mapping, seeds, desc: str) -> dict:
        """Measures {key: Entry} with each seed: {(key, seed): Measured}."""
        methods, reference = {key: entry.method for key, entry in entries.items()}, self.reference
        methods = aligned(methods | ({REFERENCE: reference} if reference else {}))
        total = len(seeds) * len(self.indices) * sum(methods[key].nfe for key in entries)
        found = {}
        with Progress(total=total, desc=desc, unit="evaluation", unit_scale=True) as bar:
            for seed in seeds:
                solution = cache(partial(self._solve, methods.get(REFERENCE), seed, bar))
                for key, entry in entries.items():
                    bar.set_postfix_str(f"{methods[key].label} {methods[key].nfe}")
                    done = bar.done
                    found[key, seed] = self._measure(key, Entry(entry.sampler, methods[key]), seed, solution, bar)
                    bar.update(methods[key].nfe * len(self.indices) - (bar.done - done))  # what was kept
        return found

    def _measure(self, key, entry: Entry, seed: int, solution, bar) -> Measured:
        """The kept measurement of an entry, or a new one."""
        sampler, method = entry
        origin = method.origin()
        made = origin | {"jump": method.jump and fingerprint(method.jump)}
        kept = Kept(self.workdir / ("samples" if self.pictures else "measured"), self.settings(seed) | made)
        name = f"{fingerprint(str(key))}-seed{seed}"
        if self.pictures:
            name = REFERENCE if key == REFERENCE else method.slug
        if known := kept.read(name):
            return Measured(known[1][0], known[0].get("images"))
        x, seconds = solution() if key == REFERENCE else self._draw(sampler, method, seed, bar)
        row = {} if key == REFERENCE else rmse(x, solution()[0])
        row |= self.scorer.row(x, origin, seed) if self.scorer else {}
        row |= {"images": len(x), "seconds": seconds}
        samples = as_files_have(x)
        kept.write(name, {"images": samples, "indices": self.indices} if self.pictures else {}, [row])
        return Measured(row, samples if self.pictures else None)

    def _draw(self, sampler: Sampler, method: Method, seed: int, bar) -> tuple[np.ndarray, float]:
        return sampler.collect(method, self.indices, seed=seed, on_batch=lambda count: bar.update(method.nfe * count))

    def _solve(self, reference: Method | None, seed: int, bar) -> tuple[np.ndarray, float | None]:
        """The fine solution in full precision, and its seconds (None if exact)."""
        if reference is None:
            return self.exact(seed), None
        kept = Kept(self.workdir / "measured", self.settings(seed))
        if known := kept.read(f"fine-seed{seed}"):
            return known[0]["x"], known[1][0]
        x, seconds = self._draw(self.sampler, reference, seed, bar)
        kept.write(f"fine-seed{seed}", {"x": x}, [seconds])
        return x, seconds

    def _settings(self, seed: int) -> dict:
        """Everything but the method that measures depend on."""
        problem, scorer = self.problem, self.scorer
        what = problem.identity | {"shape": list(problem.network.shape), "dtype": problem.dtype, "seed": seed}
        what |= {"count": len(self.indices), "labels": fingerprint(problem.labels(self.indices, seed))}
        what["fine"] = self.reference.origin()["table"] if self.reference else "exact"
        return what | ({"features": scorer.about, "reference": scorer.frechet.reference} if scorer else {})


def as_files_have(x) -> np.ndarray:
    """Samples [n, *shape] as they are written: images uint8, points float32."""
    return to_uint8(x) if x.ndim == 4 else x.astype(np.float32)


def over_seeds(found: Mapping, seeds) -> dict:
    """{key: {measure: mean over seeds, measure_spread: half the range}}, from the result of Contest.run."""
    return {key: spread([found[key, seed].row for seed in seeds]) for key, seed in found if seed == seeds[0]}


def spread(rows: list[dict]) -> dict:
    """The mean of each measure over rows, and half the range under NAME_spread."""
    row = {}
    for name in MEASURES:
        column = [value[name] for value in rows if name in value]
        if column:
            row |= {name: float(np.mean(column)), f"{name}_spread": float(np.ptp(column)) / 2}
    return row


def seed_rows(found: Mapping) -> list[dict]:
    """Rows for a file: all measures of each key and seed, with the passports of scores."""
    return [{"key": str(key), "seed": seed} | measured.row for (key, seed), measured in found.items()]
