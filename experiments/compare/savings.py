"""Tables of what teleportation saves: each solver without and with its best jump, EDM's Heun by skipped intervals."""

from experiments.compare import published
from experiments.compare.contest import MEASURES
from experiments.support.tables import text_table


def summary(rows, heun: str) -> str:
    """The tables as text. heun: the label of EDM's Heun."""
    grid, skipping = ([row for row in rows if (row["solver"] == heun) == wanted] for wanted in (False, True))
    measures = [name for name in MEASURES if name in rows[0]]
    parts = [by_solver(grid, measure) for measure in measures if grid]
    if skipping:
        head = ["skipped", "nfe", "sigma", *(MEASURES[name] for name in measures), "published FID of CIFAR10"]
        lines = [[*_start_of(row), *(number(row, name) for name in measures), _published(row)] for row in skipping]
        parts.append(f"{heun}: intervals skipped, by evaluations\n{text_table([head, *lines])}")
    return "\n".join(parts)


def by_solver(rows, measure) -> str:
    """A table of the measure without teleport and the best with it, for each solver and nfe, and the nfe saved."""
    lines = [["", "nfe", "without", "best", "sigma"]]
    for label in dict.fromkeys(row["solver"] for row in rows):
        pairs = best_starts([row for row in rows if row["solver"] == label], measure)
        for plain, best in pairs:
            shown = ("none helps", "") if best is plain else (number(best, measure), f"{best['teleport']:g}")
            lines.append([label, plain["nfe"], number(plain, measure), *shown])
        lines.append(["", "", "", "for the same:", savings(pairs, measure)])
    title = f"{MEASURES[measure]}, ± half the range over seeds: without -> best teleport (sigma), and evaluations saved"
    return f"{title}\n{text_table(lines)}"


def _start_of(row) -> list:
    return [row["skipped"], row["nfe"], "-" if row["teleport"] is None else f"{row['teleport']:.4g}"]


def _published(row):
    return row[published.COLUMNS["CIFAR10"]] or "-"


def best_starts(rows, measure) -> list[tuple[dict, dict]]:
    """For each number of evaluations, the row without teleport and the one with the smallest measure."""
    found = []
    for nfe in dict.fromkeys(row["nfe"] for row in rows):
        mine = [row for row in rows if row["nfe"] == nfe]
        plain = next(row for row in mine if row["teleport"] is None)
        found.append((plain, min([plain, *mine], key=lambda row: row[measure])))
    return found


def savings(pairs, measure) -> str:
    """For each measured nfe without teleport: the smallest nfe with teleport that is at least as good."""
    saved = []
    for plain, _ in pairs:
        enough = [b["nfe"] for _, b in pairs if b["teleport"] is not None and b[measure] <= plain[measure]]
        if enough and min(enough) < plain["nfe"]:
            saved.append(f"{min(enough)} instead of {plain['nfe']}")
    return ", ".join(saved) or "none saved"


def number(row, measure) -> str:
    return f"{row[measure]:.4g} ± {row[measure + '_spread']:.1g}"
