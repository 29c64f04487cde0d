"""Passports: everything a score depends on, so that only comparable scores stand in one column.

A passport is a dictionary of plain values. Scores compare if the keys of MEASURE agree; otherwise they are in different
columns. The keys of ORIGIN name the solver's table and statistics, which is what a table compares.
"""

from collections.abc import Sequence

import numpy as np

from solvers.fingerprint import fingerprint

MEASURE = ("features", "input", "uint8", "images", "indices", "labels", "reference")
ORIGIN = ("table", "ems")
UNKNOWN = "not known"


def passport(about: dict, reference: str, indices, *, seed=None, labels=UNKNOWN, uint8=UNKNOWN, **origin) -> dict:
    """Builds a passport. about: Space.about() of the features. indices [N]: the images that were scored.

    seed: the seed of the samples, None for other images. labels, uint8: the rules that made labels and pixels.
    """
    made = {"uint8": uint8, "images": len(indices), "indices": span(indices), "labels": labels, "reference": reference}
    if seed is not None:
        made["indices"] += f" of seed {seed}"
    return about | made | {key: origin.get(key) or "none" for key in ORIGIN}


def span(indices) -> str:
    """The indices as text: `0 to 511`, or a hash if they are not consecutive."""
    indices = np.asarray(indices, np.int64)
    if np.array_equal(indices, np.arange(len(indices)) + indices[:1].sum()):
        return f"{indices[0]} to {indices[-1]}" if len(indices) else "none"
    return f"{len(indices)} between {indices.min()} and {indices.max()}, hash {fingerprint(indices)}"


def name(passport: dict) -> str:
    """The name of a passport: 8 hexadecimal digits, the same for all solvers."""
    return fingerprint({key: passport[key] for key in MEASURE})[:8]


def describe(passport: dict) -> str:
    """The passport in one line."""
    return "; ".join(str(passport[key]) if key == "uint8" else f"{key} {passport[key]}" for key in MEASURE)


def apart(rows: Sequence[dict], metrics: Sequence[str]) -> tuple[list[dict], dict, list[str]]:
    """Puts scores with different passports into different columns: (rows, {metric: its columns}, lines that say why).

    A row has its scores under the names in `metrics` (and NAME_se), and their passport under `passport`. The first
    passport's column has the name of the metric, the others are `NAME [2]` and so on.
    """
    of = {}  # all passports by name, in the order of rows
    for row in rows:
        if row.get("passport"):
            of.setdefault(name(row["passport"]), row["passport"])
    order, moved = list(of), [dict(row) for row in rows]
    columns = {metric: [metric] for metric in metrics}
    for row in moved:
        number = order.index(name(row["passport"])) if row.get("passport") else 0
        for metric in metrics if number else ():
            for tail in ("", "_se"):
                value = row.pop(f"{metric}{tail}", None)
                if value is not None:
                    row[f"{metric} [{number + 1}]{tail}"] = value
            if f"{metric} [{number + 1}]" in row and f"{metric} [{number + 1}]" not in columns[metric]:
                columns[metric].append(f"{metric} [{number + 1}]")
    return moved, columns, [_why(number, list(of.values())) for number in range(len(of))]


def _why(number: int, passports: list[dict]) -> str:
    """A line on a passport: the first one whole, another one only where it differs from the first."""
    first, mine = passports[0], passports[number]
    if not number:
        return f"passport {name(mine)}: {describe(mine)}"
    other = "; ".join(f"{key} {mine[key]}, not {first[key]}" for key in MEASURE if mine[key] != first[key])
    return f"[{number + 1}] does not compare: passport {name(mine)}: {other}"
