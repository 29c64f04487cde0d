"""The report of `throughput`: where the time goes, as text and as a picture."""

import numpy as np

from experiments.support.plots import plt, save
from experiments.support.tables import text_table

QUARTILES = ("median", "low", "high")
PARTS = {"bare": "network", "engine": "noise and solver", "runner": "reading and writing", "scored": "scoring"}


def shares_of(seconds: dict) -> list[dict]:
    """The extra time of each contestant over the one before, divided by the time of the last.

    seconds: {contestant: [segments]}. low and high: quartiles over segments of the same share within a segment.
    """
    taken = np.array(list(seconds.values()))
    more = np.diff(taken, axis=0, prepend=0)
    shares, quartiles = more.sum(axis=1) / taken[-1].sum(), np.percentile(more / taken[-1], (25, 75), axis=1).T
    return [
        {"part": PARTS[name], "share": float(share), "low": float(low), "high": float(high)}
        for name, share, (low, high) in zip(seconds, shares, quartiles)
    ]


def text(rows, shares, about: dict, absent) -> str:
    """The report as text. about: solver, nfe, batch, devices, platform, cores; absent: unavailable device counts."""
    kinds = {kind: [row for row in rows if row["what"] == kind] for kind in dict.fromkeys(row["what"] for row in rows)}
    cores = " on {cores} cores".format(**about) if about["cores"] else ""
    head = "{solver}, {nfe} network evaluations, {devices} {platform} devices".format(**about) + cores
    first = kinds["contestant"][0]
    lines = [f"{head}; medians of {kinds['batch'][0]['repeats']} (quartiles)", _rates("batch", kinds["batch"])]
    lines.append(
        f"\n{first['repeats']} times {first['images']} images in batches of {about['batch']}, over the bare network:"
    )
    totals = [f"{row['ratio_of_totals']:.3f}" for row in kinds["contestant"]]
    lines.append(_rates("contestant", kinds["contestant"], {"of its time": ".3f"}, {"in total": totals}))
    lines.append(f"\nbatches of {about['batch']} on the first devices, over {kinds['devices'][0]['name']}:")
    lines.append(_rates("devices", kinds["devices"], {"times as fast": ".2f"}))
    if absent:
        lines.append(f"{', '.join(map(str, absent))}: there are not so many; cpu_devices simulates them")
    lines.append("\ncompilation of a batch, with the persistent cache:")
    lines.append(_compilation(kinds["compilation"]))
    return "\n".join([*lines, "\n" + _limit(shares, first["repeats"] * first["images"])])


def _rates(what: str, rows, ratio: dict | None = None, more: dict | None = None) -> str:
    """A table with a line per row: rate, ratio under the head of `ratio` ({head: form}), and the columns `more`."""
    columns = {what: [row["name"] for row in rows]}
    columns["images/s"] = [_quartiles(row, "images_per_second", ".1f") for row in rows]
    columns |= {head: [_quartiles(row, "ratio", form) for row in rows] for head, form in (ratio or {}).items()}
    columns |= more or {}
    return text_table([list(columns), *zip(*columns.values())])


def _compilation(rows) -> str:
    """A table with a line per state of the cache and a column per stage; the names of rows are `stage, state`."""
    found = {}
    for row in rows:
        stage, state = row["name"].split(", ")
        found.setdefault(state, {})[stage] = row
    lines = [["cache", "seconds", "of empty", *list(next(iter(found.values())))[:-1]]]
    for state, stages in found.items():
        *parts, whole = stages.values()
        of_empty = f"{whole['ratio_median']:.2f}"
        lines.append([state, _quartiles(whole, "seconds", ".2f"), of_empty])
        lines[-1] += [f"{part['seconds_median']:.2f}" for part in parts]
    return text_table(lines)


def _quartiles(row, key, form) -> str:
    median, low, high = (format(row[f"{key}_{q}"], form) for q in QUARTILES)
    return f"{median} ({low} to {high})"


def _limit(shares, images) -> str:
    most, *others = sorted(shares, key=lambda share: -share["share"])
    others = "; ".join(f"{share['part']} {share['share']:.1%}" for share in others)
    return f"limited by {most['part']}, {most['share']:.1%} of the time of {images} images; {others}"


def plot(path, rows, shares, cores: int | None) -> None:
    """Draws images per second by batch, shares of the time, and speed by devices; error bars are quartiles.

    cores: the cores that simulated devices share, None for real ones.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    sizes, *measured = _points(rows, "batch", "images_per_second")
    left.errorbar(sizes, *measured, marker="o", capsize=3)
    left.set_xscale("log", base=2)
    left.set(xlabel="batch", ylabel="images per second", title="by batch")

    parts = [share["part"] for share in shares]
    values, low, high = (100 * np.array([share[key] for share in shares]) for key in ("share", "low", "high"))
    middle.barh(parts, values, color="C1")
    middle.hlines(parts, low, high, color="black")
    for part, value, end in zip(parts, values, np.maximum(values, high)):
        middle.text(max(end, 0) + 2, part, f"{value:.1f} %", va="center")
    middle.set_xlim(min(0, *low) - 2, 140)
    middle.invert_yaxis()
    middle.set(xlabel="% of the time", title="what limits")

    counts, *measured = _points(rows, "devices", "ratio")
    right.errorbar(counts, *measured, marker="o", capsize=3, label="measured")
    ideal, label = np.minimum(counts, cores or np.inf), f"ideal, of {cores} cores" if cores else "ideal"
    right.plot(counts, ideal / ideal[0], color="0.7", linestyle="--", label=label)
    right.set_xscale("log", base=2)
    right.set(xlabel="devices", ylabel=f"times as fast as {counts[0]}", title="by devices, same batch")
    right.legend()
    for axis, ticks in ((left, sizes), (right, counts)):
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
        axis.set_ylim(0, 1.1 * axis.dataLim.y1)
    save(figure, path)


def _points(rows, what, key):
    """x, medians, and the distances (below, above) from them to the quartiles."""
    rows = [row for row in rows if row["what"] == what]
    median, low, high = (np.array([row[f"{key}_{q}"] for row in rows]) for q in QUARTILES)
    return [row["name"] for row in rows], median, (median - low, high - median)
