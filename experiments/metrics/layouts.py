"""Reads and writes reference statistics in the layouts of the common codes: `read(path)`, `write(path, ...)`.

    mu, sigma       .npz: EDM, pytorch-fid, TTUR
    mu_s, sigma_s   the same, with the moments of spatial features for sFID
    arr_0           the same, with the images: guided diffusion's reference batches
    pool_3          .npz with the features themselves [N, F]: ScoreSDE; their moments are computed here
    edm2            a pickle {"num_images": n, "fid": {"mu": ..., "sigma": ...}, ...}: EDM2

Pickles are read as data; nothing in a file is executed. This project writes two more keys, which other codes ignore:
`count`, and `about`, a JSON dictionary that describes the statistics. The reference.npz of experiment=classifier can
be read too.
"""

import json
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.archives import Npz
from experiments.data.arrays import check as check_images
from experiments.data.files import replacing
from experiments.metrics.checks import slices
from experiments.metrics.moments import Moments
from experiments.metrics.pickled import pickled
from models.convert.read import read as read_pickle
from solvers import npz

LAYOUTS = ("mu, sigma", "mu_s, sigma_s", "arr_0", "pool_3", "edm2")
KNOWN = "mu and sigma, arr_0 (images), pool_3 (features), or EDM2's pickle with fid"
BYTES, NOTE_BYTES = 2**32, 2**24  # the most for an array, and for `about`
ROWS = 4096  # rows in float64 at a time
ROUND_OFF = 1e-4  # times the largest variance: the asymmetry that sums in float32 may cause
CHECK = "copy the file again, or compute the statistics again"


class Statistics(NamedTuple):
    """mean [F] and covariance [F, F] (divided by N - 1), float64; None if a file holds images only.

    spatial: the same pair for spatial features, or None. features: float32 [N, F] or None. count: the number of images,
    None if the file does not say. about: the note of this project's writer, {} in files of other codes.
    """

    mean: np.ndarray | None = None
    covariance: np.ndarray | None = None
    spatial: tuple | None = None
    features: np.ndarray | None = None
    count: int | None = None
    about: dict = {}


