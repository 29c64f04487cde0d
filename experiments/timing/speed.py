"""Measures sampling time in units of the bare network's: the cost of the engine on top of the network.

    python main.py --config=configs/fashion_mnist.py --config.experiment=speed

For each solver, at the largest nfe: the time of one batch of samples, with its noise and jump, divided by the time of
nfe jitted calls of the network alone, on the same devices, each on the output of the call before. Measurements are
interleaved and repeated. The ratio is between neighbours in time: its median, with the quartiles as the spread. The
last row is the estimation of EMS: visits of as many points at some noise levels, divided by network calls there.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np

from configs.sections import Ems, Speed
from experiments import build, ems
from experiments.data.files import write_json
from experiments.data.progress import Progress
from experiments.support import keys, scores
from experiments.support.mesh import make_mesh, place, rounded
from experiments.support.turns import take_turns, timed
from experiments.timing.contestants import sampled_and_bare
from solvers.ems.moments import gatherer

VISITED = 8  # about so many noise levels of the EMS


def run(config, workdir) -> list[dict]:
    workdir, own, own_ems = Path(workdir), build.settings(config.speed, Speed), build.settings(config.ems, Ems)
    problem, mesh = build.problem(config), make_mesh()
    solvers, nfe = build.solvers(config), build.nfes(config)[-1]
    statistics = ems.find_ems(problem, own_ems, workdir, solvers)
    methods = build.make_methods(problem, {label: (label, options, nfe) for label, options in solvers}, statistics)
    sampled, bare = sampled_and_bare(problem, own.batch, mesh)
    batch, rows = rounded(own.batch, own.batch, mesh), []
    with Progress(total=(len(methods) + 1) * 2 * own.repeats, desc="speed", unit="measurement") as bar:
        for label, method in methods.items():
            pair = partial(sampled, *place(mesh, (method.jump, method.runs))), partial(bare, method.table.t)
            rows.append({"solver": label, "nfe": nfe} | measure(*pair, own.repeats, bar.update))
        visit, times = visits(problem, own_ems, batch)
        pair = visit, partial(bare, times)
        rows.append({"solver": "EMS, per visit", "nfe": len(times)} | measure(*pair, own.repeats, bar.update))
    write_json(workdir / "results.json", {"rows": rows, "batch": batch, "devices": mesh.devices.size})
    scores.write_csv(workdir / "results.csv", rows, tuple(rows[0]))
    platform = mesh.devices.flat[0].platform
    print(f"batch {batch} on {mesh.devices.size} {platform} devices, {own.repeats} repeats; medians")
    for row in rows:
        print(
            "{solver:18s} nfe {nfe}: {sample:.4g} s, bare network calls {bare:.4g} s, "
            "ratio {ratio:.3f} (quartiles {low:.3f} to {high:.3f})".format(**row)
        )
    return rows


def visits(problem: build.Problem, own: Ems, count: int) -> tuple[Callable, np.ndarray]:
    """All work of `ems` with `count` points at some noise levels, with the sums on the host; and the levels' times."""
    plan = ems.make_plan(problem, own, problem.network)
    lam, indices = plan.lam[:: max(own.nodes // VISITED, 1)], np.arange(count)
    gather = gatherer(plan._replace(lam=lam, rule="noised"))
    data = keys.initial_noise(own.seed, indices, problem.network.shape)
    return partial(gather, data, indices, (problem.labels(indices),)), problem.schedule.t_of_lam(lam)


def measure(sample: Callable, bare: Callable, repeats: int, progress: Callable) -> dict:
    """Times two functions by turns: medians of both and of their ratio, and the ratio's quartiles."""
    works = {"sample": sample, "bare": bare}
    for work in works.values():
        jax.block_until_ready(work())  # compiles
    waits = {name: partial(timed, lambda work=work: jax.block_until_ready(work())) for name, work in works.items()}
    seconds = take_turns(waits, repeats, progress)
    low, middle, high = np.percentile(seconds["sample"] / seconds["bare"], (25, 50, 75))
    row = {name: float(np.median(taken)) for name, taken in seconds.items()}
    return row | {"ratio": float(middle), "low": float(low), "high": float(high)}
