"""Sums up the rows of experiments/structure/analysis.py, in numbers and as text."""

import numpy as np

from experiments.structure.explained import KINDS, SPLITS
from experiments.support.tables import text_table
from gaussian import analysis

LONG = {"score": "score", "denoiser": "denoiser", "centered": "denoiser counted from the data's mean"}
CERTAIN = 2  # a difference above so many standard errors counts


def curves(rows, split: str, kind: str, family="main") -> dict:
    """{name: (sigmas, shares, standard errors)} of a family of closed forms, in the order of the rows."""
    found = {}
    for row in rows:
        if row["images"] == split and row["family"] == family:
            found.setdefault(row["name"], []).append((row["sigma"], row[kind], row[f"{kind}_se"]))
    return {name: tuple(np.array(values) for values in zip(*sorted(points))) for name, points in found.items()}


def summarise(rows, share: float) -> dict:
    """Sums up the rows.

    smallest: for each form, the smallest sigma above which it explains `share`, or None; crossing: the same,
    interpolated between the sigmas (analysis.choose_skip). gaussian_or_delta: which of them explains more, by sigma.
    """
    smallest, crossing, contest = [], [], []
    for split in SPLITS:
        by_kind = {kind: curves(rows, split, kind) for kind in KINDS}
        for name in by_kind["score"]:
            place = {"images": split, "name": name}
            found = {kind: analysis.smallest_sigma(*by_kind[kind][name][:2], share) for kind in KINDS}
            smallest.append(place | found)
            crossing.append(
                place
                | {
                    kind: None if sigma is None else analysis.choose_skip(*by_kind[kind][name][:2], share)
                    for kind, sigma in found.items()
                }
            )
        for kind in KINDS:
            contest += differences(by_kind[kind], "Gaussian", "delta", {"images": split, "kind": kind})
    return {"share": share, "smallest": smallest, "crossing": crossing, "gaussian_or_delta": contest}


def differences(found: dict, one: str, other: str, place: dict) -> list[dict]:
    """The difference of two curves. Its error is overstated: it ignores that both share their points."""
    (sigmas, a, a_se), (_, b, b_se) = found[one], found[other]
    return [
        place | {"sigma": float(sigma), "difference": float(value), "standard_error": float(error)}
        for sigma, value, error in zip(sigmas, a - b, np.hypot(a_se, b_se), strict=True)
    ]


def better(contest, split: str, kind: str) -> dict[str, list[float]]:
    """The noise levels at which the Gaussian explains more than delta, less, or as much within CERTAIN errors."""
    found = {"Gaussian": [], "delta": [], "even": []}
    for row in contest:
        if (row["images"], row["kind"]) == (split, kind):
            certain = abs(row["difference"]) > CERTAIN * row["standard_error"]
            found["even" if not certain else "Gaussian" if row["difference"] > 0 else "delta"].append(row["sigma"])
    return found


def text(found, share: float) -> str:
    """Tables of the main forms, and the answers to the two questions."""
    lines = []
    for split in SPLITS:
        for kind in KINDS:
            lines += ["", f"Explained of the {LONG[kind]}, {split} images, by sigma", table(found["rows"], split, kind)]
    lines += ["", f"Smallest sigma from which on {100 * share:g} % is explained (score / denoiser / from the mean)"]
    smallest = {(row["name"], row["images"]): " / ".join(_level(row[k]) for k in KINDS) for row in found["smallest"]}
    names = dict.fromkeys(name for name, _ in smallest)
    lines.append(text_table([["", *SPLITS], *([name, *(smallest[name, split] for split in SPLITS)] for name in names)]))
    lines += ["", f"Gaussian or delta, certain by {CERTAIN} standard errors"]
    for split in SPLITS:
        for kind in KINDS:
            levels = better(found["gaussian_or_delta"], split, kind)
            answer = "; ".join(f"{who} at {', '.join(f'{s:g}' for s in at) or 'none'}" for who, at in levels.items())
            lines.append(f"{split}, {LONG[kind]}: {answer}")
    return "\n".join(lines).strip()


def table(rows, split: str, kind: str) -> str:
    """A line per main form, a column per sigma."""
    found = curves(rows, split, kind)
    lines = [["sigma", *(f"{sigma:g}" for sigma in next(iter(found.values()))[0])]]
    lines += [[name, *map(_number, shares)] for name, (_, shares, _) in found.items()]
    return text_table(lines)


def _number(value) -> str:
    return f"{value:.3f}" if value > -10 else f"{value:.1e}"


def _level(sigma) -> str:
    return "none" if sigma is None else f"{sigma:g}"
