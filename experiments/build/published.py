"""The numbers of papers beside those measured here: shown, never compared with them."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from experiments.build.checkpoints import ROOT

COLUMN = "published"


@dataclass(frozen=True)
class PublishedNumbers:
    """The section `published` of a config: {label of benchmark.solvers: {nfe: number}}, of which metric, and whose."""

    rows: Mapping
    metric: str
    source: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (COLUMN,) if self.rows else ()

    def column(self, label: str, nfe: int) -> dict:
        """What a row of a table has more where the config has published numbers at all."""
        return {COLUMN: self.rows.get(label, {}).get(nfe)} if self.rows else {}

    def note(self, rows: Iterable[Mapping]) -> list[str]:
        """A line on the column `published`; none where it is empty."""
        if all(row.get(COLUMN) is None for row in rows):
            return []
        return [f"published: {self.metric} ({self.source}); NOT measured here"]


def published_numbers(config) -> PublishedNumbers:
    c = config.published
    return PublishedNumbers(dict(c.rows), c.metric, c.source)


def read_published(name: str) -> list[dict]:
    """The rows of assets/published/NAME.csv, whose first lines, with #, say where the numbers are from."""
    with open(ROOT / "assets" / "published" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
