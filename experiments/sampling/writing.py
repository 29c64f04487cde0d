"""Writes batches to files while the devices go on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from experiments.support.signals import stop_if_told


def sizes_of(indices, block: int) -> list[int]:
    """How many of the increasing `indices` go into each file: a file ends at a gap and before multiples of `block`."""
    ends = 1 + np.flatnonzero(np.diff(indices // block) | (np.diff(indices) > 1))
    return [len(part) for part in np.split(indices, ends)]


def counted(batches, on_batch) -> Iterator[tuple]:
    """Yields (indices, images, features) of batches after on_batch(count) of each; between two the run may end."""
    for indices, found in batches:
        stop_if_told()
        on_batch(len(indices))
        yield indices.astype(np.int64), *found


def regroup(batches: Iterable, sizes) -> Iterator[tuple]:
    """Yields the same rows in tuples of arrays of `sizes`, from tuples of arrays of any sizes."""
    batches, rest = iter(batches), ()
    for size in sizes:
        while not rest or len(rest[0]) < size:
            more = next(batches)
            rest = tuple(np.concatenate(pair) for pair in zip(rest, more)) if rest else more
        yield tuple(array[:size] for array in rest)
        rest = tuple(array[size:] for array in rest)


@contextmanager
def behind(write):
    """Yields submit(item), which runs write(item) in a thread, one at a time.

    An error of write is raised at the next item or at the end. However the block ends, a write that has begun is
    finished first.
    """
    with ThreadPoolExecutor(1) as pool:
        last = []

        def submit(item):
            while last:
                last.pop().result()
            last.append(pool.submit(write, item))

        yield submit
        while last:
            last.pop().result()
