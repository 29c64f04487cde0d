"""The random Gaussian mixture of a config, whose score is exact."""

import numpy as np

import gaussian


def mixture(config) -> gaussian.Mixture:
    """The random mixture of `config.mixture`: unequal weights, rotated covariances. The seed decides everything."""
    c = config.mixture
    rng, dimension = np.random.default_rng(c.seed), int(np.prod(c.shape))
    means = rng.normal(size=(c.components, dimension))
    means *= c.radius / np.linalg.norm(means, axis=1, keepdims=True)
    basis = np.linalg.qr(rng.normal(size=(c.components, dimension, dimension)))[0]
    low, high = np.log(c.deviations)
    variances = np.exp(2 * rng.uniform(low, high, (c.components, dimension)))
    weights = rng.dirichlet(np.full(c.components, 8.0))
    covariances = np.einsum("kij,kj,klj->kil", basis, variances, basis)
    return gaussian.from_covariances(weights, means.reshape(-1, *c.shape), covariances)
