"""Estimates the model's empirical statistics (EMS), once per model. DPM-Solver-v3 needs them.

    python main.py --config=configs/fashion_mnist.py --config.experiment=ems

Writes ems.npz (the value for `ems.path`), ems.png (l, s, b with their errors) and units/. From units/ a stopped run
goes on, and later runs get statistics with more points or other smoothing without visiting a point twice. `ems.rule`
chooses the points, each with its own label if the model is class-conditional (`model.labels`):

    noised      `ems.points` images of the training set, or of `images`, with noise
    samples     samples of the model itself with noise, for a model whose data are missing
    trajectory  states of the model's own ODE, solved on the grid, with guidance if the model is guided
    auto        trajectory for a guided model, noised otherwise

`ems.model=gaussian` replaces the network by the closed-form denoiser of the data's Gaussian (of each class's, if the
model is conditional): no network evaluation. `ems.gaussian_above` does so above a noise level only.
"""

from pathlib import Path

import jax
import numpy as np

from configs.sections import Ems
from experiments import build
from experiments.ems.find import compute
from experiments.ems.plots import plot_ems
from experiments.support.processes import together
from solvers.ems import EMS, points_wanted


def run(config, workdir) -> EMS:
    workdir, own = Path(workdir), build.settings(config.ems, Ems)
    ems = compute(build.problem(config), own, workdir)
    with together():
        if jax.process_index() == 0:  # only process 0 writes files other than units
            plot_ems(workdir / "ems.png", ems)
            print(summary(ems, own.error))
            print(f"EMS of {ems.meta['points']} points at {len(ems.lam)} noise levels: ems.path={workdir}/ems.npz")
    return ems


def summary(ems: EMS, error: float) -> str:
    """The size and the standard errors of l, s, b, and how many points would reduce the errors to `error`."""
    lines = []
    for name, points in points_wanted(ems, error).items():
        size, found = (np.sqrt(np.mean(np.square(x))) for x in (getattr(ems, name), ems.meta["standard_error"][name]))
        plan = f"{points} points for {error:g} (ems.error)"
        lines.append(f"{name}: root mean square {size:.3g}, standard error {found:.2g}; {plan}")
    return "\n".join(lines)
