"""Times contestants by turns, so that drift of the machine favours none of them."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def take_turns(contestants: Mapping, rounds: int, progress: Callable = lambda: None) -> dict:
    """The seconds [rounds] of each contestant. contestants: {name: function(round), which returns its seconds}.

    In 2 len(contestants) rounds every name has every place equally often, and follows and precedes its neighbours
    equally often.
    """
    names, seconds = list(contestants), {name: np.zeros(rounds) for name in contestants}
    for number in range(rounds):
        first = number // 2 % len(names)
        for name in (names[first:] + names[:first])[:: -1 if number % 2 else 1]:
            seconds[name][number] = contestants[name](number)
            progress()
    return seconds


def timed(work: Callable, number=None) -> float:
    """The seconds that work() takes, in any round."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
