"""The engine: runs any table on one sample with one `lax.scan`. Use `jax.vmap` for a batch.

    step = jax.jit(jax.vmap(lambda table, x: sample(model, table, x)[0], in_axes=(None, 0)))
    x0 = step(table.astype(np.float32), x_T)

The table is an argument: solvers with equal rows and depth share one compiled program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from solvers.backend import warn_of_wrong_sums


class State(NamedTuple):
    """x [*D], and the last K predictions, newest first: history [K, *D]."""

    x: jax.Array
    history: jax.Array


def init(table, x) -> State:
    """The state before the first row; the history starts empty (no row reads what it has not written)."""
    x = jnp.asarray(x)
    return State(x, jnp.zeros((table.depth,) + x.shape, x.dtype))


def init_noise(schedule, shape, key, t_start=None) -> jax.Array:
    """The noise that sampling starts from, x_T [*shape] = sigma(t_start) z with normal z; t_start: schedule.t_max."""
    sigma = schedule.sigma(schedule.t_max if t_start is None else t_start)
    return sigma.astype(jnp.result_type(float)) * jax.random.normal(key, shape)


def step(model, state: State, row, key=None) -> State:
    """One network evaluation and the update after it; `row` is one row of a Table. The state keeps x's float type."""
    x, history = state
    m = _predict(model, x, row)
    history = jnp.concatenate([m[None].astype(history.dtype), history[:-1]])
    return State(_update(row, row.b, x, history, key), history)


def _step_on_ring(model, state, n, row, key):
    """`step` of row n with a ring as history: m_k stands at k mod K, so one prediction is written and none is moved.

    Instead of the history, the coefficients are rotated, which costs nothing.
    """
    x, ring = state
    depth = len(ring)
    m = _predict(model, x, row).astype(ring.dtype)
    ring = jax.lax.dynamic_update_index_in_dim(ring, m, n % depth, axis=0)
    b = [jax.lax.dynamic_index_in_dim(row.b, (n - slot) % depth, keepdims=False) for slot in range(depth)]
    return State(_update(row, b, x, ring, None if key is None else jax.random.fold_in(key, n)), ring)


def _predict(model, x, row):
    """Equation (1) of table.py."""
    return row.p * x + row.q * model(x, row.t)


def _update(row, b, x, history, key):
    """Equation (2) of table.py; b [K] and the history [K] in the same order, newest first or not.

    The sum is written out: one pass over memory; and jaxlib 0.10.2 gets (b * history).sum(axis=0) wrong on CPUs.
    """
    x_next = row.a * x
    for k in range(len(history)):
        x_next += b[k] * history[k]
    x_next += row.c
    if row.s is not None:
        x_next += row.s * jax.random.normal(key, x.shape, x.dtype)
    return x_next.astype(x.dtype)


def sample(model, table, x, key=None) -> tuple[jax.Array, jax.Array]:
    """Runs a table from x [*D] at table.t[0] and returns `(x0 [*D], states [N, *D])`; states[-1] is x0.

    `model(x, t) -> out` takes one sample [*D] and a scalar t. A stochastic table (with an s column) needs a `key`;
    row n draws from fold_in(key, n).
    """
    state, table = _prepare(model, table, x, key)

    def body(state, n_row):
        n, row = n_row
        state = _step_on_ring(model, state, n, row, key)
        return state, state.x

    state, states = jax.lax.scan(body, state, (jnp.arange(table.nfe), table))
    return state.x, states


def advance(model, table, x, rows, key=None) -> jax.Array:
    """x0 [*D] after the first `rows` rows of the table; the same numbers as `sample` of the table cut there.

    `rows` may be traced: tables that are filled up to one shape share one compiled program, whatever their number of
    evaluations.
    """
    state, table = _prepare(model, table, x, key)

    def body(n, state):
        return _step_on_ring(model, state, n, jax.tree.map(lambda column: column[n], table), key)

    return jax.lax.fori_loop(0, rows, body, state).x


def _prepare(model, table, x, key):
    """The first state, and the table as arrays, after checks that they fit the model and each other."""
    warn_of_wrong_sums()
    if table.s is not None and key is None:
        raise ValueError("this table is stochastic (its s column is set): pass key=jax.random.key(seed)")
    state = init(table, x)
    _check_shapes(model, table, state.x)
    return state, jax.tree.map(jnp.asarray, table)


def _check_shapes(model, table, x):
    """Raises ValueError unless the output and the coefficients have x's shape: nothing may be broadcast by accident."""
    out = jax.eval_shape(model, x, jax.ShapeDtypeStruct((), x.dtype))
    if getattr(out, "shape", None) != x.shape:
        got = getattr(out, "shape", type(out).__name__)
        raise ValueError(
            f"the model returned {got} for one sample of shape {x.shape}: it must return the sample's shape "
            "(no batch axis, no variance channels; wrap the network, and vmap `sample` for a batch)"
        )
    shapes = {name: column.shape[1:] for name, column in table._asdict().items() if column is not None}
    for name, shape in (shapes | {"b": table.b.shape[2:]}).items():
        if shape not in ((), x.shape):
            raise ValueError(f"the table is for samples of shape {shape} (column {name}), x has shape {x.shape}")
