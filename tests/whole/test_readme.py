"""The README's examples run as they stand, one after the other."""

import re

import jax
import numpy as np

from tests.helpers.places import ROOT

README = (ROOT / "README.md").read_text()


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 5
    names = {"data": 0.5 * np.asarray(jax.random.normal(jax.random.key(1), (16, 32, 32, 3)))}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["x0"].shape == (64, 32, 32, 3)
    # v3 with the statistics of a Gaussian is exact up to the grid of the EMS: the deviation of the data
    x0 = names["run"](names["table"].astype(np.float32), jax.random.normal(jax.random.key(0), (64, 32, 32, 3)))
    assert abs(float(x0.std()) - 0.5) < 0.005
    # the example of a new solver is a published one
    schedule, grid = names["schedule"], names["grid"]
    mine = names["two_step"](schedule, grid)
    theirs = names["SOLVERS"]["dpmpp"](schedule, grid, order=2, variant="taylor", lower_order_final=False)
    np.testing.assert_allclose(mine.b, theirs.b, rtol=1e-12)