def read(path) -> Statistics:
    """Reads a file. FileNotFoundError, or ValueError if it is damaged, has no known layout, or holds no moments."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no statistics {path}: give a file, or make it with experiment=reference")
    with open(path, "rb") as file:
        head = file.read(2)
    return _read_npz(path) if head == b"PK" else _read_edm2(path)


def _read_npz(path) -> Statistics:
    with Npz(path) as file:
        keys = file.members.keys()

        def pair(*names):
            if keys >= set(names):
                check_shapes(*(file.header(name).shape for name in names), path)  # before zeros unfold to gigabytes
                return checked(*(file.load(name, BYTES) for name in names), path)

        features = _features(file.load("pool_3", BYTES), path) if "pool_3" in keys else None
        moments = pair("mu", "sigma") or pair("train_feature_mean", "train_feature_cov")
        spatial = pair("mu_s", "sigma_s")
        if moments is None and features is not None:
            moments = checked(*moments_of(features), path)
        if not (moments or spatial or "arr_0" in keys):
            raise ValueError(f"{path} holds {_listed(keys)}; known are {KNOWN}: give a file of reference statistics")
        count = next((file.load(key, 8) for key in ("count", "train_count") if key in keys), None)
        about = str(file.load("about", NOTE_BYTES)) if "about" in keys else "{}"
    count = len(features) if count is None and features is not None else count
    return Statistics(*(moments or (None, None)), spatial, features, _count(count, path), _about(about, path))


def _read_edm2(path) -> Statistics:
    tree = read_pickle(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("fid"), dict) or not tree["fid"].keys() >= {"mu", "sigma"}:
        found = _listed(tree) if isinstance(tree, dict) else f"a {type(tree).__name__}"
        raise ValueError(f"{path} holds {found}; known are {KNOWN}: give a file of reference statistics")
    moments = checked(tree["fid"]["mu"], tree["fid"]["sigma"], path)
    return Statistics(*moments, None, None, _count(tree.get("num_images"), path), _about(tree.get("about", "{}"), path))


def _listed(keys) -> str:
    return ", ".join(sorted(repr(key)[:40] for key in keys)[:10]) or "nothing"


def _count(value, path) -> int | None:
    if value is None:
        return None
    array = np.asarray(value)
    if array.shape or array.dtype.kind not in "iu" or array < 1:
        raise ValueError(f"{path} has {array!r} for its number of images, an integer from 1 on is expected: {CHECK}")
    return int(array)


def _about(text, path) -> dict:
    try:
        about = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the note `about` in {path} is no JSON ({error}): {CHECK}") from error
    if not isinstance(about, dict):
        raise ValueError(f"the note `about` in {path} is no JSON dictionary but {type(about).__name__}: {CHECK}")
    return about


def _features(rows, path) -> np.ndarray:
    if rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"{path}: features (pool_3) of {rows.shape} {rows.dtype}: finite numbers [N, F] of N >= 2 images are "
            f"expected: {CHECK}"
        )
    return rows.astype(np.float32, copy=False)


def moments_of(features) -> tuple[np.ndarray, np.ndarray]:
    """The mean [F] and covariance [F, F] (divided by N - 1) of features [N, F], float64, some rows at a time."""
    total = reduce(Moments.merge, (Moments.of(features[part]) for part in slices(len(features), ROWS)))
    return total.mean, total.covariance()


def check_shapes(mean, covariance, where) -> None:
    if len(mean) != 1 or not mean[0] or covariance != mean * 2:
        raise ValueError(f"{where} has a mean of {mean} and a covariance of {covariance}, not [F] and [F, F]: {CHECK}")


def checked(mean, covariance, where) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance as float64, the covariance made symmetric; ValueError if they cannot be moments.

    Each covariance must be within the bound that its two variances set. Eigenvalues are not checked.
    """
    mean, covariance = np.asarray(mean), np.asarray(covariance)
    check_shapes(mean.shape, covariance.shape, where)
    if bad := [str(array.dtype) for array in (mean, covariance) if array.dtype.kind not in "iuf"]:
        raise ValueError(f"{where} has moments of {bad[0]}, real numbers are expected: {CHECK}")
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError(f"{where} has moments that are not finite: {CHECK}")
    variances = np.diagonal(covariance)
    slack = ROUND_OFF * np.abs(variances).max()
    if (worst := np.abs(covariance - covariance.T).max()) > slack:
        raise ValueError(
            f"{where} has a covariance that is not symmetric, by {worst:.3g} where round-off is {slack:.3g}: {CHECK}"
        )
    deviations = np.sqrt(np.maximum(variances, 0))
    if variances.min() < -slack or np.any(np.abs(covariance) > np.outer(deviations, deviations) + slack):
        raise ValueError(
            f"{where} has a covariance that is none: its least variance is {variances.min():.3g}, and a covariance is "
            f"at most the product of two deviations: {CHECK}"
        )
    return mean, (covariance + covariance.T) / 2


def write(path, statistics: Statistics, layout: str = "mu, sigma", images=None) -> None:
    """Writes a file, whole or absent, in one of LAYOUTS, for `read` and the codes named above.

    images: uint8 [n, H, W, C], for the layout arr_0. ValueError if the layout needs something that is missing.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}: known are {'; '.join(LAYOUTS)}")
    arrays = {"about": json.dumps(statistics.about)}
    if statistics.count is not None:
        arrays["count"] = np.int64(statistics.count)
    if layout == "pool_3":
        arrays["pool_3"] = _features(_given(statistics.features, "features", layout), path)
    else:
        moments = _given(statistics.mean, "a mean", layout), _given(statistics.covariance, "a covariance", layout)
        arrays |= zip(("mu", "sigma"), checked(*moments, path))
    if layout == "arr_0":
        arrays["arr_0"] = np.asarray(_given(images, "images", layout))
        check_images(arrays["arr_0"].shape, arrays["arr_0"].dtype, "images")
    if layout in ("mu_s, sigma_s", "arr_0"):  # guided diffusion's evaluator fails on mu without mu_s
        arrays |= zip(("mu_s", "sigma_s"), checked(*_given(statistics.spatial, "spatial moments", layout), path))
    if layout == "edm2":
        _write_edm2(path, arrays)
    else:
        npz.write(path, arrays)


def _given(value, name, layout):
    if value is None:
        raise ValueError(f"the layout {layout!r} needs {name}: compute them, or choose another of {'; '.join(LAYOUTS)}")
    return value


def _write_edm2(path, arrays):
    tree = {"fid": {"mu": arrays["mu"], "sigma": arrays["sigma"]}, "about": arrays["about"]}
    if "count" in arrays:
        tree = {"num_images": int(arrays["count"])} | tree
    with replacing(path) as temporary:
        temporary.write_bytes(pickled(tree))
