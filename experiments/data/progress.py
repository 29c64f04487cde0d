"""Shows progress of long work: a bar on a terminal; elsewhere a line at once and every half minute (`heartbeat`)."""

import sys
import threading
import time
from contextlib import contextmanager

from tqdm import tqdm

EVERY = 30.0  # seconds between lines

_running = []  # the active bars, innermost last


class Progress(tqdm):
    """tqdm's bar on a terminal. If the output is a file, it only counts, for the lines of `heartbeat`."""

    def __init__(self, *args, hidden: bool = False, **kwargs):
        self.done, self.stage, self.suffix = kwargs.get("initial", 0), kwargs.get("desc", ""), ""
        super().__init__(*args, **kwargs, disable=True if hidden else None)
        self.unit = kwargs.get("unit", "step")  # tqdm does not set it on a hidden bar
        if not hidden:
            _running.append(self)

    def __iter__(self):
        if not self.disable:
            yield from super().__iter__()
            return
        for item in self.iterable:
            yield item
            self.done += 1
        self.close()

    def update(self, n=1):
        self.done += n
        return super().update(n)

    def set_postfix_str(self, s="", refresh=True):
        self.suffix = s
        if not self.disable:
            super().set_postfix_str(s, refresh)

    def set_description(self, desc=None, refresh=True):
        self.stage = desc or ""
        if not self.disable:
            super().set_description(desc, refresh)

    def close(self):
        _running[:] = [bar for bar in _running if bar is not self]  # not list.remove: tqdm compares bars by position
        super().close()

    def line(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.stage}: {self.done:,}{of} {self.unit}s{f', {self.suffix}' if self.suffix else ''}"


@contextmanager
def heartbeat(name: str, every: float = EVERY, file=None):
    """While the block runs, prints the progress to stderr if that is not a terminal, also during a compilation."""
    file = sys.stderr if file is None else file
    if file.isatty():
        yield
        return
    begin, ended = time.monotonic(), threading.Event()

    def speak():
        stage = "; ".join(bar.line() for bar in list(_running)) or "starting, or between two stages"
        print(f"{name}, {time.monotonic() - begin:.0f} s: {stage}", file=file, flush=True)

    def beat():
        while not ended.wait(every):
            speak()

    print(f"{name}: starts; a line every {every:g} s says how far it is", file=file, flush=True)
    thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
