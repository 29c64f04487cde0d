"""Every case of a directory of official numbers (oracle.py), run through the public API in float64 and compared.

    python main.py --config=configs/parity.py --config.oracle=DIR

A case is right when its samples differ from the official ones by at most a tolerance times their largest value. Writes
parity.json (every case) and parity.csv (every method), prints the methods, and fails if a covered case is off.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from experiments.checks import oracle as official
from experiments.checks.runners import build_all
from experiments.checks.solving import official_samples
from experiments.data import files
from experiments.support import scores
from experiments.support.errors import ConfigError
from experiments.support.tables import text_table

TOLERANCE = 1e-9
# The directory's own integrals of these, over a large last step that ends next to the branch point of sigma at t = 0,
# are good to 6e-7 (seen with an adaptive quadrature); smaller steps agree to TOLERANCE.
QUADRATURE = dict.fromkeys(("deis_tab1_exact", "deis_tab2_exact", "deis_tab3_exact"), 1e-5)


def run(config, workdir) -> list[dict]:
    """Compares all cases of `config.oracle`; ArithmeticError, after everything is written, if a covered one is off."""
    if not config.oracle:
        raise ConfigError("parity compares with a directory of official numbers: set --config.oracle=DIR")
    workdir, oracle = Path(workdir), official.load(config.oracle)
    tables, reasons = build_all(oracle)
    errors = {case: difference(got[:2], official.final(oracle, case)) for case, got in official_samples(oracle, tables)}
    rows = summarise(oracle, errors, reasons)
    scores.write_csv(workdir / "parity.csv", rows, tuple(rows[0]))
    cases = [case._asdict() | {"error": errors.get(case), "reason": reasons.get(case)} for case in oracle.cases]
    files.write_json(workdir / "parity.json", {"methods": rows, "cases": cases})
    print(methods_table(rows))
    off = sum(row["off"] for row in rows)
    print(f"{len(errors)} of {len(oracle.cases)} cases run, {len(errors) - off} within tolerance, {off} off")
    if off:
        raise ArithmeticError(f"{off} of {len(errors)} cases are off by more than their tolerance: see {workdir}")
    return rows


def difference(got, expected) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def summarise(oracle, errors, reasons) -> list[dict]:
    """One row per method: cases run, worst error, how many are off, and why others are not covered."""
    rows = []
    for method, about in oracle.methods.items():
        cases = [case for case in oracle.cases if case.method == method]
        found = [errors[case] for case in cases if case in errors]
        tolerance = QUADRATURE.get(method, TOLERANCE)
        why = Counter(reasons[case] for case in cases if case in reasons)
        rows.append(
            {
                "method": method,
                "cases": len(cases),
                "run": len(found),
                "worst": max(found, default=None),
                "tolerance": tolerance,
                "off": sum(not error <= tolerance for error in found),
                "not_covered": "; ".join(f"{count}: {reason}" for reason, count in why.items()),
                "what": about["desc"],
            }
        )
    return rows


def methods_table(rows) -> str:
    lines = [("method", "cases", "run", "worst", "off", "not covered")]
    for row in rows:
        worst = "-" if row["worst"] is None else f"{row['worst']:.1e}"
        lines.append((row["method"], row["cases"], row["run"], worst, row["off"], row["not_covered"]))
    return text_table(lines)
