"""Several solvers at several numbers of network evaluations, from the same noise, against a fine reference solution.

For each solver and nfe: RMSE to the reference, over all samples and as the median over samples (a few samples that
land elsewhere dominate the mean), and the Fréchet distance to the training set in the features of a small classifier,
where one is configured. That is not the Inception FID; with few images it is biased upwards, so that only rows with
equally many images compare: the reference solution has a row for that.
"""

from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.build.jumps import build_jumps
from experiments.build.network import build_model
from experiments.build.published import COLUMN, published_column, published_note
from experiments.build.schedules import (
    build_indices,
    build_nfes,
    build_schedule,
    build_solvers,
    initial_scale,
    sampling_range,
)
from experiments.build.scoring import build_frechet
from experiments.build.tables import build_table, resolve
from experiments.data import files
from experiments.data.pixels import to_uint8
from experiments.ems.estimate import find_ems
from experiments.images.case import hash_of_ems, hash_of_table, passport_of
from experiments.sampling import exact
from experiments.sampling.alignment import align
from experiments.sampling.sampler import make_sampler
from experiments.support import curves as plots_of_errors
from experiments.support import keys, plots
from experiments.support import tables as report

REFERENCE = "reference"


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    report.write_config(workdir / "config.json", config)
    network, frechet = build_model(config), build_frechet(config)
    tables, starts, used = build_tables(config, network, workdir)
    samples, seconds = sample_all(config, network, tables, build_jumps(config, network, starts))
    if REFERENCE not in samples:
        samples[REFERENCE] = solve_exactly(config, network)
    rows = []
    for key, table in tables.items():
        row = {"solver": REFERENCE if key == REFERENCE else key[0], "nfe": table.nfe, "teleport": starts[key]}
        row |= {} if key == REFERENCE else errors(samples[key], samples[REFERENCE])
        if frechet:
            rules = {"seed": config.sample.seed, "labels": str(config.model.labels)}
            origin = rules | {"table": hash_of_table(table), "ems": used[key]}
            row |= frechet(to_uint8(samples[key])) | {"passport": passport_of(frechet, origin, len(samples[key]))}
        row |= {"images": len(samples[key]), "seconds": seconds[key]}
        rows.append(row | published_column(config, row["solver"], row["nfe"]))
    note = "\n".join([report.legend(rows), *published_note(config, rows)])
    write(workdir, rows, samples, config.benchmark.shown, note)
    print(report.format_table(rows))
    print(note)
    return rows


def build_tables(config, network, workdir) -> tuple[dict, dict, dict]:
    """{(label, nfe): table}, and under `reference` the reference solution's, unless the model can be solved exactly;
    and by the same keys the sigma / alpha that each is teleported to, and the hash of the EMS that it uses, or None.
    """
    nfes, solvers = build_nfes(config), build_solvers(config)
    ems = find_ems(config, network, workdir, solvers)
    tables, starts, used = {}, {REFERENCE: None}, {REFERENCE: None}
    if config.model.name != "mixture":
        tables[REFERENCE] = reference_table(config, network)
    for nfe in nfes:
        for label, options in solvers:
            options = resolve(config, options, nfe, ems)
            tables[label, nfe] = build_table(config, options, nfe, network.prediction, ems)
            starts[label, nfe], used[label, nfe] = options["teleport"], hash_of_ems(options, ems)
    return tables, starts, used


def reference_table(config, network):
    fine = {"name": "unipc", "order": 3, "grid": {"name": "lam_uniform"}, "teleport": None}
    return build_table(config, fine, config.benchmark.reference_nfe, network.prediction)


def sample_all(config, network, tables, jumps) -> tuple[dict, dict]:
    """Samples [n, *shape] and seconds, compilation left out, of each table, by its key."""
    collect, indices, aligned = make_sampler(config, network), build_indices(config), align(tables)
    total = config.sample.count * sum(rows for _, rows in aligned.values())
    samples, seconds = {}, {}
    with tqdm(total=total, desc="benchmark", unit="evaluation", unit_scale=True, disable=None) as bar:
        for key, (table, rows) in aligned.items():
            bar.set_postfix_str(key if key == REFERENCE else "{} {}".format(*key))
            advance = partial(_advance, bar, rows)
            samples[key], seconds[key] = collect(table, rows, indices, advance, jump=jumps[key])
    return samples, seconds


def _advance(bar, rows: int, images: int) -> None:
    bar.update(rows * images)


def solve_exactly(config, network) -> np.ndarray:
    """The exact solution of a closed-form model, float64, from the same noise."""
    schedule = build_schedule(config)
    noise = keys.initial_noise(config.sample.seed, build_indices(config), network.shape)
    model, span = network.make(network.params, network.classes), sampling_range(config, schedule)
    return exact.solve(model, schedule, initial_scale(config) * noise, *span)


def errors(samples, reference) -> dict:
    """RMSE over all samples, and its median over samples with a standard error from a bootstrap over samples."""
    difference = (samples.astype(np.float64) - reference).reshape(len(samples), -1)
    rmse = np.sqrt(np.mean(difference**2, axis=1))
    resampled = rmse[np.random.default_rng(0).integers(len(rmse), size=(200, len(rmse)))]
    return {
        "rmse": float(np.sqrt(np.mean(rmse**2))),
        "rmse_median": float(np.median(rmse)),
        "rmse_median_se": float(np.median(resampled, axis=1).std()),
    }


def write(workdir: Path, rows, samples, shown: int, note: str) -> None:
    columns = report.COLUMNS + ((COLUMN,) if COLUMN in rows[0] else ())
    report.write_csv(workdir / "results.csv", rows, columns)
    files.write_json(workdir / "results.json", {"rows": rows, "note": note})
    plots_of_errors.plot_errors(workdir / "error.png", rows)
    pictures = samples[REFERENCE].ndim == 4
    stored = {key: to_uint8(value) if pictures else value.astype(np.float32) for key, value in samples.items()}
    panels, limit = {}, shown if pictures else None
    for key, value in stored.items():
        name = key if key == REFERENCE else f"{report.slug(key[0])}_{key[1]}"
        files.write_samples(workdir / "samples" / f"{name}.npz", value, np.arange(len(value)))
        if key != REFERENCE:
            first = [(REFERENCE, stored[REFERENCE][:limit])]
            panels.setdefault(f"{key[1]} network evaluations", first).append((key[0], value[:limit]))
    (plots.plot_grid if pictures else plots.plot_scatter)(workdir / "grid.png", panels)
