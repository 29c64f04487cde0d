"""What each solver does to each variance of Gaussian data: exact errors, without a network (gaussian/modes.py).

    python main.py --config=configs/spectrum.py

The error is that of the standard deviation at the end of sampling, relative to the exact one, of starts that have the
exact variance. Writes spectrum.png, results.csv (every number) and results.json. With `reference`, the eigenvalues of
the pixel covariance of that data set are marked, and errors averaged over them.

The EMS of dpm_v3 are those of the Gaussian, in closed form; an entry of `benchmark.solvers` says which, with `ems`:
  pixels  of data whose pixels are all alike, so that each pixel has an equal share of every mode, and the statistics
          are one number for all: what v3 can do in pixels. Of the eigenvalues of the data, or of all variances.
  modes   of the Gaussian in its own basis, a number per mode. Then v3 is exact up to its integrals.
"""

from pathlib import Path

import numpy as np

from experiments.build.checkpoints import find
from experiments.build.schedules import build_nfes, build_schedule, build_solvers, sampling_range
from experiments.build.tables import build_table
from experiments.data import files
from experiments.data.progress import Progress
from experiments.metrics.frechet import load_reference
from experiments.metrics.threads import one_thread
from experiments.support import curves as plots_of_errors
from experiments.support import scores as report
from experiments.support.errors import ConfigError, choose, config_errors
from gaussian import Mixture, gaussian_ems, spectrum

PREDICTION = "x0"  # all predictions give the same numbers
COLUMNS = ("solver", "nfe", "variance", "gain", "exact_gain", "noise", "deviation", "exact_deviation", "error")
NOTE = "worst: largest relative error of the standard deviation at the end, and the variance where it is"
NOTE_DATA = "; data: root mean square error over the eigenvalues of the data's pixel covariance, weighted by them"


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    report.write_config(workdir / "config.json", config)
    variances, eigenvalues = build_variances(config), data_eigenvalues(config)
    wanted = [(label, options, nfe) for nfe in build_nfes(config) for label, options in build_solvers(config)]
    curves = {}
    for label, options, nfe in Progress(wanted, desc="spectrum", unit="table"):
        curves[label, nfe] = curve(config, options, nfe, variances, eigenvalues)
    rows = [{"solver": key[0], "nfe": key[1]} | summary(found, eigenvalues) for key, found in curves.items()]
    write(workdir, curves, rows, eigenvalues)
    print(report.format_table(rows, ("solver", "nfe", "worst", "variance", "data")))
    print(NOTE + NOTE_DATA * bool(len(eigenvalues)))
    return rows


def build_variances(config) -> np.ndarray:
    """Log-spaced, from `spectrum.variances` = (smallest, largest, count)."""
    low, high, count = config.spectrum.variances
    if not 0 < low < high or count < 2:
        raise ConfigError(f"spectrum.variances must be smallest, largest, count, above 0, got {(low, high, count)}")
    return np.geomspace(low, high, int(count))


def data_eigenvalues(config) -> np.ndarray:
    """Of the pixel covariance in `reference`, descending; none without one. Rounding has made some of them negative."""
    if not config.reference:
        return np.zeros(0)
    with config_errors():
        covariance = load_reference(find(config.reference))["train_pixel_cov"]
    with one_thread(len(covariance)):
        return np.maximum(np.linalg.eigvalsh(covariance.astype(np.float64))[::-1], 0)


def curve(config, options, nfe, variances, eigenvalues):
    """The Spectrum of one solver at one nfe."""
    schedule, options, ems = build_schedule(config), dict(options), None
    start, end = sampling_range(config, schedule)
    kind = options.pop("ems", "pixels")
    if options["name"] == "dpm_v3":
        lam = np.linspace(schedule.lam(start), schedule.lam(end), config.ems.nodes + 1)
        ems = choose({"pixels": ems_of_pixels, "modes": ems_of_modes}, kind, "ems of dpm_v3")(
            variances, eigenvalues, lam
        )
    table = build_table(config, options, nfe, PREDICTION, ems)
    return spectrum(table, schedule, variances, PREDICTION, end_of(table, schedule, end))


def ems_of_modes(variances, _, lam):
    """In the basis of the Gaussian: l, s, b [G + 1, M]."""
    count = len(variances)
    basis = np.eye(count)[None]
    return gaussian_ems(Mixture(np.ones(1), np.zeros((1, count)), basis, variances[None], np.zeros(1), (count,)), lam)


def ems_of_pixels(variances, eigenvalues, lam):
    """Of one pixel, whose row of U has entries of equal square: l, s, b [G + 1]."""
    shared = (eigenvalues if len(eigenvalues) else variances)[None]
    row = np.full((1, *shared.shape), shared.size**-0.5)
    return gaussian_ems(Mixture(np.ones(1), np.zeros((1, 1)), row, shared, np.zeros(1), ()), lam)


def end_of(table, schedule, t_end) -> float:
    """t_end, or 0 for a table that goes on to sigma = 0, as Heun's of odd nfe: it takes a point mass to a point."""
    point = spectrum(table, schedule, np.zeros(table.a.shape[1:]), PREDICTION, t_end)
    return 0.0 if np.all(point.deviation < 1e-6 * point.exact_deviation) else t_end


def summary(found, eigenvalues) -> dict:
    """The largest error and where it is; and over the data, from the errors between neighbouring variances."""
    worst = int(np.abs(found.error).argmax())
    row = {"worst": float(found.error[worst]), "variance": float(found.variances[worst])}
    if len(eigenvalues):
        log = np.log(np.maximum(eigenvalues, found.variances[0]))
        error = np.interp(log, np.log(found.variances), found.error)
        row["data"] = float(np.sqrt((eigenvalues * error**2).sum() / eigenvalues.sum()))
    return row


def write(workdir: Path, curves, rows, eigenvalues) -> None:
    lines, stored = [], []
    for (label, nfe), found in curves.items():
        columns = {"variance": found.variances, "error": found.error}
        columns |= {name: getattr(found, name) for name in COLUMNS if name not in ("solver", "nfe", *columns)}
        columns = {name: np.asarray(columns[name]).tolist() for name in COLUMNS if name in columns}
        stored.append({"solver": label, "nfe": nfe, **columns})
        lines += [dict(zip(COLUMNS, (label, nfe, *values))) for values in zip(*columns.values())]
    report.write_csv(workdir / "results.csv", lines, COLUMNS)
    found = {"rows": rows, "note": NOTE + NOTE_DATA, "eigenvalues": eigenvalues.tolist(), "curves": stored}
    files.write_json(workdir / "results.json", found)
    plots_of_errors.plot_spectrum(workdir / "spectrum.png", curves, eigenvalues)
