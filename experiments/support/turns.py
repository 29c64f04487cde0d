"""Contestants that are timed by turns, so that drift of the machine favours none of them."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def take_turns(contestants: Mapping, rounds: int, progress: Callable = lambda: None) -> dict:
    """Seconds [rounds] of each of {name: function of the round, which returns its seconds}.

    Every name comes first, second, ... equally often (in 2 len(contestants) rounds), after and before every neighbour.
    """
    names, seconds = list(contestants), {name: np.zeros(rounds) for name in contestants}
    for number in range(rounds):
        first = number // 2 % len(names)
        for name in (names[first:] + names[:first])[:: -1 if number % 2 else 1]:
            seconds[name][number] = contestants[name](number)
            progress()
    return seconds


def timed(work: Callable, number=None) -> float:
    """Seconds of work(), in any round."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
