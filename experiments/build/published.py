"""The numbers of a paper (`published` of the config) beside those measured here: shown, never compared with them."""

from collections.abc import Iterable, Mapping

COLUMN = "published"


def published_of(config, label: str, nfe: int) -> float | None:
    """The published number of a label of `benchmark.solvers` at a number of evaluations, or None."""
    return dict(config.published.rows).get(label, {}).get(nfe)


def published_column(config, label: str, nfe: int) -> dict:
    """What a row of a table has more where the config has published numbers at all."""
    return {COLUMN: published_of(config, label, nfe)} if config.published.rows else {}


def published_note(config, rows: Iterable[Mapping]) -> list[str]:
    """A line on the column `published`; none where it is empty."""
    if all(row.get(COLUMN) is None for row in rows):
        return []
    metric, source = config.published.metric, config.published.source
    return [f"published: {metric} ({source}); NOT measured here"]
