"""Fit a Gaussian, or a mixture of them, to the training images, and look at it.

    python main.py --config=configs/fashion_mnist.py --config.experiment=fit_gaussian
    python main.py --config=configs/fashion_mnist.py --config.experiment=fit_gaussian --config.gaussian.kind=kmeans

Needs no network. Writes gaussian.npz (gaussian.load_distribution reads it, with its provenance), results.json (the
same provenance; of each component the weight, the total variance, and how many directions hold 90 and 99 % of it) and
gaussian.png (means, leading eigenvectors, spectra). Some seconds on two cores for 60,000 images of 28x28, up to a
minute for mixtures.
"""

import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

import gaussian
from configs.sections import GaussianFit
from experiments import build
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.metrics.threads import one_thread
from experiments.structure.plots import plot_mixture
from experiments.support.errors import choose, config_errors
from solvers.fingerprint import checksum

CHUNK = 4096  # images at a time
SHARES = (0.9, 0.99)  # of a component's variance


def run(config, workdir) -> gaussian.Mixture:
    workdir, own = Path(workdir), build.settings(config.gaussian, GaussianFit)
    images, labels, *_ = datasets.load(config.data.name, config.data.path)
    start = time.perf_counter()
    with config_errors():
        fit = choose(KINDS, own.kind, "gaussian.kind")
        with one_thread(images[0].size):
            mixture = fit(own, images, labels)
        provenance = {
            "data": {
                "name": config.data.name,
                "samples": len(images),
                "sha256_of_training_images_and_labels": checksum(images, labels),
            },
            "settings": asdict(own),
            "command": shlex.join(["python", *sys.argv]),
        }
        gaussian.save_distribution(workdir / "gaussian.npz", mixture, provenance, own.dtype)
    found = {"provenance": provenance, "seconds": time.perf_counter() - start, "components": component_rows(mixture)}
    files.write_json(workdir / "results.json", found)
    plot_mixture(workdir / "gaussian.png", mixture)
    print(summary(mixture, found))
    return mixture


def fit_one(c, images, labels):
    with Progress(total=len(images), desc="covariance", unit="image") as bar:

        def chunks():
            for start in range(0, len(images), CHUNK):
                part = pixels.to_float(images[start : start + CHUNK])
                yield part
                bar.update(len(part))

        return gaussian.fit_gaussian(chunks, c.rank, c.biased)


def fit_classes(c, images, labels):
    with Progress(total=int(labels.max()) + 1, desc="covariances", unit="class") as bar:
        return gaussian.fit_classes(pixels.to_float(images), labels, c.rank, c.biased, progress=bar.update)


def fit_clusters(c, images, labels):
    options = {"rank": c.rank, "seed": c.seed, "biased": c.biased}
    with Progress(total=c.components, desc="covariances", unit="cluster") as bar:
        return gaussian.fit_mixture(pixels.to_float(images), c.components, progress=bar.update, **options)


KINDS = {"gaussian": fit_one, "classes": fit_classes, "kmeans": fit_clusters}


def component_rows(mixture) -> list[dict]:
    """Of each component: weight, total variance, and how many leading directions hold each of SHARES of it."""
    rest = mixture.basis.shape[1] - mixture.basis.shape[2]
    rows = []
    for weight, variances, floor in zip(mixture.weights, mixture.variances, mixture.floor):
        held = np.concatenate([variances, np.full(rest, floor)]).cumsum()
        counts = {f"directions_{share:g}": int((held < share * held[-1]).sum()) + 1 for share in SHARES}
        rows.append({"weight": float(weight), "variance": float(held[-1])} | counts)
    return rows


def summary(mixture, found) -> str:
    rows, mean = found["components"], mixture.weights @ mixture.means
    within = sum(row["weight"] * row["variance"] for row in rows)
    between = float(mixture.weights @ np.square(mixture.means - mean).sum(axis=1))
    lines = [
        f"{len(rows)} component(s) of rank {mixture.basis.shape[2]} from {found['provenance']['data']['samples']} "
        f"images of {'x'.join(map(str, mixture.shape))} in {found['seconds']:.1f} s",
        f"variance {within + between:.4g}, of which {between / (within + between):.1%} between the means",
    ]
    for share in SHARES:
        counts = [row[f"directions_{share:g}"] for row in rows]
        some = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        lines.append(f"{share:.0%} of a component's variance is in {some} directions")
    return "\n".join(lines)
