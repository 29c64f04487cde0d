"""Files that a run leaves, and its table as text. Nothing carries its final name before it is complete."""

import csv
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from models.checkpoint import write_npz

COLUMNS = ("solver", "nfe", "teleport", "rmse", "rmse_median", "rmse_median_se", "frechet", "images", "seconds")
PRINTED = ("solver", "nfe", "teleport", "rmse", "rmse_median", "frechet", "images", "seconds", "published")
SMALLER_IS_BETTER = ("rmse", "rmse_median", "frechet")


@contextmanager
def replacing(path):
    """Gives a temporary path beside `path`, with its suffix, and renames it to `path` if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def write_config(path, config):
    """The resolved config, as JSON."""
    write_json(path, json.loads(config.to_json_best_effort()))


def write_csv(path, rows, columns=COLUMNS):
    """One line per row (a dict); a value of None is left empty."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if row.get(c) is None else row[c] for c in columns] for row in rows])


def write_samples(path, images, indices, **more):
    """`images` uint8 [n, H, W, C] (float32 [n, *D] for data that are not images) and `indices` [n]."""
    write_npz(path, {"images": images, "indices": np.asarray(indices), **more}, compress=True)


def slug(label: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("++", "pp")).strip("-")


def best(rows, column):
    """For each nfe, the smallest value of a column; rows without a number there do not take part."""
    values = {}
    for row in rows:
        if row.get(column) is not None and row["solver"] != "reference":
            values.setdefault(row["nfe"], []).append(row[column])
    return {nfe: min(found) for nfe, found in values.items() if len(found) > 1}


def format_table(rows, columns=PRINTED, compare=True):
    """The rows as text, sorted by nfe; `*` marks the best solver of each nfe in each column of errors, if they compare.

    A column without any value is left out.
    """
    columns = [column for column in columns if any(row.get(column) is not None for row in rows)]
    rows = sorted(rows, key=lambda row: row["nfe"])
    marks = {column: best(rows, column) for column in SMALLER_IS_BETTER} if compare else {}
    lines = [columns]
    for row in rows:
        line = []
        for column in columns:
            mark = column in marks and row["solver"] != "reference" and row.get(column) is not None
            mark = mark and marks[column].get(row["nfe"]) == row[column]
            line.append(_text(row, column) + ("*" if mark else " " if column in marks else ""))
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = []
    for n, line in enumerate(lines):
        if n == 1 or (n > 1 and rows[n - 1]["nfe"] != rows[n - 2]["nfe"]):
            text.append("-+-".join("-" * width for width in widths))
        text.append(" | ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]))
    return "\n".join(text)


def _text(row, column):
    value = row.get(column)
    if value is None:
        return "-"
    if column == "rmse_median" and row.get("rmse_median_se") is not None:
        return f"{value:.4g} ± {row['rmse_median_se']:.1g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def legend(rows) -> str:
    """What the columns mean."""
    text = ["rmse: to the reference solution of the same noise; rmse_median: median over samples, ± its standard error"]
    if any(row.get("frechet") is not None for row in rows):
        text.append(frechet_note(rows[0]["images"]))
    return "\n".join(text + ["*: best of its number of evaluations"])


def frechet_note(images: int) -> str:
    return (
        f"frechet: Fréchet distance of {images} images to the training set in the features of a small classifier of "
        "this data set; NOT the Inception FID; biased upwards with few images: compare equal counts only"
    )
