"""Writes rows of results as a table and as CSV. Scores with different passports never share a column."""

import csv

from experiments.data.files import replacing
from experiments.metrics.passport import ORIGIN, apart, name
from experiments.metrics.registry import METRICS
from experiments.support.tables import text_table

DISTANCES = ("fid", "frechet", "sfid")
MORE = tuple(column for metric in METRICS.values() for column in metric.scores)
SCORES = DISTANCES + MORE  # numbers that have a passport
ERRORS = ("rmse", "rmse_median", "rmse_median_se")
MEANINGS = {
    "fid": "Fréchet Inception distance",
    "sfid": "Fréchet distance in spatial features of Inception (sFID)",
    "frechet": "Fréchet distance in the features that the passport names, NOT the Inception FID,",
}
ENOUGH = 10_000
BIASED = "compare equal counts only, or extrapolate (score.extrapolate)"
ABOUT = ("passport", "table", "ems")  # hashes that describe a score
COLUMNS = ("solver", "nfe", "teleport", *ERRORS, *DISTANCES, "images", "seconds", *ABOUT)
PRINTED = ("solver", "nfe", "teleport", "rmse", "rmse_median", *DISTANCES, "images", "seconds", "published")
SMALLER_IS_BETTER = ("rmse", "rmse_median", *DISTANCES)


def write_csv(path, rows, columns=COLUMNS):
    """Writes one line per row (a dict); None is left empty. Scores: see `separate`."""
    rows, columns = separate(rows, columns, errors=True)
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if row.get(c) is None else row[c] for c in columns] for row in rows])


def separate(rows, columns, errors=False) -> tuple[list[dict], list[str]]:
    """Puts scores with different passports into different columns: (rows, columns). Without scores nothing changes.

    Scores that no row has are left out of `columns`. With `errors`, each score is followed by its standard error.
    """
    rows, of, _ = apart(rows, SCORES)
    wide = []
    for column in columns:
        wide += of.get(column, [column])
    known = [c for c in wide if not c.startswith(SCORES) or any(row.get(c) is not None for row in rows)]
    if errors:
        known = [c for score in known for c in ((score, f"{score}_se") if score.startswith(SCORES) else (score,))]
    if not any("passport" in row for row in rows):
        known = [c for c in known if c not in ABOUT]
    for row in rows:
        if passport := row.get("passport"):
            row |= {key: passport[key] for key in ORIGIN} | {"passport": name(passport)}
    return rows, known


def passports(rows) -> list[str]:
    """Lines on the passports of the scores, and why some scores have columns of their own."""
    return apart(rows, SCORES)[2]


def best(rows, column):
    """The smallest value of a column for each nfe. Rows without a number there do not take part."""
    values = {}
    for row in rows:
        if row.get(column) is not None and row["solver"] != "reference":
            values.setdefault(row["nfe"], []).append(row[column])
    return {nfe: min(found) for nfe, found in values.items() if len(found) > 1}


def format_table(rows, columns=PRINTED, compare=True):
    """The rows as text, sorted by nfe. With `compare`, `*` marks the best solver of each nfe in each column of errors.

    A column without any value is left out.
    """
    rows, columns = separate(rows, columns)
    columns = [column for column in columns if any(row.get(column) is not None for row in rows)]
    rows = sorted(rows, key=lambda row: row.get("nfe") or 0)
    marks = {column: best(rows, column) for column in columns if column.startswith(SMALLER_IS_BETTER) and compare}
    lines = [columns]
    for row in rows:
        line = []
        for column in columns:
            mark = column in marks and row["solver"] != "reference" and row.get(column) is not None
            mark = mark and marks[column].get(row["nfe"]) == row[column]
            line.append(_text(row, column) + ("*" if mark else " " if column in marks else ""))
        lines.append(line)
    budgets = [None, *(row.get("nfe") for row in rows)]
    rules = [n for n in range(1, len(lines)) if n == 1 or budgets[n] != budgets[n - 1]]
    return text_table(lines, rules, gap=" | ")


def _text(row, column):
    value = row.get(column)
    if value is None:
        return "-"
    if row.get(f"{column}_se") is not None:
        return f"{value:.4g} ± {row[f'{column}_se']:.1g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def legend(rows) -> str:
    """The meaning of the columns."""
    text = ["rmse: to the reference solution of the same noise; rmse_median: median over samples, ± its standard error"]
    return "\n".join([*text, *notes(rows), "*: best of its number of evaluations"])


def notes(rows) -> list[str]:
    """Lines on the scores in rows: what each one is, what it is not, and its passport."""
    lines = []
    for score, meaning in MEANINGS.items():
        counts = {row["images"] for row in rows if row.get(score) is not None}
        if counts:
            lines.append(f"{score}: {meaning} of {', '.join(map(str, sorted(counts)))} images, ± its standard error")
        if counts and min(counts) < ENOUGH:
            lines.append(f"with less than {ENOUGH} images it is biased upwards, also by some standard errors: {BIASED}")
    for metric in METRICS.values():
        if any(row.get(score) is not None for score in metric.scores for row in rows):
            lines.append(f"{', '.join(metric.scores)}: {metric.meaning}")
    return lines + passports(rows)
