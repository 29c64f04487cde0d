"""Threads of BLAS. A small matrix needs one: two wait for each other thousands of times in one decomposition, which
where other programs use the cores takes a hundred times longer than the arithmetic."""

from contextlib import nullcontext
from functools import cache

SMALL = 1024  # rows that one thread decomposes in 0.2 s, with vectors; two, on busy cores, in 2 s


def one_thread(size: int = 0):
    """A context in which BLAS has one thread, for matrices of up to SMALL rows, and by default for all.

    It holds for the whole program. Threads of Python that enter it at once must be started within it, or the first that
    leaves it ends it for all.
    """
    return nullcontext() if size > SMALL else _controller().limit(limits=1, user_api="blas")


@cache
def _controller():
    """Kept: to find the libraries takes 3 ms, to enter the limit 10 us."""
    import scipy.linalg  # noqa: F401  numpy and scipy bring a BLAS each, and only what is loaded is found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
