"""Coordinates other than pixels, for statistics and solver: `ems.basis`.

The columns of U [D, D] are the axes, x = U y. Noise and tables are the same in all coordinates. Statistics per
coordinate are not: for a Gaussian, those per principal component are exact.
"""

import jax.numpy as jnp
import numpy as np

import models
from experiments.build.checkpoints import find
from experiments.metrics.frechet import load_reference
from experiments.metrics.threads import one_thread
from experiments.support.errors import choose


def turn(config, network, name: str):
    """The Network in the coordinates `name` (a value of `ems.basis`). U is its `basis`, and one of its params."""
    if name == "pixels":
        return network
    build = choose({"dct": _cosines, "channels": _channels, "pca": _components}, name, "ems.basis")
    basis = build(config, network)

    def make(params, label):
        return models.in_basis(network.make(params["network"], label), params["basis"])

    params = {"network": network.params, "basis": basis.astype(np.float32)}
    return network._replace(params=params, make=make, basis=basis)


def coordinates(basis, x):
    """y = U^T x for samples [n, *shape], in their precision."""
    return (x.reshape(len(x), -1).astype(np.float64) @ basis).reshape(x.shape).astype(x.dtype)


def turned(matrix, x):
    """`matrix` [D, D] times one sample [*shape]; for use within jit."""
    return jnp.matmul(matrix, x.reshape(-1), precision="highest").reshape(x.shape)


def _cosines(config, network):
    """The basis of orthonormal cosines along every axis but the channels."""
    from scipy.fft import dct

    *sizes, channels = network.shape if len(network.shape) > 1 else (*network.shape, 1)
    basis = np.eye(1)
    for size in sizes:
        basis = np.kron(basis, dct(np.eye(size), norm="ortho", axis=0).T)
    return np.kron(basis, np.eye(channels))


def _channels(config, network):
    """The basis of the principal components of the channels, the same at every pixel."""
    channels = network.shape[-1]
    mean, covariance = _pixel_moments(config, network)
    power = (covariance + np.outer(mean, mean)).reshape(-1, channels, len(mean) // channels, channels)
    return np.kron(np.eye(len(mean) // channels), np.linalg.eigh(np.einsum("iaib->ab", power))[1])


def _components(config, network):
    """The basis of the principal components of the data, largest variance first."""
    covariance = _pixel_moments(config, network)[1]
    with one_thread(len(covariance)):
        return np.linalg.eigh(covariance)[1][:, ::-1]


def _pixel_moments(config, network):
    """The mean [D] and covariance [D, D] of the data, from `reference` or from the mixture."""
    if config.model.name == "mixture":
        m = network.params
        mean = m.weights @ m.means
        covariance = np.einsum("k,kir,kr,kjr->ij", m.weights, m.basis, m.variances, m.basis)
        return mean, covariance + np.einsum("k,ki,kj->ij", m.weights, m.means - mean, m.means - mean)
    reference = load_reference(find(config.reference))
    return tuple(reference[f"train_pixel_{name}"].astype(np.float64) for name in ("mean", "cov"))
