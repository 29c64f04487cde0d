"""Finds the noise level to teleport a solver to, for this model, solver and number of evaluations.

    python main.py --config=configs/fashion_mnist.py --config.experiment=choose_skip --config.nfe=6 \
        --config.solver.name=unipc --config.solver.order=2 --config.grid.name=karras

It gives two answers. One is the noise level below which the Gaussian explains less than `teleport.share` of the
network's denoiser on noised data; it does not depend on the solver. The other is the sigma with the smallest RMSE to a
fine solution: a search over `teleport.sigmas`, then between the best and its neighbours. Each uses `sample.count`
images. Writes choose_skip.json and choose_skip.png.
"""

from pathlib import Path

import numpy as np

import gaussian
from configs.sections import Benchmark, Ems, Sampling, Teleport
from experiments import build, ems, sampling, structure
from experiments.compare import heatmaps
from experiments.data.files import write_json
from experiments.data.progress import Progress
from experiments.metrics.distances import rmse
from experiments.support.errors import config_errors
from experiments.support.mesh import first_mesh

LEVELS = 12  # noise levels on the curve
LOWEST = 0.5


def run(config, workdir) -> dict:
    workdir, nfe = Path(workdir), build.nfes(config)[-1]
    own, wanted = build.settings(config.teleport, Teleport), build.settings(config.sample, Sampling)
    problem, (label, options) = build.problem(config), build.solver(config)
    statistics = ems.find_ems(problem, build.settings(config.ems, Ems), workdir, [(label, options)])
    options = problem.tables.resolve(options, nfe, statistics)
    curve = explained_curve(problem, wanted)
    sampler = sampling.Sampler(problem, wanted.batch, first_mesh(wanted.devices))
    fine = sampling.fine_method(problem, build.settings(config.benchmark, Benchmark).reference_nfe)
    make = lambda sigma: build.method(problem, label, options | {"teleport": sigma}, nfe, statistics)  # noqa: E731
    best, found = search(sampler, fine, make, own.sigmas, np.arange(wanted.count))

    result = {"solver": options["name"], "nfe": nfe, "explained": curve, "by_explained": by_curve(curve, own.share)}
    result |= {"by_rmse": best, "rmse": [{"teleport": sigma, "rmse": found[sigma]} for sigma in found]}
    write_json(workdir / "choose_skip.json", result)
    heatmaps.plot_choice(workdir / "choose_skip.png", result, own.share)
    print(summary(result, own.share))
    return result


def explained_curve(problem, wanted) -> list[dict]:
    """The share of the network that the Gaussian (of the label's class) explains on noised data, by sigma."""
    sigmas = np.geomspace(LOWEST, problem.sigmas[0], LEVELS)
    images, labels = problem.source.points(problem, wanted.count, "sample.count")
    points = structure.make_points(images, sigmas, problem.schedule, problem.seed)
    with Progress(total=2 * len(images) * LEVELS, desc="explained variance", unit="point") as bar:
        fixed = {"points": points, "labels": labels, "batch": wanted.batch, "progress": bar.update}
        function = structure.network_function(problem.network, problem.schedule)
        mine = structure.outputs(function, problem.network.params, **fixed)
        theirs = structure.outputs(of_class, problem.gaussian(), **fixed)
    return structure.compare(points, mine, theirs, "gaussian")


def of_class(mixture, x, level, label):
    """E[x0 | x] for the component of this label, in the form that `explained.outputs` calls."""
    return gaussian.posterior_mean(gaussian.component(mixture, label), x, *level[:2])


def by_curve(curve, share) -> float | None:
    """The sigma that choose_skip finds on the curve; None if too little is explained even at the highest sigma."""
    try:
        return gaussian.choose_skip(*zip(*((row["sigma"], row["denoiser"]) for row in curve)), share)
    except ValueError as error:
        print(error)
        return None


def search(sampler, fine, make, sigmas, indices) -> tuple[float | None, dict]:
    """Searches: (sigma with the smallest RMSE, {sigma: RMSE} of all tried); sigma is None for no teleport.

    fine: the method of the fine solution; make(sigma): the method that starts there.
    """
    with Progress(desc="search", unit="solver") as bar, config_errors():
        solution, _ = sampler.collect(fine, indices)

        def error(sigma):
            bar.update()
            return rmse(sampler.collect(make(sigma), indices)[0], solution)["rmse"]

        high, low = sampler.problem.sigmas
        best, found = gaussian.search_skip(error, [sigma for sigma in sigmas if high > sigma > low])
        found = {None: error(None)} | found
    return min((None, best), key=found.get), found


def summary(result, share) -> str:
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
