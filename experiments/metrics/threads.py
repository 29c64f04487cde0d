"""Limits the threads of BLAS. A small matrix needs one thread: two wait for each other thousands of times in one
decomposition. If other programs use the cores, that takes a hundred times longer than the arithmetic."""

from contextlib import nullcontext
from functools import cache

SMALL = 1024  # rows that one thread decomposes in 0.2 s, with vectors; two, on busy cores, in 2 s


def one_thread(size: int = 0):
    """A context in which BLAS has one thread, for matrices of `size` up to SMALL rows, and by default for all.

    The limit holds for the whole program. Enter it before starting Python threads: if threads enter it one by one, the
    first that leaves ends it for all.
    """
    return nullcontext() if size > SMALL else _controller().limit(limits=1, user_api="blas")


@cache
def _controller():
    """The controller, cached: finding the libraries takes 3 ms, entering the limit 10 us."""
    import scipy.linalg  # noqa: F401  numpy and scipy bring a BLAS each, and only what is loaded is found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
