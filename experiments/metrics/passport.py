"""What a number is of, so that two people can agree on it, and two that differ are never put side by side.

A passport is a dictionary of plain values. The keys of MEASURE make a number what it is: numbers compare where these
agree, and are in columns of their own where they do not. Those of ORIGIN tell which solver's table and statistics the
images are from, which is what a table compares.
"""

from collections.abc import Sequence

import numpy as np

from solvers.fingerprint import fingerprint

MEASURE = ("features", "input", "uint8", "images", "indices", "labels", "reference")
ORIGIN = ("table", "ems")
UNKNOWN = "not known"


def passport(about: dict, reference: str, indices, *, seed=None, labels=UNKNOWN, uint8=UNKNOWN, **origin) -> dict:
    """about: of the feature space (features.Space.about); indices [N] of the images that were scored.

    seed: of the samples, None for other images. labels, uint8: the rules that labels and pixels were made by.
    """
    made = {"uint8": uint8, "images": len(indices), "indices": span(indices), "labels": labels, "reference": reference}
    if seed is not None:
        made["indices"] += f" of seed {seed}"
    return about | made | {key: origin.get(key) or "none" for key in ORIGIN}


def span(indices) -> str:
    """`0 to 511`, or a hash of those that are not consecutive."""
    indices = np.asarray(indices, np.int64)
    if np.array_equal(indices, np.arange(len(indices)) + indices[:1].sum()):
        return f"{indices[0]} to {indices[-1]}" if len(indices) else "none"
    return f"{len(indices)} between {indices.min()} and {indices.max()}, hash {fingerprint(indices)}"


def name(passport: dict) -> str:
    """8 hexadecimal digits of what the number is of, whatever solver's it is."""
    return fingerprint({key: passport[key] for key in MEASURE})[:8]


def describe(passport: dict) -> str:
    """One line."""
    return "; ".join(str(passport[key]) if key == "uint8" else f"{key} {passport[key]}" for key in MEASURE)


def apart(rows: Sequence[dict], metrics: Sequence[str]) -> tuple[list[dict], dict, list[str]]:
    """Numbers of different passports in different columns: (rows, {metric: its columns}, lines that say why).

    A row has its numbers under the names of `metrics` (and NAME_se), and what they are of under `passport`. The first
    passport's column has the name of the metric, others `NAME [2]` and so on.
    """
    of = {}  # the passports that there are, by name, in the order of rows
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
    """The first passport whole; of another, what it has else: why its numbers have a column of their own."""
    first, mine = passports[0], passports[number]
    if not number:
        return f"passport {name(mine)}: {describe(mine)}"
    other = "; ".join(f"{key} {mine[key]}, not {first[key]}" for key in MEASURE if mine[key] != first[key])
    return f"[{number + 1}] does not compare: passport {name(mine)}: {other}"
