"""Other coordinates: the same samples from scalar tables, and exact statistics in principal components."""

import numpy as np
import pytest

from configs import toy_gmm
from experiments.build import bases
from experiments.build.network import build_model
from experiments.build.tables import build_table
from experiments.ems.estimate import compute
from experiments.sampling import draw as runner
from experiments.support.mesh import make_mesh


def config(basis, **mixture):
    c = toy_gmm.get_config("smoke")
    c.ems.basis = basis
    c.mixture.update(mixture)
    return c


def draw(c, table):
    network = build_model(c)
    one = runner.make_draw(network.make, network.shape, 80.0, network.basis is not None)
    fixed = {"seed": 0, "indices": np.arange(8), "labels": np.zeros(8), "batch": 8, "mesh": make_mesh()}
    return runner.collect(one, network.params, table.astype(np.float32), table.nfe, **fixed)[0]


@pytest.mark.parametrize("basis", ["dct", "pca", "channels"])
def test_a_basis_is_orthogonal_and_tables_do_not_see_it(basis):
    network = build_model(config(basis, shape=(2, 3, 2)))
    np.testing.assert_allclose(network.basis.T @ network.basis, np.eye(12), atol=1e-12)
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 2))
    turned = bases.coordinates(network.basis, x)
    np.testing.assert_allclose(np.linalg.norm(turned.reshape(4, -1), axis=1), np.linalg.norm(x.reshape(4, -1), axis=1))
    pixels, other = (config(b, shape=(2, 3, 2)) for b in ("pixels", basis))
    table = build_table(pixels, {"name": "unipc", "order": 2}, 8, "x0")
    # float32 along 8 steps from 80: round-off 6e-8 of 80, times a few
    np.testing.assert_allclose(draw(pixels, table), draw(other, table), rtol=0, atol=5e-5)


def test_principal_components_make_a_gaussian_exact(tmp_path):
    """One component: with EMS per principal component v3 needs one step, but for those of pixels it does not."""
    errors = {}
    for basis in ("pixels", "pca"):
        c = config(basis, shape=(6,), components=1, radius=0.8)
        c.ems.nodes, c.ems.points, c.ems.probes = 120, 256, 0
        c.grid.t_start = c.grid.t_end = None
        network = build_model(c)
        ems = compute(c, network, tmp_path / basis)
        coarse = build_table(c, {"name": "dpm_v3", "order": 1}, 2, "x0", ems)
        fine = build_table(config("pixels", shape=(6,), components=1), {"name": "unipc", "order": 3}, 200, "x0")
        reference = draw(config("pixels", shape=(6,), components=1, radius=0.8), fine)
        errors[basis] = np.abs(draw(c, coarse) - reference).max()
    assert errors["pca"] < 2e-3 < 0.02 < errors["pixels"], errors


def test_an_unknown_basis_is_named():
    with pytest.raises(ValueError, match="unknown ems.basis 'fourier': known are dct, channels, pca"):
        build_model(config("fourier"))
