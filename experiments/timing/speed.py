"""Sampling time in units of the bare network's: what the engine costs on top of the network.

    python main.py --config=configs/fashion_mnist.py --config.experiment=speed

For each solver, at the largest nfe: the time of one batch of samples, with its noise and jump, over the time of nfe
calls of the network alone, jitted, on the same devices, each on the output of the one before. Measurements are
interleaved and repeated, and the ratio is that of neighbours in time: its median, with the quartiles as the spread. The
last row is the estimation of EMS: visits of as many points at some noise levels, over calls of the network at the same.
"""

import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.build.jumps import build_jumps
from experiments.build.network import build_labels, build_model
from experiments.build.schedules import build_nfes, build_schedule, build_solvers, initial_scale
from experiments.build.tables import build_table, resolve
from experiments.data import files
from experiments.data.progress import Progress
from experiments.ems.estimate import make_lam, make_plan
from experiments.ems.find import find_ems
from experiments.sampling import draw as runner
from experiments.support import keys
from experiments.support import scores as report
from experiments.support.mesh import make_mesh, place
from solvers.ems.moments import gatherer


def run(config, workdir) -> list[dict]:
    workdir, c, nfe = Path(workdir), config.speed, build_nfes(config)[-1]
    report.write_config(workdir / "config.json", config)
    network, solvers, mesh = build_model(config), build_solvers(config), make_mesh()
    ems = find_ems(config, network, workdir, solvers)
    sampled, bare, batch = contestants(config, network, mesh)
    rows = []
    with Progress(total=(len(solvers) + 1) * (c.repeats + 1), desc="speed") as bar:
        for label, options in solvers:
            options = resolve(config, options, nfe, ems)
            table = build_table(config, options, nfe, network.prediction, ems)
            jump = build_jumps(config, network, {label: options["teleport"]})[label]
            pair = partial(sampled, *place(mesh, (table.astype(np.float32), jump))), partial(bare, table.t)
            rows.append({"solver": label, "nfe": nfe} | measure(*pair, c.repeats, bar.update))
        pair = visits(config, network, batch), partial(bare, visited_times(config))
        rows.append(
            {"solver": "EMS, per visit", "nfe": len(visited_times(config))} | measure(*pair, c.repeats, bar.update)
        )
    files.write_json(workdir / "results.json", {"rows": rows, "batch": batch, "devices": mesh.devices.size})
    report.write_csv(workdir / "results.csv", rows, tuple(rows[0]))
    print(f"batch {batch} on {mesh.devices.size} {mesh.devices.flat[0].platform} devices, {c.repeats} repeats; medians")
    for row in rows:
        print(
            "{solver:18s} nfe {nfe}: {sample:.4g} s, bare network calls {bare:.4g} s, "
            "ratio {ratio:.3f} (quartiles {low:.3f} to {high:.3f})".format(**row)
        )
    return rows


def contestants(config, network, mesh):
    """sampled(table, jump) and bare(times), each for one batch, and the size of the batch."""
    scale, seed, devices = initial_scale(config), config.sample.seed, mesh.devices.size
    indices = np.arange(-(-config.speed.batch // devices) * devices, dtype=np.int32)
    params = place(mesh, network.params)
    x = place(mesh, scale * keys.initial_noise(seed, indices, network.shape), batch=True)
    labels = place(mesh, build_labels(config, network, indices), batch=True)
    draw = runner.make_draw(network.make, network.shape, scale)
    call = jax.jit(jax.vmap(lambda params, x, t, label: network.make(params, label)(x, t), in_axes=(None, 0, None, 0)))

    def sampled(table, jump):
        return draw(params, jump, table, table.nfe, seed, place(mesh, indices, batch=True), labels)

    def bare(times):
        y = x
        for t in times:
            y = call(params, y, t, labels)
        return y

    return sampled, bare, len(indices)


def visited_times(config):
    schedule = build_schedule(config)
    return schedule.t_of_lam(make_lam(config)[:: max(config.ems.nodes // 8, 1)])


def visits(config, network, count):
    """All that `ems` does at these noise levels with `count` points, sums on the host included."""
    plan = make_plan(config, network)
    gather = gatherer(plan._replace(lam=build_schedule(config).lam(visited_times(config)), rule="noised"))
    indices = np.arange(count)
    data = keys.initial_noise(config.ems.seed, indices, network.shape)
    return partial(gather, data, indices, (build_labels(config, network, indices),))


def measure(sample, bare, repeats: int, progress) -> dict:
    """Interleaved timings of two functions; the order alternates, so that drift favours neither."""
    pair, seconds = (sample, bare), np.zeros((repeats + 1, 2))
    for n in range(repeats + 1):
        for which in (0, 1) if n % 2 else (1, 0):
            begin = time.perf_counter()
            jax.block_until_ready(pair[which]())
            seconds[n, which] = time.perf_counter() - begin
        progress()
    seconds = seconds[1:]  # the first compiles
    ratio = seconds[:, 0] / seconds[:, 1]
    low, middle, high = np.percentile(ratio, (25, 50, 75))
    return {
        "sample": float(np.median(seconds[:, 0])),
        "bare": float(np.median(seconds[:, 1])),
        "ratio": float(middle),
        "low": float(low),
        "high": float(high),
    }
