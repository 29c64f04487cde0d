"""The engine and its tables: one trace, padding, joining, fusing, gradients, noise, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import SOLVERS, Table, advance, check, concat, fuse, pad, sample
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP
from tests.helpers.mixture import SHAPE, grid_of, model, start


def test_six_solvers_of_equal_rows_and_depth_compile_once():
    traces, t = [], GRIDS["lam_uniform"](EDM(), 6)

    def net(x, t):
        traces.append(1)
        return x / (1 + t * t)

    tables = [
        SOLVERS["ddim"](EDM(), t),
        SOLVERS["dpmpp"](EDM(), t),
        SOLVERS["unipc"](EDM(), t),
        SOLVERS["ipndm"](EDM(), t),
        SOLVERS["edm_heun"](EDM(), t[::2]),
        SOLVERS["dpm_v3"](EDM(), t, degenerate=True),
    ]
    run = jax.jit(jax.vmap(lambda table, x: sample(net, table, x)[0], in_axes=(None, 0)))
    run(pad(tables[0], 4).astype(np.float32), jnp.ones((3, 2)))
    once = len(traces)
    results = [run(pad(table, 4).astype(np.float32), jnp.ones((3, 2))) for table in tables]
    assert len(traces) == once and len({float(r[0, 0]) for r in results}) == 6


def test_padding_and_concatenation_change_nothing(x64):
    net, x = model(VP(), "eps"), jnp.asarray(start(VP())[1])
    t = grid_of(VP(), 8)
    whole = SOLVERS["ddim"](VP(), t)
    # the added terms are 0, but stand elsewhere in the sums: 8 rows of 7 terms, each below 1
    np.testing.assert_allclose(sample(net, pad(whole, 5), x)[0], sample(net, whole, x)[0], rtol=0, atol=56 * 2.3e-16)
    parts = concat(SOLVERS["ddim"](VP(), t[:4]), pad(SOLVERS["ddim"](VP(), t[3:]), 3))
    np.testing.assert_allclose(sample(net, parts, x)[0], sample(net, whole, x)[0], rtol=0, atol=1e-12)
    ems = EMS(np.linspace(-6, 6, 50), *np.full((3, 50, *SHAPE), 0.1), {})
    mixed = concat(SOLVERS["ddim"](VP(), t[:4]), SOLVERS["dpm_v3"](VP(), t[3:], ems=ems))
    two = sample(net, SOLVERS["dpm_v3"](VP(), t[3:], ems=ems), sample(net, SOLVERS["ddim"](VP(), t[:4]), x)[0])[0]
    np.testing.assert_allclose(sample(net, mixed, x)[0], two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, depth", [("dpmpp", 2), ("unipc", 4)])
def test_predictions_are_held_once(name, depth):
    """Beside x, in whose place the result is: K predictions, and the output. To move them takes 2 K."""
    shape, batch = (32, 32, 3), 8
    table = SOLVERS[name](EDM(), GRIDS["lam_uniform"](EDM(), 10), order=max(depth - 1, 2)).astype(np.float32)
    assert table.depth == depth
    run = jax.jit(
        jax.vmap(lambda table, x: advance(lambda x, t: jnp.tanh(x), table, x, table.nfe), (None, 0)), donate_argnums=1
    )
    compiled = run.lower(table, jax.ShapeDtypeStruct((batch, *shape), np.float32)).compile()
    state = batch * int(np.prod(shape)) * 4
    assert compiled.memory_analysis().temp_size_in_bytes < (depth + 1.1) * state


def test_states_and_batches(x64):
    table, x = SOLVERS["unipc"](VP(), grid_of(VP(), 5)), jnp.asarray(np.random.default_rng(0).normal(size=(4, *SHAPE)))
    net = model(VP(), "eps")
    x0, states = jax.vmap(lambda x: sample(net, table, x))(x)
    assert states.shape == (4, 5, *SHAPE)
    np.testing.assert_array_equal(states[:, -1], x0)
    np.testing.assert_allclose(x0[2], sample(net, table, x[2])[0], rtol=0, atol=1e-13)


def test_gradients_flow_into_the_table(x64):
    """Tables are differentiable data: against a central difference in one coefficient."""
    net, x = model(VP(), "eps"), jnp.asarray(start(VP())[1])
    table = jax.tree.map(jnp.asarray, SOLVERS["dpmpp"](VP(), grid_of(VP(), 5), order=2))
    loss = lambda b: (sample(net, table._replace(b=b), x)[0] ** 2).sum()  # noqa: E731
    step = 1e-6 * jnp.zeros_like(table.b).at[2, 1].set(1.0)
    difference = (loss(table.b + step) - loss(table.b - step)) / 2e-6
    np.testing.assert_allclose(jax.grad(loss)(table.b)[2, 1], difference, rtol=1e-7)


def test_stochastic_rows_need_a_key_and_use_it():
    t = np.array([1.0, 0.5, 0.1])
    table = SOLVERS["ddim"](VP(), t)._replace(s=np.array([0.3, 0.0]))
    net = lambda x, t: 0 * x  # noqa: E731
    with pytest.raises(ValueError, match=r"pass key=jax.random.key"):
        sample(net, table, jnp.zeros(3))
    key = jax.random.key(0)
    got = sample(net, table, jnp.zeros(3), key)[1]
    np.testing.assert_allclose(got[0], 0.3 * jax.random.normal(jax.random.fold_in(key, 0), (3,)), rtol=1e-6)
    np.testing.assert_allclose(got[1], table.a[1] * got[0] + table.b[1, 0] * table.p[1] * got[0], rtol=1e-6)


def test_shapes_are_checked_before_anything_runs():
    table = SOLVERS["ddim"](EDM(), [2.0, 1.0])
    with pytest.raises(ValueError, match="no batch axis"):
        sample(lambda x, t: x[None], table, jnp.zeros(3))
    ems = EMS(np.linspace(-2, 2, 9), *np.zeros((3, 9, 4)), {})
    with pytest.raises(ValueError, match=r"samples of shape \(4,\)"):
        sample(lambda x, t: x, SOLVERS["dpm_v3"](EDM(), [2.0, 1.0], ems=ems), jnp.zeros(3))
    wide = np.ones(4)  # of b alone, it would go with [3, 4] by broadcasting
    for name in ("b", "c", "s"):
        column = getattr(table, name) if name != "s" else np.zeros(1)
        broken = table._replace(**{name: column[..., None] * wide})
        with pytest.raises(ValueError, match=rf"samples of shape \(4,\) \(column {name}\), x has shape \(3, 4\)"):
            sample(lambda x, t: x, broken, jnp.zeros((3, 4)), jax.random.key(0))


def test_check_finds_broken_tables():
    good = SOLVERS["dpmpp"](VP(), grid_of(VP(), 5))
    for broken, message in (
        (good._replace(c=good.c * np.nan), "c of row 0"),
        (good._replace(t=good.t[::-1]), "increase"),
        (good._replace(a=good.a[1:]), "a has 4 rows"),
        (good._replace(b=np.ones_like(good.b)), "warm-up"),
    ):
        with pytest.raises(ValueError, match=message):
            check(broken)
    with pytest.raises(ValueError, match="inconsistent"):
        check(good._replace(b=good.b * (1 + 1e-9)), VP(), grid_of(VP(), 5)[-1], "eps")


def test_fusing_a_corrector_equals_running_it(x64):
    """Brute force: keep the corrected state beside the predicted one."""
    rng, rows, depth = np.random.default_rng(0), 6, 2
    b = rng.normal(size=(rows, depth)) * (np.arange(depth) <= np.arange(rows)[:, None])
    table = Table(np.arange(rows, 0, -1.0), *rng.normal(size=(3, rows)), b, rng.normal(size=rows))
    corrected, c = rng.normal(size=(rows, depth + 1)), rng.normal(size=rows)
    corrected[0, 2] = 0
    net = lambda x, t: np.tanh(x + t)  # noqa: E731
    x_T = x_corrected = x = rng.normal(size=3)
    m = []
    for n in range(rows):
        if n:
            new = table.p[n] * x + table.q[n] * net(x, table.t[n])
            previous = [new, *m]
            x_corrected = (
                table.a[n - 1] * x_corrected
                + c[n - 1]
                + sum(w * y for w, y in zip(corrected[n - 1], previous, strict=False))
            )
            m = previous
        else:
            m = [table.p[0] * x + table.q[0] * net(x, table.t[0])]
        x = table.a[n] * x_corrected + table.c[n] + sum(w * y for w, y in zip(table.b[n], m, strict=False))
    got = sample(lambda x, t: jnp.tanh(x + t), fuse(table, corrected, c), jnp.asarray(x_T))[0]
    np.testing.assert_allclose(got, x, rtol=1e-12)
