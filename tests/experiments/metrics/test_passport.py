"""Numbers of different passports are never in one column, and the table says why."""

import csv

import numpy as np
import pytest

from experiments.metrics.passport import MEASURE, apart, describe, name, passport, span
from experiments.support import scores as report

ABOUT = {"features": "classifier 0123", "input": "no resize"}


def of(images=512, **changes):
    made = passport(ABOUT, "abcd", np.arange(images), seed=0, labels="all", uint8="rounded", table="t1", ems=None)
    return made | changes


def row(solver, value, its, nfe=5):
    return {"solver": solver, "nfe": nfe, "frechet": value, "frechet_se": 0.5, "images": its["images"], "passport": its}


def test_a_passport_says_all_that_makes_a_number_what_it_is():
    found = of()
    assert set(found) == {*MEASURE, "table", "ems"}
    assert found["indices"] == "0 to 511 of seed 0" and found["images"] == 512 and found["ems"] == "none"
    assert all(str(found[key]) in describe(found) for key in MEASURE)


@pytest.mark.parametrize("key", MEASURE)
def test_each_part_of_the_measure_makes_another_column(key):
    rows = [row("a", 3.0, of()), row("b", 2.0, of() | {key: "other"})]
    moved, columns, why = apart(rows, ("frechet", "fid"))
    assert columns == {"frechet": ["frechet", "frechet [2]"], "fid": ["fid"]}
    assert moved[0]["frechet"] == 3.0 and "frechet" not in moved[1] and moved[1]["frechet [2]"] == 2.0
    assert moved[1]["frechet [2]_se"] == 0.5 and rows[1]["frechet"] == 2.0, "rows themselves stay as they are"
    assert why[0] == f"passport {name(of())}: {describe(of())}"
    assert f"[2] does not compare: passport {name(rows[1]['passport'])}: {key} other, not {of()[key]}" == why[1]


@pytest.mark.parametrize("key", ["table", "ems"])
def test_solvers_are_what_a_column_compares(key):
    rows = [row("a", 3.0, of()), row("b", 2.0, of() | {key: "other"})]
    assert apart(rows, ("frechet",))[0] == rows and apart(rows, ("frechet",))[1] == {"frechet": ["frechet"]}
    assert name(of()) == name(of() | {key: "other"})


def test_tables_and_files_keep_them_apart(tmp_path):
    rows = [row("a", 3.0, of()), row("b", 2.0, of()), row("c", 1.0, of(images=100))]
    lines = report.format_table(rows).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")] == ["solver", "nfe", "frechet", "frechet [2]", "images"]
    cells = {line.split("|")[0].strip(): [cell.strip() for cell in line.split("|")[2:4]] for line in lines[2:]}
    assert cells == {"a": ["3 ± 0.5", "-"], "b": ["2 ± 0.5*", "-"], "c": ["-", "1 ± 0.5"]}, (
        "the best of those that compare"
    )
    assert any("images 100, not 512; indices 0 to 99 of seed 0, not 0 to 511" in line for line in report.notes(rows))
    report.write_csv(tmp_path / "results.csv", rows)
    found = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [one["frechet"] for one in found] == ["3.0", "2.0", ""] and found[2]["frechet [2]"] == "1.0"
    assert [one["passport"] for one in found] == [name(of()), name(of()), name(of(images=100))]
    assert found[0]["table"] == "t1" and found[0]["ems"] == "none"


def test_rows_without_passports_are_as_they_were():
    rows = [{"solver": "a", "nfe": 5, "rmse": 1.0}]
    assert apart(rows, ("frechet",)) == (rows, {"frechet": ["frechet"]}, [])


def test_indices_that_do_not_follow_each_other_have_a_hash():
    assert span(np.arange(5)) == "0 to 4" and span(np.arange(7, 9)) == "7 to 8" and span([]) == "none"
    scattered = span([0, 2, 5])
    assert scattered.startswith("3 between 0 and 5, hash ") and scattered != span([0, 3, 5])


@pytest.mark.parametrize("images, warned", [(9_999, True), (10_000, False)])
def test_the_bias_of_few_images_is_noted(images, warned):
    (meaning, *more), _ = report.notes([row("a", 3.0, of(images=images))])[:-1], None
    assert f"{images} images" in meaning and "NOT the Inception FID" in meaning
    assert bool(more) == warned and all("biased upwards" in line for line in more)
