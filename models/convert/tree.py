"""The plain data that a foreign file becomes, and the check that it is nothing else."""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

DEPTH = 200  # nesting of containers; networks have some twenty
NODES = 5_000_000  # values, shared ones counted each time; a network with its optimizer has some ten thousand
SCALARS = (str, bytes, int, float, bool, type(None))
DAMAGED = "the file is damaged or no checkpoint, fetch it again"


class Record(NamedTuple):
    """An object of a class that a file names, as inert data: nothing is imported or called.

    module, name: where the class was defined; "persistent" and the class for an object that brings its own source
    (EDM, StyleGAN), which is dropped unread. args: what it was made with. state: its attributes by name; None for the
    class, type or function itself.
    """

    module: str
    name: str
    args: tuple = ()
    state: Any = None


CONTAINERS = (dict, list, tuple, set, frozenset, Record)


def shown(value) -> str:
    """A short form of a value of a file, fit for one line of a message."""
    if not isinstance(value, SCALARS):
        return f"an object of type {type(value).__name__}"
    text = repr(value[:60] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 70 else f"{text[:60]}..."


def listed(values) -> str:
    """A short form of several values."""
    return f"[{', '.join(map(shown, values[:6]))}{', ...' * (len(values) > 6)}]"


def is_number(dtype: np.dtype) -> bool:
    """True for types of real numbers, bool and bfloat16 included."""
    return dtype.kind in "biuf" or dtype == ml_dtypes.bfloat16


def check_key(key):
    """The key of a dict or member of a set, if it is a scalar or a flat tuple: others can take for ever to hash."""
    parts = key if type(key) is tuple else (key,)
    if not all(isinstance(part, SCALARS) for part in parts):
        raise ValueError(f"{shown(key)} is the key of a dict or in a set, where strings and numbers belong: {DAMAGED}")
    return key


def check(tree):
    """The tree itself, if it is finite, not deep, and of dict, list, tuple, set, Record, scalars and numeric arrays.

    ValueError for a tree that contains itself, is deeper than DEPTH, or has more than NODES values counted as often as
    they are reached: containers that share their members are small in a file and may be too large for any walk.
    """
    sizes = {}  # id of a container -> (number of values in it, its depth), when all of it is known
    open_ids = set()  # the containers around the current one
    todo = [(tree, False)]
    while todo:
        node, left = todo.pop()
        if type(node) not in CONTAINERS:
            _check_leaf(node)
        elif left:
            open_ids.remove(id(node))
            below = [sizes.get(id(child), (1, 0)) for child in _children(node)]
            sizes[id(node)] = _bounded(1 + sum(n for n, _ in below), 1 + max((d for _, d in below), default=0))
        elif id(node) in open_ids:
            raise ValueError(f"a {type(node).__name__} contains itself, which no checkpoint needs: {DAMAGED}")
        elif id(node) not in sizes:
            open_ids.add(id(node))
            todo.append((node, True))
            todo.extend((child, False) for child in _children(node))
    return tree


def _children(node):
    return list(node.values()) if isinstance(node, dict) else list(node)


def _bounded(nodes, depth):
    if depth > DEPTH:
        raise ValueError(f"containers are nested more than {DEPTH} deep, which no checkpoint needs: {DAMAGED}")
    if nodes > NODES:
        raise ValueError(f"shared containers unfold to more than {NODES:,} values: {DAMAGED}")
    return nodes, depth


def _check_leaf(node):
    if isinstance(node, (np.ndarray, np.generic)):
        if not is_number(node.dtype):
            raise ValueError(f"an array is of {node.dtype}, and real numbers are readable: save it as another type")
    elif not isinstance(node, SCALARS):
        raise ValueError(f"it holds {shown(node)}, and numbers, strings and arrays are readable: {DAMAGED}")
