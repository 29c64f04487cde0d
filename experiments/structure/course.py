"""Tests on curves of explained variance against training steps whether the Gaussian part is learned first.

Three statements are judged at each noise level; values differ if they are 2 standard errors apart:
  first    the Gaussian reaches 99 % of its largest value at an earlier snapshot than every other closed form reaches
           99 % of its own
  falls    after its peak the Gaussian explains less again: the network leaves it
  rises    the data themselves ("delta") explain more at the end than they did at the Gaussian's peak
All snapshots see the same noised images, so a change has the standard error of its mean over images, not that of two
independent means.
"""

from typing import NamedTuple

import numpy as np

from experiments.structure.explained import KINDS
from experiments.support.tables import text_table
from gaussian.analysis import mean_and_error

GAUSSIAN, DELTA = "gaussian", "delta"
NAMES = (GAUSSIAN, "classes", "kmeans", DELTA)
SHARES = (90, 95, 99)  # % of the largest value
STATEMENTS = ("first", "falls", "rises")
HEAD = ("images", "sigma", *NAMES, "peak step", "peak", "change", "delta", "overtaken", "statements that hold")


class Course(NamedTuple):
    """Explained variance of T snapshots: values {split: [T, names, kinds, sigmas, images]}, of NAMES and KINDS."""

    steps: list
    images_seen: list
    sigmas: list
    values: dict


class Curve:
    """One closed form, one noise level, one kind: `steps` [T] increasing, `samples` [T, images]."""

    def __init__(self, steps, samples):
        self.steps, self.samples = steps, np.asarray(samples, np.float64)
        self.values = self.samples.mean(axis=1)
        self.peak = int(np.argmax(self.values))

    def reached(self, percent) -> int:
        """The first step with `percent` of the largest value; the peak's step if nothing is explained at all."""
        largest = self.values[self.peak]
        return self.steps[int(np.argmax(self.values >= min(percent / 100 * largest, largest)))]

    def change(self, since) -> tuple[float, float]:
        """The last value minus that of snapshot number `since`, and its standard error."""
        return mean_and_error(self.samples[-1] - self.samples[since])

    def above(self, other) -> int | None:
        """The step from which on all values are above those of `other`; None if the last one is not."""
        below = np.flatnonzero(self.values <= other.values)
        first = below[-1] + 1 if len(below) else 0
        return self.steps[first] if first < len(self.steps) else None


def rows(course) -> list[dict]:
    """A row per snapshot, images, sigma and closed form, with a mean and a standard error of each kind."""
    found = []
    for split, values in course.values.items():
        for (t, n, s), _ in np.ndenumerate(values[:, :, 0, :, 0]):
            row = {"step": course.steps[t], "images_seen": course.images_seen[t], "split": split}
            row |= {"sigma": course.sigmas[s], "name": NAMES[n]}
            for kind, samples in zip(KINDS, values[t, n, :, s]):
                row[kind], row[f"{kind}_se"] = mean_and_error(samples)
            found.append(row)
    return sorted(found, key=lambda row: (row["split"], row["sigma"], NAMES.index(row["name"])))


def group(course) -> dict:
    """{(split, kind, sigma): {name: Curve}}."""
    return {
        (split, kind, sigma): {name: Curve(course.steps, values[:, n, k, s]) for n, name in enumerate(NAMES)}
        for split, values in course.values.items()
        for k, kind in enumerate(KINDS)
        for s, sigma in enumerate(course.sigmas)
    }


def curves(course) -> list[dict]:
    """A row per curve: first, largest, last value; when shares of the largest were reached; what came after it."""
    found = []
    for (split, kind, sigma), names in group(course).items():
        for name, curve in names.items():
            change, error = curve.change(curve.peak)
            found.append(
                {"split": split, "kind": kind, "sigma": sigma, "name": name}
                | {"start": curve.values[0], "peak": curve.values[curve.peak], "end": curve.values[-1]}
                | {f"step_{percent}": curve.reached(percent) for percent in SHARES}
                | {"step_peak": curve.steps[curve.peak], "since_peak": change, "since_peak_se": error}
                | {"step_above_gaussian": None if name == GAUSSIAN else curve.above(names[GAUSSIAN])}
            )
    return found


def verdicts(course) -> list[dict]:
    """A row per images, kind and sigma: the numbers behind each statement, and whether it holds."""
    found = []
    for (split, kind, sigma), names in group(course).items():
        mine = names[GAUSSIAN]
        steps = {name: curve.reached(SHARES[-1]) for name, curve in names.items()}
        change, change_se = mine.change(mine.peak)
        rise, rise_se = names[DELTA].change(mine.peak)
        overtaken = [step for name in NAMES[1:] if (step := names[name].above(mine)) is not None]
        found.append(
            {"split": split, "kind": kind, "sigma": sigma, "steps": steps}
            | {"peak_step": mine.steps[mine.peak], "peak": float(mine.values[mine.peak])}
            | {"change": change, "change_se": change_se, "delta_change": rise, "delta_change_se": rise_se}
            | {"overtaken": min(overtaken, default=None)}
            | {"first": all(steps[GAUSSIAN] < step for name, step in steps.items() if name != GAUSSIAN)}
            | {"falls": change < -2 * change_se, "rises": rise > 2 * rise_se}
        )
    return found


def text(verdicts) -> str:
    """The verdicts on the score and on the centred denoiser as tables, and how often each statement holds."""
    lines = []
    for kind, title in (("score", "score"), ("centered", "denoiser, counted from the mean of the data")):
        mine = [row for row in verdicts if row["kind"] == kind]
        counts = ", ".join(f"{name} {sum(row[name] for row in mine)}" for name in STATEMENTS)
        every = sum(all(row[name] for name in STATEMENTS) for row in mine)
        lines += [
            f"Explained variance of the {title}: the step at which 99 % of the largest value is reached;",
            "the Gaussian's peak, the change since then (± standard error), the change of delta since then;",
            "the step from which on another explains more than the Gaussian",
            text_table([HEAD, *map(_cells, mine)]),
            f"of {len(mine)}: {counts}; all three {every}\n",
        ]
    return "\n".join(lines)


def _cells(row) -> list:
    held = ", ".join(name for name in STATEMENTS if row[name]) or "none"
    changes = (f"{row[key]:+.4f} ± {row[key + '_se']:.4f}" for key in ("change", "delta_change"))
    steps = (row["steps"][name] for name in NAMES)
    overtaken = "never" if row["overtaken"] is None else row["overtaken"]
    return [
        row["split"],
        f"{row['sigma']:g}",
        *steps,
        row["peak_step"],
        f"{row['peak']:.4f}",
        *changes,
        overtaken,
        held,
    ]
