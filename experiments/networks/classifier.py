"""Trains the feature network, and collects the reference moments of the data in feature space and in pixel space.

    python main.py --config=configs/fashion_mnist.py --config.experiment=classifier --workdir=/tmp/classifier

Takes some minutes on two cores. The workdir then holds classifier.npz, reference.npz and results.json.
The Fréchet distance in these features is not the Inception FID.
"""

from pathlib import Path

import numpy as np

import models
from configs.sections import Train
from experiments import build
from experiments.data import datasets, files, pixels
from experiments.data.arrays import Dataset
from experiments.metrics.distances import frechet
from experiments.metrics.moments import moments
from experiments.metrics.spaces import Space
from experiments.networks import feature_network
from experiments.support.features import features
from models.classifier import Classifier
from solvers import fingerprint
from solvers.npz import write as write_npz


def run(config, workdir) -> dict:
    """Trains, tests and saves the classifier and the reference moments; returns what results.json holds."""
    workdir, own = Path(workdir), build.settings(config.train, Train)
    data = datasets.load(config.data.name, config.data.path)
    network = {"channels": 32, "features": 128, "classes": data.classes}
    module, labels = Classifier(**network), data.labels.astype(np.int32)
    params = feature_network.fit(module, data.train, labels, epochs=own.classifier_epochs, seed=own.seed)
    accuracy = float((feature_network.predict(module, params, data.test) == data.test_labels).mean())
    meta = {"network": {"name": "classifier", **network}, "accuracy": accuracy, "epochs": own.classifier_epochs}
    meta |= {"data": config.data.name, "data_sha256": fingerprint.checksum(data.train, data.labels)}
    models.save_params(workdir / "classifier.npz", params, meta)
    real = write_reference(workdir / "reference.npz", Space("classifier", module, params), data)
    results = {"accuracy": accuracy, "frechet_of_test_images": real}
    files.write_json(workdir / "results.json", results)
    print(f"accuracy on {len(data.test)} test images: {accuracy:.2%}")
    for count, value in real.items():
        print(
            f"Fréchet distance of {count} test images to {len(data.train)} training images: {value:.3f} "
            "(classifier features, not the Inception FID)"
        )
    return results


def write_reference(path, space: Space, data: Dataset) -> dict:
    """Writes the moments of training and test images, in features and pixels (float [-1, 1], flattened), to an .npz.

    Arrays: {train,test}_{feature,pixel}_mean (float64) and _cov (divided by N - 1; float32, which changes a Fréchet
    distance by 1e-6 or so of itself), {train,test}_count. Returns the distances between real sets: how small the
    Fréchet distance of perfect samples would be, for 5,000 and for all test images.
    """
    arrays, found = {}, {}
    for name, images in (("train", data.train), ("test", data.test)):
        found[name] = features(space, images)
        for kind, rows in (("feature", found[name]), ("pixel", pixels.to_float(images).reshape(len(images), -1))):
            mean, cov = moments(rows)
            arrays |= {f"{name}_{kind}_mean": mean, f"{name}_{kind}_cov": cov.astype(np.float32)}
        arrays[f"{name}_count"] = np.int64(len(images))
    target = arrays["train_feature_mean"], arrays["train_feature_cov"]
    real = {
        str(n): frechet(*moments(found["test"][:n]), *target)
        for n in sorted({min(n, len(data.test)) for n in (1000, 5000, len(data.test))})
    }
    for n, value in real.items():
        arrays[f"frechet_test_{n}"] = np.float64(value)
    write_npz(path, arrays, compress=True)
    return real
