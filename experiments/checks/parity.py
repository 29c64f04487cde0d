"""Every case of a directory of official numbers (official.py), run through the public API in float64 and compared.

    python main.py --config=configs/parity.py --config.oracle=DIR

A case is right when its samples differ from the official ones by at most a tolerance times their largest value. Writes
parity.json (every case) and parity.csv (every method), prints the methods, and fails if a covered case is off.
"""

from collections import Counter, defaultdict
from pathlib import Path

import jax
import numpy as np

import gaussian
import models
from experiments.checks import oracle as official
from experiments.data import files
from experiments.data.progress import Progress
from experiments.sampling.alignment import align
from experiments.support import scores as report
from experiments.support.errors import ConfigError
from solvers import advance

TOLERANCE = 1e-9
GUIDANCE = 7.5  # of the model `cfg`
# The directory's own integrals of these, over a large last step that ends next to the branch point of sigma at t = 0,
# are good to 6e-7 (seen with an adaptive quadrature); smaller steps agree to TOLERANCE.
QUADRATURE = dict.fromkeys(("deis_tab1_exact", "deis_tab2_exact", "deis_tab3_exact"), 1e-5)


def run(config, workdir) -> list[dict]:
    """Compare all cases of `config.oracle`; ArithmeticError, after everything is written, if a covered one is off."""
    if not config.oracle:
        raise ConfigError("parity compares with a directory of official numbers: set --config.oracle=DIR")
    workdir, oracle = Path(workdir), official.load(config.oracle)
    report.write_config(workdir / "config.json", config)
    tables, reasons = build_tables(oracle)
    errors = {case: difference(got[:2], official.final(oracle, case)) for case, got in samples(oracle, tables)}
    rows = summarise(oracle, errors, reasons)
    report.write_csv(workdir / "parity.csv", rows, tuple(rows[0]))
    cases = [case._asdict() | {"error": errors.get(case), "reason": reasons.get(case)} for case in oracle.cases]
    files.write_json(workdir / "parity.json", {"methods": rows, "cases": cases})
    print(format_table(rows))
    off = sum(row["off"] for row in rows)
    print(f"{len(errors)} of {len(oracle.cases)} cases run, {len(errors) - off} within tolerance, {off} off")
    if off:
        raise ArithmeticError(f"{off} of {len(errors)} cases are off by more than their tolerance: see {workdir}")
    return rows


def build_tables(oracle) -> tuple[dict, dict]:
    """{case: table} of the cases that are covered, and {case: reason} of the others."""
    tables, reasons = {}, {}
    for case in Progress(oracle.cases, desc="tables", unit="case"):
        try:
            tables[case] = official.build(oracle, case)
            if tables[case].nfe != case.calls:
                reasons[case] = f"{tables[case].nfe} evaluations, the official code took {case.calls}"
        except (official.NotCovered, ValueError) as error:
            reasons[case] = str(error)
    return {case: table for case, table in tables.items() if case not in reasons}, reasons


def difference(got, expected) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def samples(oracle, tables):
    """Yields (case, samples [4, *D]) of {case: table}, in float64."""
    groups = defaultdict(dict)
    for case, table in tables.items():
        groups[case.schedule, case.model, official.thresholded(oracle, case)][case] = table
    with jax.enable_x64(True), Progress(total=len(tables), desc="cases", unit="case") as bar:
        for (schedule, name, thresholded), group in groups.items():
            sample = make_sample(oracle, official.SCHEDULES[schedule], name, thresholded)
            for case, (table, rows) in align(group, np.float64).items():
                yield case, np.asarray(sample(table, rows, official.noise(case), np.arange(4)))
                bar.update()


def make_sample(oracle, schedule, name, thresholded):
    """The jitted sample(table, rows, x [B, *D], classes [B]) of a model of the directory; call it with x64 on."""
    make = make_model(oracle, schedule, name)

    def one(table, rows, x, label):
        model = models.dynamic_threshold(make(label), schedule, "x0") if thresholded else make(label)
        return advance(model, table, x, rows)

    return jax.jit(jax.vmap(one, in_axes=(None, None, 0, 0)))


def make_model(oracle, schedule, name):
    """`make(label) -> model(x, t)`, predicting x0, of a model of the directory; only `cfg` depends on the label."""
    mixture = official.mixture(oracle.models, name)

    def make(label):
        whole = gaussian.denoiser(mixture, schedule)
        if name != "cfg":
            return whole
        of_class = mixture.weights * (oracle.models["gmm_class"] == label)
        part = gaussian.denoiser(mixture._replace(weights=of_class / of_class.sum()), schedule)
        return models.guided(part, whole, GUIDANCE)

    return make


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


def format_table(rows) -> str:
    lines = [f"{'method':26} {'cases':>5} {'run':>5} {'worst':>9} {'off':>4}  not covered"]
    for row in rows:
        worst = "-" if row["worst"] is None else f"{row['worst']:.1e}"
        lines.append(
            f"{row['method']:26} {row['cases']:5} {row['run']:5} {worst:>9} {row['off']:4}  {row['not_covered']}"
        )
    return "\n".join(lines)
