"""Writes what the docs take from the code: the list of experiments, and docs/keys.md with all keys of the config.

python docs/generate.py
"""

import dataclasses
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/commands.md")
MARKED = re.compile(r"(<!-- experiments -->\n).*?(<!-- /experiments -->)", re.DOTALL)
KEYS = """\
# All keys

Every key of the config, with its type, its default, its bounds and its meaning. Set it with `--config.KEY=VALUE`. The
page is made from `configs/sections/`.
"""


def experiments(registry: dict) -> str:
    """The list of `registry` {name: entry with a `line`} as a table in Markdown."""
    rows = "".join(f"| `{name}` | {entry.line} |\n" for name, entry in registry.items())
    return f"| experiment | what it does |\n|---|---|\n{rows}"


def filled(page: str, registry: dict) -> str:
    """The text of a page with the list between its markers."""
    return MARKED.sub(lambda found: found[1] + experiments(registry) + found[2], page)


def keys(sections: dict) -> str:
    """The page of all keys, of {name of a section: dataclass}; the name of what stands in no section is empty."""
    parts = [KEYS]
    for name, kind in sections.items():
        parts.append(f"\n## {name or 'In no section'}\n\n")
        if kind.__doc__ and not kind.__doc__.startswith(kind.__name__):
            parts.append(f"{' '.join(kind.__doc__.split())}\n\n")
        parts.append("| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n")
        for field in dataclasses.fields(kind):
            bounds = "; ".join(bound.text for bound in field.metadata["bounds"])
            type_of = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
            cells = f"{name}.{field.name}".lstrip("."), type_of, repr(field.default), bounds, field.metadata["meaning"]
            texts = [str(cell).replace("|", "\\|") for cell in cells]
            parts.append(f"| `{texts[0]}` | {texts[1]} | `{texts[2]}` | {' | '.join(texts[3:])} |\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from configs.sections import SECTIONS, Run
    from experiments import EXPERIMENTS

    for name in PAGES:
        (ROOT / name).write_text(filled((ROOT / name).read_text(), EXPERIMENTS))
    (ROOT / "docs/keys.md").write_text(keys({"": Run, **SECTIONS}))
