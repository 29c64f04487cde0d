"""Other coordinates: the same samples from scalar tables, and exact statistics in principal components."""

import numpy as np
import pytest

from configs import toy_gmm
from configs.sections import Ems
from experiments import build, ems
from experiments.build import bases
from experiments.sampling import Sampler


def config(basis, **mixture):
    c = toy_gmm.get_config("smoke")
    c.ems.basis = basis
    c.mixture.update(mixture)
    return c


def draw(c, options, nfe, statistics=None):
    problem = build.problem(c)
    return Sampler(problem, 8).collect(build.method(problem, "", options, nfe, statistics), np.arange(8))[0]


@pytest.mark.parametrize("basis", ["dct", "pca", "channels"])
def test_a_basis_is_orthogonal_and_tables_do_not_see_it(basis):
    network = build.problem(config(basis, shape=(2, 3, 2))).network
    np.testing.assert_allclose(network.basis.T @ network.basis, np.eye(12), atol=1e-12)
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 2))
    turned = bases.coordinates(network.basis, x)
    np.testing.assert_allclose(np.linalg.norm(turned.reshape(4, -1), axis=1), np.linalg.norm(x.reshape(4, -1), axis=1))
    pixels, other = (config(b, shape=(2, 3, 2)) for b in ("pixels", basis))
    unipc = {"name": "unipc", "order": 2}, 8
    # float32 along 8 steps from 80: round-off 6e-8 of 80, times a few
    np.testing.assert_allclose(draw(pixels, *unipc), draw(other, *unipc), rtol=0, atol=5e-5)


def test_principal_components_make_a_gaussian_exact(tmp_path):
    """One component: with EMS per principal component v3 needs one step, but for those of pixels it does not."""
    errors = {}
    for basis in ("pixels", "pca"):
        c = config(basis, shape=(6,), components=1, radius=0.8)
        c.ems.nodes, c.ems.points, c.ems.probes = 120, 256, 0
        c.grid.t_start = c.grid.t_end = None
        statistics = ems.compute(build.problem(c), build.settings(c.ems, Ems), tmp_path / basis)
        in_pixels = config("pixels", shape=(6,), components=1, radius=0.8)
        reference = draw(in_pixels, {"name": "unipc", "order": 3}, 200)
        errors[basis] = np.abs(draw(c, {"name": "dpm_v3", "order": 1}, 2, statistics) - reference).max()
    assert errors["pca"] < 2e-3 < 0.02 < errors["pixels"], errors


def test_an_unknown_basis_is_named():
    with pytest.raises(ValueError, match="unknown ems.basis 'fourier': known are dct, channels, pca"):
        build.problem(config("fourier"))
