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
def _features(module, params, images):
    return module.apply({"params": params}, data.to_float(images))[0]


def features(classifier, images, batch: int = 250) -> np.ndarray:
    """Features float32 [N, 128] of images uint8 [N, H, W, C]; `classifier` is what models.classifier.load returns."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"features are of uint8 images, got {images.dtype}: convert them with data.to_uint8")
    batch = min(batch, len(images))
    parts = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        padded = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.uint8)])  # one compilation
        parts.append(np.asarray(_features(*classifier, padded))[: len(part)])
    return np.concatenate(parts)


def make_frechet(classifier_path, reference_path):
    """`distance(images uint8 [N, H, W, C]) -> float` to the training set, in the features of the classifier."""
    classifier = classifiers.load(classifier_path)
    reference = load_reference(reference_path)
    target = reference["train_feature_mean"], reference["train_feature_cov"]
    return lambda images: frechet(*moments(features(classifier, images)), *target)


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
