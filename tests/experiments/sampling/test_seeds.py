"""Sample i is the same for any batch size, number of devices, order and choice of indices."""

from functools import partial

import jax
import numpy as np
import pytest
from experiments.build.network import build_model

from configs import toy_gmm
from experiments.build.tables import build_table
from experiments.data.pixels import to_uint8
from experiments.sampling import alignment, failures
from experiments.sampling import draw as runner
from experiments.sampling.alignment import align
from experiments.support import keys
from experiments.support.mesh import make_mesh
from gaussian import AffineMap


@pytest.fixture(scope="module")
def drawing():
    """(draw, params, table, rows) of a mixture of 4x4 images."""
    config = toy_gmm.get_config()
    config.mixture.shape = (4, 4, 1)
    network = build_model(config)
    table, rows = align({0: build_table(config, {"name": "unipc"}, 6, network.prediction)})[0]
    return runner.make_draw(network.make, network.shape, 80.0), network.params, table, rows


def collect(drawing, batch, devices, indices):
    mesh = make_mesh(jax.devices()[:devices])
    labels = np.zeros(len(indices), np.int32)
    got = list(runner.generate(*drawing, seed=3, indices=indices, labels=labels, batch=batch, mesh=mesh))
    assert np.concatenate([i for i, _ in got]).tolist() == list(indices)
    return np.concatenate([samples for _, samples in got])


@pytest.mark.parametrize("batch", [1, 7, 16])
@pytest.mark.parametrize("devices", [1, 2])
def test_batch_size_and_devices_do_not_matter(drawing, batch, devices):
    expected = collect(drawing, 20, 1, range(20))
    got = collect(drawing, batch, devices, range(20))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)  # float32: only the order of sums may differ
    assert np.abs(to_uint8(got).astype(int) - to_uint8(expected)).max() <= 1


def test_any_subset_in_any_order(drawing):
    everything = collect(drawing, 8, 2, range(20))
    np.testing.assert_allclose(collect(drawing, 8, 2, [17, 3, 9]), everything[[17, 3, 9]], rtol=0, atol=1e-5)


def test_samples_differ_by_index_and_seed(drawing):
    first = keys.initial_noise(3, np.arange(4), (4, 4, 1))
    other = keys.initial_noise(4, np.arange(4), (4, 4, 1))
    values = np.concatenate([first, other]).reshape(8, -1)
    assert len(np.unique(values[:, 0])) == 8


def test_padded_rows_and_depth_change_nothing():
    """Solvers that share a program through padding give what each gives alone."""
    config = toy_gmm.get_config()
    network = build_model(config)
    tables = {n: build_table(config, {"name": "ddim"} if n < 8 else {"name": "unipc"}, n, "x0") for n in (5, 8)}
    draw = runner.make_draw(network.make, network.shape, 80.0)
    aligned = align(tables)
    assert [jax.tree.map(np.shape, table) for table, _ in aligned.values()][0] == jax.tree.map(np.shape, aligned[8][0])
    for n, table in tables.items():
        alone = collect((draw, network.params, table.astype(np.float32), n), 8, 1, range(8))
        np.testing.assert_allclose(
            collect((draw, network.params, *aligned[n]), 8, 1, range(8)), alone, rtol=0, atol=1e-6
        )


def test_runner_agrees_with_the_public_sample(drawing):
    from solvers import sample

    draw, params, table, rows = drawing
    config = toy_gmm.get_config()
    config.mixture.shape = (4, 4, 1)
    model = build_model(config).make(params, 0)
    x_T = 80.0 * keys.initial_noise(3, np.arange(2), (4, 4, 1))
    x0 = jax.jit(jax.vmap(lambda x: sample(model, table, x)[0]))(x_T)
    np.testing.assert_allclose(collect(drawing, 2, 1, range(2)), x0, rtol=0, atol=1e-5)


def test_samples_that_are_not_finite_are_named():
    draw = runner.make_draw(lambda params, label: lambda x, t: x * np.nan, (2,), 1.0)
    table = build_table(toy_gmm.get_config(), {"name": "ddim"}, 5, "x0").astype(np.float32)
    found = (
        "2 samples of a batch of 2 are not finite: number 5 after evaluation 1 of 5, at t = 80; 6 after evaluation 1"
    )
    with pytest.raises(failures.NotFinite, match=found):
        collect((draw, (), table, 5), 2, 1, [5, 6])


def programs(monkeypatch):
    """How many programs with the network in them `draw_all` compiles, and how often the network is traced."""
    config, traces, solves, advance = toy_gmm.get_config(), [], [], runner.advance
    network = build_model(config)

    def make(params, label):
        traces.append(1)
        return network.make(params, label)

    monkeypatch.setattr(runner, "advance", lambda *arguments: solves.append(1) or advance(*arguments))
    draw_all(config, partial(runner.make_draw(make, network.shape, 80.0), network.params))
    return len(solves), len(traces)


def draw_all(config, draw):
    """Of scalar solvers, one with coefficients of the data shape and one with noise; the first with a jump, too."""
    names = ("ddim", "dpmpp", "unipc", "ipndm", "ddpm")
    tables = {(name, n): build_table(config, {"name": name}, n, "x0") for name in names for n in (5, 8)}
    tables["wide", 6] = with_arrays(tables["unipc", 5])
    jump = AffineMap(np.ones((1, 2)), np.zeros((1, 2)), np.ones((1, 2, 1)), np.ones((1, 1)), np.ones(1))
    for (name, _), (table, rows) in align(tables).items():
        for way in (None, jump) if name == "ddim" else (None,):
            draw(way, table, rows, 0, np.arange(4), np.zeros(4, np.int32))


def with_arrays(table):
    """The same, with a and b of the data shape of this config, and other numbers in them."""
    scale = 1 + 0.1 * np.arange(2)
    return table._replace(a=table.a[:, None] * scale, b=table.b[..., None] * scale)


def test_one_program_for_many_solvers_and_evaluations(monkeypatch):
    """All deterministic solvers at all nfe, and those with noise; where tables are large, also by kind of coefficient.
    The network is traced once for all of them."""
    assert programs(monkeypatch) == (2, 1)
    monkeypatch.setattr(alignment, "FEW", 100)
    assert programs(monkeypatch) == (3, 1)


def test_scalar_coefficients_as_arrays_give_the_same_samples():
    config = toy_gmm.get_config()
    network, scalar = build_model(config), build_table(config, {"name": "unipc"}, 5, "x0")
    alone = align({"scalar": scalar})["scalar"]
    repeated = align({"scalar": scalar, "wide": with_arrays(scalar)})["scalar"]
    assert (alone[0].b.shape, repeated[0].b.shape) == ((5, 4), (5, 4, 2))
    np.testing.assert_array_equal(repeated[0].b, np.repeat(alone[0].b[..., None], 2, axis=2))
    draw = runner.make_draw(network.make, network.shape, 80.0)
    found = [collect((draw, network.params, *aligned), 4, 1, range(4)) for aligned in (alone, repeated)]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (28, 28, 1), (5, 3, 2)])
def test_noise_is_that_of_the_key_of_its_index(shape):
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 7), 0)
    expected = jax.random.normal(key, shape)
    np.testing.assert_array_equal(keys.initial_noise(3, [5, 7], shape)[1], expected)
