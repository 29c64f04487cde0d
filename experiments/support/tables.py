"""Formats tables as text."""

from collections.abc import Sequence


def text_table(lines: Sequence[Sequence], rules: Sequence[int] = (), gap: str = "  ") -> str:
    """A table of lines with equally many cells; the first line is the head. Only the first column is flush left.

    rules: the numbers of the lines that have a rule above them.
    """
    cells = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = gap.replace(" ", "-").replace("|", "+").join("-" * width for width in widths)
    text = []
    for n, line in enumerate(cells):
        text += [rule] if n in rules else []
        text.append(gap.join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]).rstrip())
    return "\n".join(text)


def number_table(rows: Sequence[dict], text, across: str = "nfe", down: str = "solver") -> str:
    """A table with a line for each value of `down` and a column for each of `across`; cells: text(row), or "-"."""
    heads = sorted({row[across] for row in rows})
    found = {}
    for row in rows:
        found.setdefault(row[down], {})[row[across]] = text(row)
    return text_table([["", *heads], *([name, *(own.get(h, "-") for h in heads)] for name, own in found.items())])
