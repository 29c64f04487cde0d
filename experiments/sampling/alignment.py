"""Gives tables of many solvers few shapes, since tables of one shape share a compiled program."""

import math
from collections.abc import Mapping

import jax
import numpy as np

from solvers import Table, pad

FEW = 2**22  # numbers in a table; up to here, if one solver has arrays as coefficients, all get them: one program


def align(tables: Mapping, dtype=np.float32) -> dict:
    """Converts tables to `dtype` and pads them to few shapes: {key: (table, rows that count)}.

    Tables of one kind (see `_kinds`) get the same depth and number of rows. If one of them has a coefficient of the
    data shape, scalars of the others are repeated to it. Added rows never run.
    """
    aligned = {}
    for keys in _kinds(tables):
        rows, depth = (max(getattr(tables[key], name) for key in keys) for name in ("nfe", "depth"))
        shapes = [max(column, key=len) for column in zip(*(_shapes(tables[key]) for key in keys))]
        for key in keys:
            table = _repeated(pad(tables[key], depth), shapes).astype(dtype)
            aligned[key] = _lengthen(table, rows - table.nfe), tables[key].nfe
    return {key: aligned[key] for key in tables}


def _kinds(tables: Mapping) -> list[list]:
    """Groups the keys of tables that get one shape: tables with noise, and tables without.

    If that would make large tables, a group only has tables whose coefficients have the same shapes.
    """
    rows, depth = (max(getattr(table, name) for table in tables.values()) for name in ("nfe", "depth"))
    numbers = rows * (depth + 5) * max(math.prod(shape) for table in tables.values() for shape in _shapes(table))
    kinds = {}
    for key, table in tables.items():
        kind = table.s is None if numbers <= FEW else (table.s is None, *_shapes(table))
        kinds.setdefault(kind, []).append(key)
    return list(kinds.values())


def _shapes(table: Table) -> list[tuple]:
    """The shape of one coefficient of each column: () or the data shape."""
    return [() if column is None else column.shape[1:] for column in table._replace(b=table.b[:, 0])]


def _repeated(table: Table, shapes) -> Table:
    """The table with coefficients of the given shape in each column; scalars become arrays of equal numbers."""
    columns = list(table)
    for n, (own, shape) in enumerate(zip(_shapes(table), shapes)):
        if own != shape:
            lead = columns[n].shape
            columns[n] = np.broadcast_to(columns[n].reshape(*lead, *(1 for _ in shape)), lead + shape)
    return Table(*columns)


def _lengthen(table: Table, more: int) -> Table:
    return jax.tree.map(
        lambda column: np.concatenate([column, np.zeros((more, *column.shape[1:]), column.dtype)]), table
    )
