"""Files of a run: complete or absent, legible, and readable again."""

import csv
import json

import numpy as np
import pytest
from matplotlib import image

from experiments.compare import figures
from experiments.data import files
from experiments.data.blocks import read_images
from experiments.ems.plots import plot_ems
from experiments.support import plots
from experiments.support import scores as report
from solvers.ems import EMS

ROWS = [
    {
        "solver": "DDIM",
        "nfe": 10,
        "rmse": 0.2,
        "rmse_median": 0.1,
        "rmse_median_se": 0.01,
        "frechet": 9.0,
        "images": 8,
        "seconds": 1.0,
    },
    {
        "solver": "UniPC",
        "nfe": 10,
        "rmse": 0.3,
        "rmse_median": 0.05,
        "rmse_median_se": 0.01,
        "frechet": 8.0,
        "images": 8,
        "seconds": 1.0,
    },
    {
        "solver": "DDIM",
        "nfe": 5,
        "rmse": 0.4,
        "rmse_median": 0.3,
        "rmse_median_se": 0.01,
        "frechet": 12.0,
        "images": 8,
        "seconds": 0.5,
    },
    {"solver": "reference", "nfe": 60, "frechet": 2.0, "images": 8, "seconds": 5.0},
]


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 1), dtype=np.uint8)


def test_a_failed_write_leaves_nothing_and_spares_the_old_file(tmp_path):
    files.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}


def test_table_is_sorted_and_marks_the_best_of_each_nfe():
    lines = report.format_table(ROWS).splitlines()
    body = [line for line in lines[1:] if "-+-" not in line]
    assert [line.split("|")[1].strip() for line in body] == ["5", "10", "10", "60"]
    assert "*" not in body[0], "one solver alone is not marked"
    assert "0.2*" in body[1] and "0.05 ± 0.01*" in body[2] and "8*" in body[2]
    assert "*" not in body[3]
    assert len({len(line) for line in lines}) == 1


def test_columns_without_values_are_left_out():
    text = report.format_table([{**row, "frechet": None} for row in ROWS])
    assert "frechet" not in text
    assert "NOT the Inception FID" in report.legend(ROWS) and "8 images" in report.legend(ROWS)


def test_csv_has_all_columns_and_empty_cells(tmp_path):
    report.write_csv(tmp_path / "results.csv", ROWS)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    columns = ["solver", "nfe", "teleport", "rmse", "rmse_median", "rmse_median_se", "frechet", "frechet_se"]
    assert list(rows[0]) == [*columns, "images", "seconds"]
    assert rows[3]["rmse"] == "" and float(rows[0]["rmse"]) == 0.2


def test_samples_round_trip(tmp_path):
    images = pictures(5)
    files.write_samples(tmp_path / "samples" / "b.npz", images[:3], [0, 1, 2])
    files.write_samples(tmp_path / "samples" / "a.npz", images[3:], [3, 4])
    for path in (tmp_path, tmp_path / "samples"):
        np.testing.assert_array_equal(read_images(path), images)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="give a folder"):
        read_images(tmp_path / "empty")


def test_tile_keeps_every_pixel():
    images = pictures(5)
    picture = plots.tile(images, 3)
    assert picture.shape == (14, 21, 3)
    np.testing.assert_array_equal(picture[7:13, 7:13, 0], images[4, ..., 0])
    assert (picture[7:, 14:] == 255).all(), "a missing image is white"


def test_pictures_are_written_whole(tmp_path):
    panel = [("reference", pictures(4)), ("DDIM", pictures(4, 1))]
    plots.plot_grid(tmp_path / "grid.png", {"5 evaluations": panel, "6 evaluations": panel, "8 evaluations": panel})
    plots.plot_samples(tmp_path / "samples.png", pictures(10))
    figures.plot_errors(tmp_path / "error.png", ROWS)
    points = np.random.default_rng(0).normal(size=(20, 2))
    plots.plot_scatter(tmp_path / "scatter.png", {"5 evaluations": [("reference", points), ("DDIM", points)]})
    curves = np.random.default_rng(0).normal(size=(3, 4, 2, 2, 1))
    errors = {name: [0.1, 0.2, 0.1, 0.3] for name in "lsb"}
    plot_ems(tmp_path / "ems.png", EMS(np.arange(4), *curves, {"standard_error": errors}))
    plot_ems(tmp_path / "published.png", EMS(np.arange(4), *curves, {}))
    figures.plot_ratios(tmp_path / "ratios.png", [r for r in ROWS if r.get("rmse")], {"rmse": "RMSE"})
    names = {"grid.png", "samples.png", "error.png", "scatter.png", "ems.png", "published.png", "ratios.png"}
    assert {p.name for p in tmp_path.iterdir()} == names
    for name in names:
        assert np.ptp(image.imread(tmp_path / name)[..., :3]) > 0.5
    assert image.imread(tmp_path / "samples.png").shape[0] % 7 == 0, "nearest neighbour: whole pixels"


def test_slugs_are_file_names():
    assert files.slug("DPM-Solver++(2M)") == "dpm-solverpp-2m"
