"""What a stopped run goes on from: read again as it was written, or not at all."""

import numpy as np
import pytest

from experiments.support.kept import Kept
from solvers import npz
from tests.helpers.damages import cut, empty, flip

SETTINGS = {"seed": 0, "solver": {"name": "unipc", "order": 3}, "sigmas": (0.5, 1.0)}
ROWS = [{"rmse": 0.1, "name": "a", "nothing": None}, {"rmse": float("inf")}]


def test_arrays_and_rows_come_back(tmp_path):
    kept, x = Kept(tmp_path, SETTINGS), np.arange(6.0).reshape(2, 3)
    assert kept.read("one") is None
    kept.write("one", {"x": x, "name": "text"}, ROWS)
    arrays, rows = kept.read("one")
    assert rows == ROWS and arrays.keys() == {"x", "name"} and str(arrays["name"]) == "text"
    np.testing.assert_array_equal(arrays["x"], x)
    kept.write("one")
    assert kept.read("one") == ({}, [])


def test_the_order_of_settings_does_not_count_and_a_value_does(tmp_path):
    Kept(tmp_path, SETTINGS).write("one", rows=ROWS)
    assert Kept(tmp_path, dict(reversed(SETTINGS.items()))).read("one")[1] == ROWS
    assert Kept(tmp_path, SETTINGS | {"seed": 1}).read("one") is None


@pytest.mark.parametrize("name", ["Gaussian, rank 8", "k-means 10", "../outside", "UniPC_5"])
def test_any_name_is_a_file_of_the_folder(tmp_path, name):
    kept = Kept(tmp_path / "kept", SETTINGS)
    kept.write(name, rows=ROWS)
    assert kept.read(name)[1] == ROWS and [path.parent.name for path in tmp_path.rglob("*.npz")] == ["kept"]


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_file_is_said_and_not_read(tmp_path, damage, capsys):
    kept = Kept(tmp_path, SETTINGS)
    kept.write("one", {"x": np.arange(1000)}, ROWS)
    damage(kept.path("one"))
    assert kept.read("one") is None
    assert "one.npz is not a whole .npz file" in capsys.readouterr().out


def test_what_was_changed_since_is_not_read(tmp_path, capsys):
    kept = Kept(tmp_path, SETTINGS)
    kept.write("one", {"x": np.arange(3)}, ROWS)
    npz.write(kept.path("one"), npz.read(kept.path("one")) | {"x": np.arange(3) + 1})
    assert kept.read("one") is None and "has another checksum" in capsys.readouterr().out
    npz.write(kept.path("one"), {"points": np.zeros(3), "made": "by an earlier version"})
    assert kept.read("one") is None and "it is of another version" in capsys.readouterr().out
