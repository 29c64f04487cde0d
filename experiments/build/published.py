"""Numbers from papers, shown beside those measured here and never compared with them."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from experiments.build.checkpoints import ROOT
from experiments.support.errors import ConfigError

COLUMN = "published"


@dataclass(frozen=True)
class PublishedNumbers:
    """The section `published` of a config: {label of benchmark.solvers: {nfe: number}}, the metric and the source."""

    rows: Mapping
    metric: str
    source: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (COLUMN,) if self.rows else ()

    def column(self, label: str, nfe: int) -> dict:
        """The extra column of a table's row; empty if the config has no published numbers."""
        return {COLUMN: self.rows.get(label, {}).get(nfe)} if self.rows else {}

    def note(self, rows: Iterable[Mapping]) -> list[str]:
        """A line on the column `published`; no line if the column is empty."""
        if all(row.get(COLUMN) is None for row in rows):
            return []
        return [f"published: {self.metric} ({self.source}); NOT measured here"]


def published_numbers(config) -> PublishedNumbers:
    c = config.published
    for row in c.rows:
        if not (isinstance(row, (tuple, list)) and len(row) == 2 and isinstance(row[1], Mapping)):
            raise ConfigError(f"a row of published.rows must be (label, {{nfe: number}}), got {row!r}: give it that form")
    return PublishedNumbers(dict(c.rows), c.metric, c.source)


def read_published(name: str) -> list[dict]:
    """Reads the rows of assets/published/NAME.csv. Its first lines, with #, give the source of the numbers."""
    with open(ROOT / "assets" / "published" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
