"""What long work says where its output is a file: at once, and again and again, with the stage it is at."""

import io
import time

from experiments.data.progress import Progress, heartbeat


class Terminal(io.StringIO):
    def isatty(self):
        return True


def wait_for(text, file):
    """Until the thread that speaks has said it; a minute at most."""
    end = time.monotonic() + 60
    while text not in file.getvalue():
        assert time.monotonic() < end, file.getvalue()
        time.sleep(0.01)


def test_a_heartbeat_speaks_at_once_and_names_the_stage():
    file = io.StringIO()
    with heartbeat("sample", every=0.02, file=file):
        assert file.getvalue().startswith("sample: starts")
        wait_for("between two stages", file)  # as while something compiles, before any bar
        with Progress(total=2000, desc="ems", unit="point", file=io.StringIO()) as bar:
            bar.update(1500)
            bar.set_postfix_str("UniPC 5")
            wait_for("ems: 1,500 of 2,000 points, UniPC 5", file)
            for _ in Progress(range(3), desc="inner", unit="case", file=io.StringIO()):
                wait_for("; inner: ", file)
            bar.set_description("other")
            wait_for("other: 1,500 of 2,000 points", file)
    said = file.getvalue()
    time.sleep(0.1)
    assert file.getvalue() == said  # it has ended


def test_a_terminal_has_bars_instead():
    file = Terminal()
    with heartbeat("sample", every=0.001, file=file):
        time.sleep(0.02)
    assert file.getvalue() == ""
    with Progress(total=3, desc="ems", file=file) as bar:
        bar.update(3)
    assert "ems: 100%" in file.getvalue() and "3/3" in file.getvalue()


def test_a_hidden_bar_says_nothing():
    file = io.StringIO()
    with heartbeat("sample", every=0.01, file=file), Progress(total=3, desc="ems", hidden=True):
        wait_for("between two stages", file)
    assert "ems" not in file.getvalue()


def test_items_come_through():
    assert list(Progress([1, 2, 3], desc="count", file=io.StringIO())) == [1, 2, 3]
