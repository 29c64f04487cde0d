"""Errors for samples that are not finite, and for batches that do not fit into memory."""

from functools import partial

import jax
import numpy as np

from experiments.support.mesh import rounded, stream

OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")  # the words of accelerators and of CPUs


class NotFinite(FloatingPointError):
    """Samples are NaN or infinite."""


class OutOfMemory(ValueError):
    """A batch does not fit into the memory of the devices."""


def is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY)


def where(work, bad, size, mesh, rows, level) -> str:
    """Says which samples, bad = (indices, labels), are not finite and after which evaluation, by drawing fewer rows."""
    shown = min(len(bad[0]), 8)
    batch = tuple(np.resize(array[:shown], size) for array in bad)  # this size is compiled already
    first = np.full(shown, rows)
    for n in range(rows - 1, -1, -1):
        ((_, (finite, _)),) = stream(partial(work, rows=n), batch, batch=size, mesh=mesh)
        first[~finite[:shown]] = n
    names = (
        f"{index} after evaluation {n} of {rows}, at {level(n - 1)}" if n else f"{index} before the first evaluation"
        for index, n in zip(bad[0], first)
    )
    return (
        f"{len(bad[0])} samples of a batch of {size} are not finite: number {'; '.join(names)}"
        f"{'; ...' if len(bad[0]) > shown else ''}. The solver diverges or the network overflows: raise nfe, lower "
        "solver.order, or use model.dtype=float32"
    )


def what_fits(work, arrays, size, mesh) -> str:
    """Says which half, quarter, ... of a batch fits into memory; found by trying."""
    smaller = size
    while smaller > mesh.devices.size:
        smaller = rounded(smaller // 2, size, mesh)
        try:
            next(stream(work, tuple(array[:smaller] for array in arrays), batch=smaller, mesh=mesh))
            return f"out of memory with batches of {size}: {smaller} fit, set sample.batch={smaller}"
        except (jax.errors.JaxRuntimeError, MemoryError):
            pass
    return f"out of memory with batches of {size}, and of {smaller}: use model.dtype=bfloat16, or more devices"
