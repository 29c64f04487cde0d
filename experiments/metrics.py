"""Moments of features, and the Fréchet distance between them.

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)                          (1)

(Fréchet distance of two Gaussians, Dowson and Landau 1982; the number is d^2, as is usual.) In the features of a
small classifier of the data set at hand: the scale is that network's own, and it is NOT the Inception FID.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import data
from experiments.mesh import make_mesh, place, stream
from models import classifier as classifiers


class Moments(NamedTuple):
    """Count, mean [D] and centred second moment [D, D] (a sum) of the rows seen; float64 on the host."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows) -> "Moments":
        """Of rows [N, ...], flattened to [N, D]."""
        rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
        if not len(rows):
            raise ValueError("no moments of 0 rows: give at least one")
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def merge(self, other: "Moments") -> "Moments":
        """Of the union of both sets of rows (Chan et al. 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)

    def covariance(self) -> np.ndarray:
        """[D, D], divided by N - 1."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 rows, got {self.count}: raise sample.count")
        return self.scatter / (self.count - 1)


def moments(features) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] (divided by N - 1), float64, of features [N, D]; N is at least 2."""
    total = Moments.of(features)
    return total.mean, total.covariance()


def frechet(mean1, cov1, mean2, cov2) -> float:
    """Equation (1) in float64, by two symmetric eigendecompositions; covariances may be singular."""
    mean1, cov1, mean2, cov2 = (np.asarray(a, np.float64) for a in (mean1, cov1, mean2, cov2))
    if mean1.shape != mean2.shape or cov1.shape != cov2.shape:
        raise ValueError(
            f"moments of {mean1.size} and of {mean2.size} features do not compare: take both from one feature network"
        )
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = root @ cov2 @ root
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2), 0)).sum()
    return float(np.square(mean1 - mean2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross)


@partial(jax.jit, static_argnums=0)
def on_device(module, params, images):
    """Features float32 [B, F] of uint8 images [B, H, W, C], which are on the devices."""
    return module.apply({"params": params}, data.to_float(images))[0]


def features(classifier, images, batch: int = 250) -> np.ndarray:
    """Features float32 [N, F] of images uint8 [N, H, W, C]; `classifier` is what models.classifier.load returns."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"features are of uint8 images, got {images.dtype}: convert them with data.to_uint8")
    mesh, (module, params) = make_mesh(jax.local_devices()), classifier
    work = partial(on_device, module, place(mesh, params))
    return np.concatenate([found for _, found in stream(work, (images,), batch=batch, mesh=mesh)])


class Frechet(NamedTuple):
    """Distance to the training set, `target` (mean, covariance), in the features of `classifier` (module, params)."""

    classifier: tuple
    target: tuple

    def __call__(self, images) -> float:
        """Of images uint8 [N, H, W, C]."""
        return self.distance(Moments.of(features(self.classifier, images)))

    def distance(self, moments: Moments) -> float:
        """Of the moments of features."""
        return frechet(moments.mean, moments.covariance(), *self.target)


def make_frechet(classifier_path, reference_path) -> Frechet:
    """From the files that `experiment=classifier` wrote."""
    classifier = classifiers.load(classifier_path)
    reference = load_reference(reference_path)
    return Frechet(classifier, (reference["train_feature_mean"], reference["train_feature_cov"]))


def load_reference(path) -> dict:
    """The arrays of reference.npz: {train,test}_{feature,pixel}_{mean,cov}; see experiments/classifier.py."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no reference moments {path}: write them with --config.experiment=classifier")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        arrays["train_feature_mean"], arrays["train_feature_cov"]
    except Exception as error:
        raise ValueError(
            f"{path} is truncated or holds no reference moments ({error}): write it anew with "
            "--config.experiment=classifier"
        ) from error
    return arrays
