"""Handles signals that end a run. It ends as after an error, with nothing half-written."""

import os
import signal
import sys
from contextlib import contextmanager
from functools import partial

import jax
from jax.experimental import multihost_utils

_patient, _told = [], []  # whether signals wait, and which ones this process received


@contextmanager
def patiently():
    """Within the block, the first signal to end the run waits for `stop_if_told` or the block's end."""
    _patient.append(True)
    try:
        yield
    finally:
        _patient.pop()
    stop_if_told()


def stop(number, frame) -> None:
    """Handles a signal that ends a run."""
    _told.append(number)
    if not _patient or len(_told) > 1:
        _end(number)


def stop_if_told(step: int | None = None) -> None:
    """Ends the run if a signal has come. With a step, all of several processes end at the same step.

    Once processes have joined, jax receives SIGTERM in place of our handler.
    """
    if _told:
        _end(_told[0])
    if step is not None and jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
        _end(signal.SIGTERM)


def _end(number):
    name = signal.Signals(number).name
    print(f"error: stopped by {name}: the same command goes on from what is written", file=sys.stderr, flush=True)
    sys.unraisablehook = partial(_once_more, number)
    raise SystemExit(128 + number)


def _once_more(number, lost):
    """Ends the process if Python has dropped our SystemExit. Files are whole or absent all the same.

    Python drops errors raised in callbacks, such as jax's in the garbage collector.
    """
    os._exit(128 + number)
