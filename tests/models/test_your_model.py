"""The blocks of docs/your_model.md run as they stand, one after the other, and say what the page says."""

import re

import numpy as np
import pytest

from tests.helpers.places import ROOT

PAGE = (ROOT / "docs" / "your_model.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHAPES = {"Flax": (16, 8, 8, 3), "Equinox": (16, 3, 8, 8), "init and apply": (16, 2)}


@pytest.fixture(scope="module")
def states():
    """The names that are defined after each block."""
    names, found = {}, []
    for block in BLOCKS:
        exec(compile(block, "your_model.md", "exec"), names)
        found.append(dict(names))
    return found


def test_each_wrapping_is_at_most_ten_lines_sound_and_samples(states):
    wrappings = [n for n, block in enumerate(BLOCKS) if "sample(" in block]
    assert len(wrappings) == len(SHAPES)
    for n, (section, shape) in zip(wrappings, SHAPES.items()):
        before = PAGE[: PAGE.index(BLOCKS[n])]
        assert before.rpartition("\n## ")[2].startswith(section)
        assert before.rpartition("\n\n")[0].rpartition("\n\n")[2].startswith("The wrapping: ")
        assert len(BLOCKS[n].splitlines()) <= 10 and "check_model(" in BLOCKS[n]
        assert states[n]["found"] == [], section
        x0 = np.asarray(states[n]["x0"])
        assert x0.shape == shape and np.all(np.isfinite(x0))
        # deviations of the data by half of the entries; 0.3 is for 16 samples, 8 evaluations and the random layers
        halves = np.array_split(x0.reshape(16, -1), 2, axis=1)
        expected = np.array_split(np.geomspace(0.05, 1, halves[0].shape[1] * 2), 2)
        for half, deviations in zip(halves, expected):
            assert half.std() == pytest.approx(np.sqrt(np.mean(deviations**2)), rel=0.3), section


def test_mistakes_are_answered_as_the_page_says(states):
    table = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.partition("\n|---|---|\n")[2], re.MULTILINE))
    says = states[-1]["says"]
    assert table.keys() == says.keys() and len(says) == 7
    for mistake, sentences in says.items():
        assert [re.sub(r"\(square error[^)]*\)|\(TypeError.*\)$", "(…)", text) for text in sentences] == [
            table[mistake]
        ]
