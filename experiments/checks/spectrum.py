"""Computes the exact error of each solver for each variance of Gaussian data, without a network (gaussian/modes.py).

    python main.py --config=configs/spectrum.py

The starts have the exact variance. The error is that of the standard deviation at the end, relative to the exact one.
Writes spectrum.png, results.csv (every number) and results.json. With `reference`, the eigenvalues of the pixel
covariance of that data set are marked, and errors are averaged over them.

The EMS of dpm_v3 are those of the Gaussian, in closed form; an entry of `benchmark.solvers` says which, with `ems`:
  pixels  of data whose pixels are all alike, so that each pixel has an equal share of every mode, and the statistics
          are one number for all: what v3 can do in pixels. Of the eigenvalues of the data, or of all variances.
  modes   of the Gaussian in its own basis, a number per mode. Then v3 is exact up to its integrals.
"""

from pathlib import Path

import numpy as np

from configs.sections import Ems, Spectrum
from experiments import build
from experiments.checks import figures, modes
from experiments.data import files
from experiments.data.progress import Progress
from experiments.metrics.frechet import load_reference
from experiments.metrics.threads import one_thread
from experiments.support import scores
from experiments.support.errors import config_errors

COLUMNS = ("solver", "nfe", "variance", "gain", "exact_gain", "noise", "deviation", "exact_deviation", "error")
NOTE = "worst: largest relative error of the standard deviation at the end, and the variance where it is"
NOTE_DATA = "; data: root mean square error over the eigenvalues of the data's pixel covariance, weighted by them"


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    tables = build.make_tables(config, build.schedule(config), modes.PREDICTION, build.is_guided(config))
    low, high, count = build.settings(config.spectrum, Spectrum).variances
    variances = np.geomspace(low, high, int(count))
    eigenvalues, nodes = data_eigenvalues(config.reference), build.settings(config.ems, Ems).nodes
    wanted = [(label, options, nfe) for nfe in build.nfes(config) for label, options in build.solvers(config)]
    curves = {}
    for label, options, nfe in Progress(wanted, desc="spectrum", unit="table"):
        curves[label, nfe] = modes.curve(tables, options, nfe, variances, eigenvalues, nodes)
    rows = [{"solver": key[0], "nfe": key[1]} | modes.summary(found, eigenvalues) for key, found in curves.items()]
    write(workdir, curves, rows, eigenvalues)
    print(scores.format_table(rows, ("solver", "nfe", "worst", "variance", "data")))
    print(NOTE + NOTE_DATA * bool(len(eigenvalues)))
    return rows


def data_eigenvalues(reference: str) -> np.ndarray:
    """Eigenvalues of the pixel covariance in a file, descending; none without one. Rounding made some negative."""
    if not reference:
        return np.zeros(0)
    with config_errors():
        covariance = load_reference(build.find(reference))["train_pixel_cov"]
    with one_thread(len(covariance)):
        return np.maximum(np.linalg.eigvalsh(covariance.astype(np.float64))[::-1], 0)


def write(workdir: Path, curves, rows, eigenvalues) -> None:
    lines, stored = [], []
    for (label, nfe), found in curves.items():
        columns = {"variance": found.variances, "error": found.error}
        columns |= {name: getattr(found, name) for name in COLUMNS if name not in ("solver", "nfe", *columns)}
        columns = {name: np.asarray(columns[name]).tolist() for name in COLUMNS if name in columns}
        stored.append({"solver": label, "nfe": nfe, **columns})
        lines += [dict(zip(COLUMNS, (label, nfe, *values))) for values in zip(*columns.values())]
    scores.write_csv(workdir / "results.csv", lines, COLUMNS)
    found = {"rows": rows, "note": NOTE + NOTE_DATA, "eigenvalues": eigenvalues.tolist(), "curves": stored}
    files.write_json(workdir / "results.json", found)
    figures.plot_spectrum(workdir / "spectrum.png", curves, eigenvalues)
