"""Compares several solvers at several budgets, from the same noise, with a fine solution.

    python main.py --config=configs/fashion_mnist.py      # some minutes on two cores

For each solver and number of evaluations it measures the RMSE to the fine solution, over all samples and as the median
over samples (a few samples that land elsewhere dominate the mean). If a small classifier is configured, it measures the
Fréchet distance to the training set in its features, too. That is not the Inception FID. Few images bias it upwards, so
only rows with equally many images compare; the fine solution has a row for that reason.

Writes results.csv, results.json, error.png, grid.png, samples/ and measured/. A stopped run goes on: samples in
samples/ are not drawn again.
"""

from pathlib import Path

import numpy as np

from configs.sections import Benchmark, Ems, Sampling
from experiments import build, ems, sampling
from experiments.compare import figures
from experiments.compare.contest import Contest, Entry, as_files_have
from experiments.data.files import write_json, write_samples
from experiments.sampling import REFERENCE
from experiments.support import scores
from experiments.support.errors import ConfigError
from experiments.support.mesh import first_mesh


def run(config, workdir) -> list[dict]:
    workdir = Path(workdir)
    own, wanted = build.settings(config.benchmark, Benchmark), build.settings(config.sample, Sampling)
    problem, published = build.problem(config), build.published_numbers(config)
    statistics = ems.find_ems(problem, build.settings(config.ems, Ems), workdir, build.solvers(config))
    sampler = sampling.Sampler(problem, wanted.batch, first_mesh(wanted.devices))
    contest = Contest(sampler, own.reference_nfe, np.arange(wanted.count), build.scorer(config), workdir, pictures=True)
    methods = {REFERENCE: contest.reference} if contest.reference else {}
    methods |= build.methods(config, problem, statistics)
    check_files(methods.values())
    found = contest.run({key: Entry(sampler, method) for key, method in methods.items()}, [wanted.seed], "benchmark")

    rows, samples = [], {}
    for key, method in methods.items():
        measured = found[key, wanted.seed]
        rows.append(method.row() | measured.row | published.column(method.label, method.nfe))
        samples[key] = measured.samples[: own.shown] if measured.samples.ndim == 4 else measured.samples
    if contest.reference is None:
        samples[REFERENCE] = as_files_have(contest.exact(wanted.seed))
        write_samples(workdir / "samples" / "reference.npz", samples[REFERENCE], contest.indices)
    note = "\n".join([scores.legend(rows), *published.note(rows)])
    scores.write_csv(workdir / "results.csv", rows, scores.COLUMNS + published.columns)
    write_json(workdir / "results.json", {"rows": rows, "note": note})
    figures.plot_errors(workdir / "error.png", rows)
    figures.plot_samples_of(workdir / "grid.png", samples)
    print(scores.format_table(rows), note, sep="\n")
    return rows


def check_files(methods) -> None:
    """ConfigError where two methods would write the same file of samples/."""
    labels = {}
    for method in methods:
        if labels.setdefault(method.slug, method.label) != method.label:
            raise ConfigError(
                f"benchmark.solvers has the labels {labels[method.slug]!r} and {method.label!r}, of which only letters "
                f"a to z and digits are in file names: both would be samples/{method.slug}.npz; change one"
            )
