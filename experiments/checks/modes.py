"""The errors of a solver on Gaussian data, mode by mode, and the statistics (EMS) of such data in closed form."""

from collections.abc import Mapping

import numpy as np

from experiments.build import Tables
from experiments.support.errors import choose
from gaussian import Mixture, Spectrum, gaussian_ems, spectrum

PREDICTION = "x0"  # all predictions give the same numbers


def curve(tables: Tables, options: Mapping, nfe: int, variances, eigenvalues, nodes: int) -> Spectrum:
    """The spectrum of one solver at one nfe; nodes: of the statistics of dpm_v3, `ems.nodes`."""
    schedule, options, ems = tables.schedule, dict(options), None
    kind = options.pop("ems", "pixels")
    if options["name"] == "dpm_v3":
        lam = np.linspace(*(schedule.lam(t) for t in tables.span), nodes + 1)
        make = choose({"pixels": ems_of_pixels, "modes": ems_of_modes}, kind, "ems of dpm_v3")
        ems = make(variances, eigenvalues, lam)
    table = tables.build(options, nfe, ems)
    return spectrum(table, schedule, variances, PREDICTION, end_of(table, schedule, tables.span[1]))


def ems_of_modes(variances, _, lam):
    """EMS in the basis of the Gaussian: l, s, b [G + 1, M]."""
    count = len(variances)
    basis = np.eye(count)[None]
    return gaussian_ems(Mixture(np.ones(1), np.zeros((1, count)), basis, variances[None], np.zeros(1), (count,)), lam)


def ems_of_pixels(variances, eigenvalues, lam):
    """EMS of one pixel, whose row of U has entries of equal square: l, s, b [G + 1]."""
    shared = (eigenvalues if len(eigenvalues) else variances)[None]
    row = np.full((1, *shared.shape), shared.size**-0.5)
    return gaussian_ems(Mixture(np.ones(1), np.zeros((1, 1)), row, shared, np.zeros(1), ()), lam)


def end_of(table, schedule, t_end) -> float:
    """t_end, or 0 for a table that goes on to sigma = 0, as Heun's of odd nfe: it takes a point mass to a point."""
    point = spectrum(table, schedule, np.zeros(table.a.shape[1:]), PREDICTION, t_end)
    return 0.0 if np.all(point.deviation < 1e-6 * point.exact_deviation) else t_end


def summary(found: Spectrum, eigenvalues) -> dict:
    """The largest error and where it is; and over the data, from the errors between neighbouring variances."""
    worst = int(np.abs(found.error).argmax())
    row = {"worst": float(found.error[worst]), "variance": float(found.variances[worst])}
    if len(eigenvalues):
        log = np.log(np.maximum(eigenvalues, found.variances[0]))
        error = np.interp(log, np.log(found.variances), found.error)
        row["data"] = float(np.sqrt((eigenvalues * error**2).sum() / eigenvalues.sum()))
    return row
