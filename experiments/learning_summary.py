"""From curves of explained variance against training steps to statements: is the Gaussian part learned first?

Three statements are judged at each noise level, by 2 standard errors where values are compared:
  first    the Gaussian comes to 99 % of its largest value at an earlier snapshot than every other closed form to 99 %
           of its own
  falls    after its peak the Gaussian explains less again: the network leaves it
  rises    the data themselves ("delta") explain more at the end than they did at the Gaussian's peak
Standard errors of differences take the two snapshots as independent. They share their noised images, and what is
explained of an image at one snapshot grows with what is explained of it at another: the true errors are smaller.
"""

import numpy as np

MEASURES = ("score", "denoiser", "centered")
SHARES = (0.9, 0.95, 0.99)
STATEMENTS = ("first", "falls", "rises")
GAUSSIAN, DELTA = "gaussian", "delta"


class Curve:
    """One closed form, one noise level, one measure: `steps` increasing, `values`, `errors` by snapshot."""

    def __init__(self, rows, measure):
        rows = sorted(rows, key=lambda row: row["step"])
        self.steps = [row["step"] for row in rows]
        self.values = np.array([row[measure] for row in rows])
        self.errors = np.array([row[f"{measure}_se"] for row in rows])
        self.peak = int(np.argmax(self.values))

    def reached(self, share) -> int:
        """The first step with `share` of the largest value; the peak's own where nothing is explained at all."""
        enough = self.values >= min(share * self.values[self.peak], self.values[self.peak])
        return self.steps[int(np.argmax(enough))]

    def change(self, since) -> tuple[float, float]:
        """Last value less that of snapshot number `since`, and its standard error."""
        if since == len(self.steps) - 1:
            return 0.0, 0.0
        return float(self.values[-1] - self.values[since]), float(np.hypot(self.errors[-1], self.errors[since]))

    def above(self, other) -> int | None:
        """The step from which on all values are above those of `other`; None if the last one is not."""
        below = np.flatnonzero(self.values <= other.values)
        first = below[-1] + 1 if len(below) else 0
        return self.steps[first] if first < len(self.steps) else None


def group(rows) -> dict:
    """{(split, measure, sigma): {name: Curve}}."""
    found = {}
    for row in rows:
        for measure in MEASURES:
            found.setdefault((row["split"], measure, row["sigma"]), {}).setdefault(row["name"], []).append(row)
    return {key: {name: Curve(rows, key[1]) for name, rows in names.items()} for key, names in found.items()}


def curves(rows) -> list[dict]:
    """A row per curve: first, largest, last value; when shares of the largest were reached; what came after it."""
    found = []
    for (split, measure, sigma), names in group(rows).items():
        for name, curve in names.items():
            fall, fall_se = curve.change(curve.peak)
            found.append(
                {"split": split, "measure": measure, "sigma": sigma, "name": name}
                | {"start": curve.values[0], "peak": curve.values[curve.peak], "end": curve.values[-1]}
                | {f"step_{share:.0%}".rstrip("%"): curve.reached(share) for share in SHARES}
                | {"step_peak": curve.steps[curve.peak], "since_peak": fall, "since_peak_se": fall_se}
                | {"step_above_gaussian": None if name == GAUSSIAN else curve.above(names[GAUSSIAN])}
            )
    return found


def verdicts(rows) -> list[dict]:
    """A row per images, measure and sigma: the numbers behind each statement, and whether it holds."""
    found = []
    for (split, measure, sigma), names in group(rows).items():
        mine = names[GAUSSIAN]
        steps = {name: curve.reached(SHARES[-1]) for name, curve in names.items()}
        change, change_se = mine.change(mine.peak)
        rise, rise_se = names[DELTA].change(mine.peak)
        found.append(
            {"split": split, "measure": measure, "sigma": sigma, "steps": steps}
            | {"peak_step": mine.steps[mine.peak], "peak": float(mine.values[mine.peak])}
            | {"change": change, "change_se": change_se, "delta_change": rise, "delta_change_se": rise_se}
            | {"first": all(steps[GAUSSIAN] < step for name, step in steps.items() if name != GAUSSIAN)}
            | {"falls": change < -2 * change_se, "rises": rise > 2 * rise_se}
        )
    return found


def text(verdicts) -> str:
    """The verdicts on the score and on the centred denoiser as tables, and how often each statement holds."""
    lines = []
    for measure, title in (("score", "score"), ("centered", "denoiser, counted from the mean of the data")):
        mine = [row for row in verdicts if row["measure"] == measure]
        names = list(mine[0]["steps"])
        lines += [
            f"Explained variance of the {title}: the step at which 99 % of the largest value is reached;",
            "the Gaussian's peak, the change since then (± standard error), the change of delta since then",
            f"{'images':8}{'sigma':>6}"
            + "".join(f"{name:>10}" for name in names)
            + f"{'peak step':>11}{'peak':>9}{'change':>20}{'delta':>20}  statements that hold",
        ]
        for row in mine:
            held = ", ".join(name for name in STATEMENTS if row[name]) or "none"
            changes = (f"{row[key]:+.4f} ± {row[key + '_se']:.4f}" for key in ("change", "delta_change"))
            lines.append(
                f"{row['split']:8}{row['sigma']:6g}"
                + "".join(f"{row['steps'][name]:10d}" for name in names)
                + f"{row['peak_step']:11d}{row['peak']:9.4f}"
                + "".join(f"{change:>20}" for change in changes)
                + f"  {held}"
            )
        counts = ", ".join(f"{name} {sum(row[name] for row in mine)}" for name in STATEMENTS)
        every = sum(all(row[name] for name in STATEMENTS) for row in mine)
        lines.append(f"of {len(mine)}: {counts}; all three {every}\n")
    return "\n".join(lines)
