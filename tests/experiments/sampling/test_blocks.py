"""Blocks of samples: what is written is read again, what is damaged or foreign is set aside, sums are exact."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments.data import blocks, files
from experiments.data.blocks import Block, read_images
from experiments.sampling import Blocks, regroup
from experiments.sampling.store import KEPT
from experiments.support.errors import ConfigError
from solvers import npz

SHAPE, SETTINGS = (6, 5, 1), {"seed": 0, "nfe": 5, "grid": {"rho": 7.0, "times": (3, 1)}}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, *SHAPE), dtype=np.uint8)
FEATURES = RNG.normal(size=(200, 3)).astype(np.float32)
STORED = (*Block._fields, "settings", "keep", "checksum")
MIDDLE = "000008-000015.npz"


def make_block(start, stop, images=IMAGES):
    """Samples `start` to `stop` of `images`, which begin with sample 0 and repeat."""
    indices = np.arange(start, stop)
    images = images[indices % len(images)]
    features = FEATURES[indices % len(FEATURES)]
    return Block(indices, (indices % 10).astype(np.int32), images, features, np.array("abc"), blocks.sums_of(images))


def fill(workdir, keep="npz", edges=(0, 8, 16, 24), settings=SETTINGS):
    there = Blocks(workdir, settings, SHAPE, keep)
    for start, stop in zip(edges, edges[1:]):
        there.write(make_block(start, stop))
    return there


def assert_same(block, expected):
    for name, a, b in zip(Block._fields, block, expected):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert np.asarray(a).dtype == np.asarray(b).dtype, name


def content(folder):
    """{path: bytes} of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("keep", KEPT)
def test_round_trip(keep, tmp_path, capsys):
    edges = (0, 8, 120, 130)
    fill(tmp_path, keep, edges)
    before = content(tmp_path)
    there = Blocks(tmp_path, SETTINGS, SHAPE, keep)
    assert content(tmp_path) == before and not capsys.readouterr().out
    for block, (start, stop) in zip(there, zip(edges, edges[1:]), strict=True):
        shown = max(start, min(stop, 100)) if keep == "none" else stop  # SHOWN
        assert block.has_images() == (shown == stop)
        assert_same(block, make_block(start, stop)._replace(images=IMAGES[start:shown]))
    assert there.missing(140).tolist() == list(range(130, 140)) and not len(there.missing(20))


@pytest.mark.parametrize("shape", [(4, 3, 3), (2,), (3, 2)], ids=str)
def test_colours_and_data_that_are_no_images(shape, tmp_path):
    images = RNG.integers(0, 256, (8, *shape), dtype=np.uint8)
    images = images if len(shape) == 3 else images.astype(np.float32) / 7
    Blocks(tmp_path, SETTINGS, shape, "png" if len(shape) == 3 else "npz").write(make_block(0, 8, images))
    (block,) = Blocks(tmp_path, SETTINGS, shape)
    assert_same(block, make_block(0, 8, images))


@pytest.mark.parametrize("shape", [(2,), (4, 4, 2), (4, 4)], ids=str)
def test_impossible_forms_are_named(shape, tmp_path):
    with pytest.raises(ConfigError, match="keep=png is for images of 1 or 3 channels, samples are .* set it to npz"):
        Blocks(tmp_path, SETTINGS, shape, "png")
    with pytest.raises(ConfigError, match="sample.keep must be one of npz, png, none, got 'jpg'"):
        Blocks(tmp_path, SETTINGS, shape, "jpg")


@pytest.mark.parametrize("before, after", [("npz", "png"), ("png", "npz"), ("npz", "none"), ("png", "none")])
def test_another_form_needs_no_new_samples(before, after, tmp_path, capsys):
    edges = (0, 8, 150)
    fill(tmp_path, before, edges)
    for _ in range(2):  # the start that changes the form, and the next
        there = Blocks(tmp_path, SETTINGS, SHAPE, after)
        assert not len(there.missing(150)) and not capsys.readouterr().out
        for block, (start, stop) in zip(there, zip(edges, edges[1:]), strict=True):
            assert_same(block, make_block(start, stop))
    stored = npz.read(tmp_path / "samples" / "000008-000149.npz", STORED)
    form = before if after == "none" else after  # images that are there stay
    assert str(stored["keep"]) == form and len(stored["images"]) == (0 if form == "png" else 142)
    assert len(list(tmp_path.rglob("*.png"))) == (150 if "png" in (before, after) else 0)


