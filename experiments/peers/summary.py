"""The report of `peers`: tables, versions, and a picture."""

import numpy as np

from experiments.peers.overhead import HERE
from experiments.support.plots import plt, save
from experiments.support.scores import format_table

QUANTITIES = ("cpu_ms", "wall_ms", "copy_ms", "over_copy", "ours_over_this", "images_per_second")
COLUMNS = (
    *("what", "shape", "library", "solver", "dtype", "batch", "nfe"),
    *(f"{quantity}{end}" for quantity in QUANTITIES for end in ("", "_low", "_high")),
    *("first_s", "build_s", "build_mb", "run_mb", "gflop", "share_of_peak", "difference", "status"),
)
PRINTED = {  # column of a table -> of a row
    "overhead": {
        "library": "library",
        "solver": "solver",
        "CPU ms/step": "cpu_ms",
        "wall": "wall_ms",
        "over copy": "over_copy",
        "ours/this": "ours_over_this",
        "first s": "first_s",
        "build s": "build_s",
        "build MB": "build_mb",
        "run MB": "run_mb",
        "difference": "difference",
    },
    "network": {
        "library": "library",
        "precision": "dtype",
        "images/s": "images_per_second",
        "ours/this": "ours_over_this",
        "first s": "first_s",
        "of the peak": "share_of_peak",
        "difference": "difference",
    },
}


def text(rows, about: dict) -> str:
    """about: versions, device, platform, devices, steps, repeats, network_repeats."""
    lines = [", ".join(f"{name} {version}" for name, version in about["versions"].items())]
    lines.append("{devices} {platform} devices, {device}".format(**about))
    overheads = [row for row in rows if row["what"] == "overhead"]
    for shape in dict.fromkeys(row["shape"] for row in overheads):
        lines.append(
            "\n{}: above the bare network, per step of {steps}; medians of {repeats} (quartiles)".format(shape, **about)
        )
        lines.append(table([row for row in overheads if row["shape"] == shape], "overhead"))
        copies = {row["solver"]: row["copy_ms"] for row in overheads if row["shape"] == shape and "copy_ms" in row}
        lines.append("plain copy, ms/step: " + ", ".join(f"{solver} {ms:.3g}" for solver, ms in copies.items()))
    networks = [row for row in rows if row["what"] == "network"]
    lines.append(
        "\nCIFAR-10 DDPM++, batch {batch}, {nfe} evaluations of {gflop:.3g} GFLOP an image; ".format(**networks[0])
        + f"medians of {about['network_repeats']} (quartiles)"
    )
    lines.append(table(networks, "network"))
    reasons = {row["library"]: row["status"] for row in rows if row.get("status")}
    return "\n".join([*lines, *(f"{library}: {reason}" for library, reason in reasons.items())])


def table(rows, kind: str) -> str:
    columns = PRINTED[kind]
    measured = list(columns)[2]
    shown = []
    for row in rows:
        line = {column: _with_quartiles(row, key) for column, key in columns.items()}
        if row.get("status"):
            line[measured] = row["status"].partition(" (")[0].partition(":")[0]
        shown.append(line)
    return format_table(shown, columns, compare=False)


def _with_quartiles(row, key):
    value = row.get(key)
    if value is None or isinstance(value, str):
        return value
    if f"{key}_low" not in row:
        return f"{value:.3g}"
    return f"{value:.3g} ({row[f'{key}_low']:.3g} to {row[f'{key}_high']:.3g})"


def plot(path, rows, clock: str) -> None:
    """Milliseconds per step by solver and library, a panel for each shape; black: the plain copy. clock: cpu | wall."""
    rows = sorted((row for row in rows if "copy_ms" in row), key=lambda row: row["solver"])
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, axes = plt.subplots(1, len(shapes), figsize=(4.5 * len(shapes), 3.6), squeeze=False, layout="constrained")
    for axis, shape in zip(axes[0], shapes):
        shown = [row for row in rows if row["shape"] == shape]
        at, copies = np.arange(len(shown)), [row["copy_ms"] for row in shown]
        values = [row[f"{clock}_ms"] for row in shown]
        axis.barh(at, values, color=["C1" if row["library"] == HERE else "C0" for row in shown])
        axis.vlines(copies, at - 0.4, at + 0.4, color="black")
        axis.set_yticks(at, [f"{row['solver']}, {row['library']}" for row in shown], fontsize=8)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set(title=shape, xlabel=f"{'CPU' if clock == 'cpu' else clock} ms per step above the network")
    save(figure, path)
