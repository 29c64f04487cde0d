"""To which noise level a solver should be teleported, for this model, solver and number of evaluations.

    python main.py --config=configs/fashion_mnist.py --config.experiment=choose_skip --config.nfe=6 \
        --config.solver.name=unipc --config.solver.order=2 --config.grid.name=karras

Two answers. Where the Gaussian stops to explain `teleport.share` of the network's denoiser on noised data: that knows
nothing of solvers. And a small search for the sigma with the smallest RMSE to a fine solution: over `teleport.sigmas`,
then between the best and its neighbours. `sample.count` images for each. Writes choose_skip.json and choose_skip.png.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

import gaussian
from experiments.build.jumps import build_gaussian, build_jump
from experiments.build.network import build_model
from experiments.build.schedules import build_indices, build_nfes, build_schedule, build_solver, sampling_range
from experiments.build.tables import build_table, resolve
from experiments.compare import heatmaps as plots_of_teleport
from experiments.compare.benchmark import errors, reference_table
from experiments.data import files
from experiments.ems.estimate import find_ems
from experiments.ems.points import load_data
from experiments.sampling.sampler import make_sampler
from experiments.structure import explained
from experiments.support import tables as report
from experiments.support.errors import config_errors

LEVELS = 12  # noise levels of the curve
LOWEST = 0.5


def run(config, workdir) -> dict:
    workdir, nfe = Path(workdir), build_nfes(config)[-1]
    report.write_config(workdir / "config.json", config)
    network = build_model(config)
    label, options = build_solver(config)
    ems, mixture = find_ems(config, network, workdir, [(label, options)]), build_gaussian(config, network)
    options = resolve(config, options, nfe, ems)
    curve = explained_curve(config, network, mixture)
    best, found = search(config, network, mixture, options, nfe, ems)
    result = {"solver": options["name"], "nfe": nfe, "explained": curve, "by_explained": by_curve(config, curve)}
    result |= {"by_rmse": best, "rmse": [{"teleport": sigma, "rmse": found[sigma]} for sigma in found]}
    files.write_json(workdir / "choose_skip.json", result)
    plots_of_teleport.plot_choice(workdir / "choose_skip.png", result, config.teleport.share)
    print(text(result, config.teleport.share))
    return result


def explained_curve(config, network, mixture) -> list[dict]:
    """What the Gaussian (of the label's class) explains of the network on noised data, by sigma."""
    schedule = build_schedule(config)
    sigmas = np.geomspace(LOWEST, np.exp(-schedule.lam(sampling_range(config, schedule)[0])), LEVELS)
    images, labels = load_data(config, network, config.sample.count)
    points = explained.make_points(images, sigmas, schedule, config.sample.seed)
    with tqdm(total=2 * len(images) * LEVELS, desc="explained variance", unit="point", disable=None) as bar:
        fixed = {"points": points, "labels": labels, "batch": config.sample.batch, "progress": bar.update}
        mine = explained.outputs(explained.network_function(network, schedule), network.params, **fixed)
        theirs = explained.outputs(of_class, mixture, **fixed)
    return explained.compare(points, mine, theirs, "gaussian")


def of_class(mixture, x, level, label):
    """E[x0 | x] of the component of this label; as `explained.outputs` calls it."""
    return gaussian.posterior_mean(gaussian.component(mixture, label), x, *level[:2])


def by_curve(config, curve) -> float | None:
    """choose_skip of the curve; None where even pure noise has too little explained."""
    try:
        return gaussian.choose_skip(*zip(*((row["sigma"], row["denoiser"]) for row in curve)), config.teleport.share)
    except ValueError as error:
        print(error)
        return None


def search(config, network, mixture, options, nfe, ems) -> tuple[float | None, dict]:
    """(sigma with the smallest RMSE, {sigma: RMSE} of all that were tried); sigma is None for no teleport."""
    collect, indices, schedule = make_sampler(config, network), build_indices(config), build_schedule(config)
    bar = tqdm(desc="search", unit="solver", disable=None)

    def samples(table, jump=None):
        bar.update()
        return collect(table.astype(np.float32), table.nfe, indices, jump=jump)[0]

    fine = samples(reference_table(config, network))

    def error(sigma):
        table = build_table(config, options | {"teleport": sigma}, nfe, network.prediction, ems)
        jump = None if sigma is None else build_jump(config, mixture, sigma)
        return errors(samples(table, jump), fine)["rmse"]

    with bar, config_errors():
        bounds = [np.exp(-schedule.lam(t)) for t in sampling_range(config, schedule)]
        sigmas = [sigma for sigma in config.teleport.sigmas if bounds[0] > sigma > bounds[1]]
        best, found = gaussian.search_skip(error, sigmas)
        found = {None: error(None)} | found
    return min((None, best), key=found.get), found


def text(result, share) -> str:
    lines = [f"{result['solver']}, {result['nfe']} network evaluations: RMSE by the sigma teleported to"]
    for row in sorted(result["rmse"], key=lambda row: -(row["teleport"] or np.inf)):
        mark = " *" if row["teleport"] == result["by_rmse"] else ""
        lines.append(
            f"  {'none' if row['teleport'] is None else format(row['teleport'], '.4g'):>6}  {row['rmse']:.4g}{mark}"
        )
    if result["by_explained"] is not None:
        lines.append(f"the Gaussian explains {share:.0%} of the denoiser above sigma = {result['by_explained']:.3g}")
    best = result["by_rmse"]
    lines.append("teleport is of no use here" if best is None else f"smallest RMSE: --config.teleport.sigma={best:.4g}")
    return "\n".join(lines)