@pytest.mark.parametrize("after", ["npz", "png"])
def test_images_that_were_not_kept_are_drawn_again(after, tmp_path, capsys):
    fill(tmp_path, "none", edges=(0, 8, 150, 160))  # those of the first 100 samples are kept in any case
    assert Blocks(tmp_path, SETTINGS, SHAPE, after).missing(170).tolist() == list(range(8, 170))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("without keeping its images (sample.keep=none): 000" in line for line in lines)
    assert {path.name for path in tmp_path.glob("set_aside/*")} == {"000008-000149.npz", "000150-000159.npz"}


def test_pictures_are_plain_png_files(tmp_path):
    fill(tmp_path, "png", edges=(0, 8, 1004))
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"000000", "001000"}
    for index in (0, 99, 999, 1003):
        with Image.open(tmp_path / "images" / f"{index // 1000:03d}000" / f"{index:06d}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), IMAGES[index % len(IMAGES), ..., 0])


def test_one_foreign_block_is_set_aside_with_the_difference(tmp_path, capsys):
    fill(tmp_path / "other", settings=SETTINGS | {"seed": 3, "nfe": 6})
    fill(tmp_path)
    path = tmp_path / "samples" / MIDDLE
    path.write_bytes((tmp_path / "other" / "samples" / MIDDLE).read_bytes())
    assert Blocks(tmp_path, SETTINGS, SHAPE).missing(24).tolist() == list(range(8, 16))
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{path} is of other settings (nfe 6 there, 5 here; seed 3 there, 0 here): {MIDDLE} is now" in line


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("keep", KEPT)
def test_the_folder_of_another_run_is_refused_and_left_as_it_is(keep, damaged, tmp_path, capsys):
    """Most of it foreign; one block would be of use, another is damaged: neither is touched."""
    fill(tmp_path)
    fill(tmp_path / "other", settings=SETTINGS | {"grid": {"rho": 9.0, "times": (3, 1)}}, edges=(8, 16, 24, 32))
    for path in (tmp_path / "other" / "samples").iterdir():
        path.rename(tmp_path / "samples" / path.name)
    if damaged:
        (tmp_path / "samples" / MIDDLE).write_bytes(b"PK")
    before = content(tmp_path)
    said = r"holds samples of other settings .*grid \{'rho': 9.0, .* there, \{'rho': 7.0, .* here\): give another"
    with pytest.raises(ConfigError, match=said):
        Blocks(tmp_path, SETTINGS, SHAPE, keep)
    assert content(tmp_path) == before and not capsys.readouterr().out


def test_the_folder_of_another_experiment_is_refused_and_left_as_it_is(tmp_path):
    """`benchmark` leaves samples/*.npz too."""
    fill(tmp_path)
    files.write_samples(tmp_path / "samples" / "reference.npz", IMAGES[:8], np.arange(8))
    before = content(tmp_path)
    with pytest.raises(ConfigError, match="samples/reference.npz is not of `sample`: give another --workdir"):
        Blocks(tmp_path, SETTINGS, SHAPE, "png")
    assert content(tmp_path) == before


def test_samples_that_are_there_twice_count_once(tmp_path, capsys):
    fill(tmp_path).write(make_block(20, 30))
    there = Blocks(tmp_path, SETTINGS, SHAPE)
    assert there.missing(30).tolist() == list(range(24, 30))
    assert (
        "000020-000029.npz holds sample 20, which another file has too: 000020-000029.npz is now"
        in capsys.readouterr().out
    )


def test_a_renamed_block_is_not_overwritten(tmp_path, capsys):
    """Where the name is a number, it is the one of samples that may come to be written there."""
    fill(tmp_path, edges=(0, 8))
    (tmp_path / "samples" / "000000-000007.npz").rename(tmp_path / "samples" / MIDDLE)
    there = Blocks(tmp_path, SETTINGS, SHAPE)
    assert len(there.missing(16)) == 16
    assert f"{MIDDLE} holds other samples than it is named after, 000000-000007" in capsys.readouterr().out


def test_another_shape_is_of_no_use(tmp_path, capsys):
    fill(tmp_path)
    assert len(Blocks(tmp_path, SETTINGS, (5, 5, 1)).missing(24)) == 24
    assert "has samples of (6, 5, 1), not (5, 5, 1)" in capsys.readouterr().out


def test_settings_of_any_plain_values_are_recognized(tmp_path):
    """As JSON has them: tuples are lists there, keys are in any order."""
    fill(tmp_path)
    turned = {"grid": {"times": [3, 1], "rho": 7}, "nfe": 5, "seed": 0}
    assert not len(Blocks(tmp_path, turned, SHAPE).missing(24))
    assert json.loads(str(npz.read(tmp_path / "samples" / MIDDLE, STORED)["settings"])) == turned


def test_blocks_come_in_the_order_of_indices(tmp_path):
    """Which is that of the names only below a million."""
    fill(tmp_path, edges=(999_990, 999_998, 1_000_006, 1_000_014)).write(make_block(0, 8))
    starts = [block.indices[0] for block in Blocks(tmp_path, SETTINGS, SHAPE)]
    assert starts == [0, 999_990, 999_998, 1_000_006]
    order = np.r_[0:8, 999_990:1_000_014] % len(IMAGES)
    np.testing.assert_array_equal(read_images(tmp_path), IMAGES[order])
    missing = np.r_[8:999_990, 1_000_014:1_000_020]
    np.testing.assert_array_equal(Blocks(tmp_path, SETTINGS, SHAPE).missing(1_000_020), missing)


@pytest.mark.parametrize("keep", ["npz", "png"])
def test_images_are_read_from_folders_and_files(keep, tmp_path):
    fill(tmp_path, keep)
    for path, part in (
        (tmp_path, slice(24)),
        (tmp_path / "samples", slice(24)),
        (tmp_path / "samples" / MIDDLE, slice(8, 16)),
    ):
        np.testing.assert_array_equal(read_images(path), IMAGES[part])
    npz.write(tmp_path / "statistics.npz", {"count": np.int64(24)})  # beside samples/, as `sample` leaves it
    np.testing.assert_array_equal(read_images(tmp_path), IMAGES[:24])


def test_images_that_are_not_there_are_named(tmp_path):
    fill(tmp_path, "none", edges=(0, 8, 101))
    np.testing.assert_array_equal(read_images(tmp_path / "samples" / "000000-000007.npz"), IMAGES[:8])
    with pytest.raises(ValueError, match="000008-000100.npz was drawn without .* sample again with sample.keep=npz"):
        read_images(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_images(tmp_path / "samples" / "000101-000102.npz")


def test_sums_are_exact():
    """Against Python's integers; white images would overflow 16 bits with the second, 32 bits with the 66052nd."""
    for images in (IMAGES, np.full((70_000, 1, 1, 1), 255, np.uint8)):
        whole = images.astype(object)
        total, squares = blocks.sums_of(images)
        assert (total == whole.sum(axis=0)).all() and (squares == (whole * whole).sum(axis=0)).all()
    points = RNG.normal(size=(500, 2)).astype(np.float32) + 3
    total, squares = blocks.sums_of(points)
    for axis, column in enumerate(points.astype(float).T):  # exact but for the order: 500 roundings of 2^-53 each
        for got, terms in ((total[axis], column), (squares[axis], column**2)):
            assert abs(got - math.fsum(terms)) <= 500 * 2**-53 * math.fsum(abs(terms))


@pytest.mark.parametrize("count", [1, 7, 8])
def test_the_first_of_a_block(count):
    block = make_block(96, 104)
    assert_same(block.first(count), make_block(96, 96 + count))
    cut = block._replace(images=block.images[:4]).first(count)
    np.testing.assert_array_equal(cut.images, block.images[: min(count, 4)])
    assert cut.indices.tolist() == list(range(96, 96 + count)) and (cut.sums is None) == (count < 8)


@given(st.lists(st.integers(1, 9), min_size=1), st.lists(st.integers(1, 9), min_size=1))
def test_regroup_keeps_rows_and_order(batches, sizes):
    """Rows of two arrays, in batches of any sizes, come in blocks of any sizes, of which they have enough."""
    rows = np.arange(sum(batches))
    while sum(sizes) > len(rows):
        sizes = sizes[:-1]
    parts = np.split(rows, np.cumsum(batches)[:-1])
    got = list(regroup(((part, part[:, None] * [1, -1]) for part in parts), sizes))
    assert [len(a) for a, _ in got] == sizes and all(len(a) == len(b) for a, b in got)
    flat = np.concatenate([rows[:0], *(a for a, _ in got)])
    assert flat.tolist() == list(range(sum(sizes)))
    assert all((b == a[:, None] * [1, -1]).all() for a, b in got)
