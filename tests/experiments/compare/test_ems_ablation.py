"""The ablation: every row from the same noise, statistics of its own, spreads over seeds."""

import csv

import numpy as np
import pytest

from configs import ems_ablation as configs
from configs import toy_gmm
from experiments import build
from experiments.compare import ablation
from experiments.support.errors import ConfigError
from solvers.ems import EMS


def small():
    config = toy_gmm.get_config("smoke")
    config.nfe, config.sample.count, config.ablation.seeds = (5, 8), 8, (0, 1)
    config.ems.nodes, config.ems.points, config.ems.batch = 20, 32, 32
    config.benchmark.reference_nfe = 40
    v3 = {"name": "dpm_v3", "grid": {"name": "karras"}}
    config.ablation.rows = (
        ("fine", {}, {"name": "unipc"}),
        ("v3", {}, v3),
        ("v3 again", {"seed": 1}, v3),
        ("v3, cosines", {"basis": "dct"}, v3),
        ("v3, few points", {"points": 16}, v3),
    )
    return config


def test_rows(tmp_path, capsys):
    rows = ablation.run(small(), tmp_path)
    found = {(row["solver"], row["nfe"]): row for row in rows}
    assert len(found) == 10
    assert found["v3", 5] == found["v3 again", 5] | {"solver": "v3"}  # the same statistics, the same noise
    for other in ("v3, cosines", "v3, few points"):
        assert found["v3", 8]["rmse"] != found[other, 8]["rmse"]
    assert all(row["rmse"] > 0 and row["rmse_spread"] >= 0 for row in rows)
    printed = capsys.readouterr().out
    assert "median RMSE, ± half the range over 2 seeds" in printed and "Fréchet" not in printed
    written = list(csv.DictReader(open(tmp_path / "results.csv")))
    assert [float(row["rmse"]) for row in written] == [row["rmse"] for row in rows]
    files = {"results.csv", "results.json", "ratios.png", "measured.json"}
    assert {p.name for p in tmp_path.iterdir()} == files | {"ems", "measured"}


def test_configs_build():
    """Every row of every variant has tables, v3 with statistics that stand in for those of its points."""
    for variant in ("", "settings", "guided", "smoke"):
        config = configs.get_config(variant)
        problem = build.problem(config)
        lam = np.linspace(-4.5, 6.3, 3)
        ems = EMS(lam, *np.zeros((3, 3, *problem.network.shape)) + np.array([1, 0, 0]).reshape(3, 1, 1, 1, 1), {})
        for label, changes, options in config.ablation.rows:
            assert set(changes) <= set(config.ems), label
            for nfe in config.nfe:
                assert problem.tables.build(options, nfe, ems).nfe == nfe, label


@pytest.mark.parametrize(
    "rows, expected",
    [
        ((), "must be one or more"),
        ((1,), "must be (label, {keys of ems}, {options}), got 1"),
        ((("a", {}, {"order": 2}),), "unknown solver of 'a' None"),
        ((("a", {}, {"name": "dpmpp", "order": "2"}),), "ablation.rows, 'a': solver.order must be an integer"),
        ((("a", 3, {"name": "ddim"}),), "ablation.rows, 'a': 3 must be keys and values"),
        ((("a", {}, {"name": "ddim"}), ("a", {}, {"name": "unipc"})), "each with a label of its own, got 'a, a'"),
    ],
)
def test_rows_of_another_form_are_refused(rows, expected, tmp_path):
    config = small()
    config.ablation.rows = rows
    with pytest.raises(ConfigError) as error:
        ablation.run(config, tmp_path)
    assert expected in str(error.value)
