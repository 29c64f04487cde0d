"""Writes the list of experiments, which is made of their registry, into README.md and docs/commands.md.

python docs/generate.py
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/commands.md")
MARKED = re.compile(r"(<!-- experiments -->\n).*?(<!-- /experiments -->)", re.DOTALL)


def experiments(registry: dict) -> str:
    """The list of `registry` {name: entry with a `line`} as a table in Markdown."""
    rows = "".join(f"| `{name}` | {entry.line} |\n" for name, entry in registry.items())
    return f"| experiment | what it does |\n|---|---|\n{rows}"


def filled(page: str, registry: dict) -> str:
    """The text of a page with the list between its markers."""
    return MARKED.sub(lambda found: found[1] + experiments(registry) + found[2], page)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from experiments import EXPERIMENTS

    for name in PAGES:
        (ROOT / name).write_text(filled((ROOT / name).read_text(), EXPERIMENTS))
