"""Damaged and hostile files: each damage is found, said, set aside and drawn again; nothing in a file is executed."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from experiments.data import blocks, files
from experiments.data.blocks import Block, read_images
from experiments.sampling.store import Blocks
from solvers import npz
from tests.experiments.sampling.test_blocks import (
    IMAGES,
    MIDDLE,
    SETTINGS,
    SHAPE,
    assert_same,
    content,
    fill,
    make_block,
)
from tests.helpers.damages import cut, empty, flip

STORED = (*Block._fields, "settings", "keep", "checksum")


def changed(name, change):
    """Damage that the checksums of the zip archive do not see: one array is changed, and all written anew."""

    def damage(path):
        arrays = npz.read(path, STORED)
        npz.write(path, arrays | {name: change(arrays[name].copy())})

    damage.__name__ = f"another-{name}"
    return damage


def one_more(array):
    array.flat[len(array) // 2] += 1
    return array


def folder(path):
    path.unlink()
    path.mkdir()


class Trap:
    """Unpickled, it ends the tests."""

    def __reduce__(self):
        return pytest.exit, ("a pickle was executed",)


def trap(path):
    arrays = npz.read(path, STORED)
    npz.write(path, arrays | {"labels": np.array([Trap() for _ in range(8)], object)})
    assert b"a pickle was executed" in zipfile.ZipFile(path).read("labels.npy")


def bare_trap(path):
    path.write_bytes(pickle.dumps(Trap()))


def huge(path):
    """An array that says it has 2^60 bytes."""
    arrays = npz.read(path, STORED)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 60,)})
    npz.write(path, {name: array for name, array in arrays.items() if name != "images"})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("images.npy", header.getvalue())


DAMAGES = [cut, flip, empty, folder, trap, bare_trap, huge]
DAMAGES += [changed(name, one_more) for name in ("images", "labels", "indices", "features", "sums")]
DAMAGES += [changed("network", lambda a: np.array("abd")), changed("keep", lambda a: np.array("png"))]
DAMAGES += [changed("settings", lambda a: np.array(str(a).replace("7.0", "8.0")))]
DAMAGES += [changed("images", lambda a: a[:7]), changed("indices", lambda a: a[::-1])]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_block_is_set_aside_and_drawn_again(damage, tmp_path, capsys):
    """Twice, into different places: nothing is ever deleted."""
    path = tmp_path / "samples" / MIDDLE
    fill(tmp_path)
    for place in (tmp_path / "set_aside" / MIDDLE, tmp_path / "set_aside" / f"again-{MIDDLE}"):
        damage(path)
        damaged, before = path.is_file() and path.read_bytes(), content(tmp_path)
        there = Blocks(tmp_path, SETTINGS, SHAPE)
        assert there.missing(24).tolist() == list(range(8, 16))
        (line,) = capsys.readouterr().out.splitlines()
        assert line.endswith(f"{MIDDLE} is now {place}, and its samples are drawn again")
        assert damaged is False and place.is_dir() or place.read_bytes() == damaged
        before.pop(f"samples/{MIDDLE}", None)
        assert before.items() <= content(tmp_path).items()
        there.write(make_block(8, 16))
        for block, start in zip(Blocks(tmp_path, SETTINGS, SHAPE), (0, 8, 16), strict=True):
            assert_same(block, make_block(start, start + 8))
    assert {path.name for path in tmp_path.glob("set_aside/*")} == {MIDDLE, f"again-{MIDDLE}"}


@pytest.mark.parametrize("keep", ["npz", "png"])
def test_no_single_damage_is_overlooked(keep, tmp_path):
    """A bit of a byte flipped, bytes cut off, wherever: an error, or, in bytes that say nothing, the same block."""
    fill(tmp_path, keep, edges=(0, 2))
    path = tmp_path / "samples" / "000000-000001.npz"
    victim = path if keep == "npz" else blocks.png_path(tmp_path, 1)
    whole, found = victim.read_bytes(), []
    places = range(0, len(whole), 3 if keep == "npz" else 1)
    for place in places:
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]):
            victim.write_bytes(damaged)
            try:
                block = blocks.read_block(path)[0]
            except ValueError as error:
                found.append(str(victim) in str(error) or str(path) in str(error))
            else:
                assert_same(block, make_block(0, 2))
    assert all(found) and len(found) > 1.5 * len(places)


def png_file(width, height, rows=b""):
    """A PNG file of grey bytes that says it has this size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def saved(mode):
    def damage(path):
        Image.open(path).convert(mode).save(path, "png")

    damage.__name__ = mode
    return damage


def another_pixel(path):
    blocks.write_png(path, blocks.read_png(path) ^ np.eye(6, 5, dtype=np.uint8)[..., None])


def bomb(path):
    path.write_bytes(png_file(50_000, 50_000))


def fat(path):
    path.write_bytes(png_file(10_000, 10_000, b"\0" * 10_000))


def larger(path):
    path.write_bytes(png_file(6, 6, b"\0" * 42))


def jpeg(path):
    Image.open(path).save(path, "jpeg")


def unlink(path):
    path.unlink()


PNG_DAMAGES = [unlink, cut, flip, empty, folder, another_pixel, bomb, fat, larger, jpeg]
PNG_DAMAGES += [saved(mode) for mode in ("RGB", "LA", "1")]


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("damage", PNG_DAMAGES, ids=lambda damage: damage.__name__)
def test_a_png_that_is_missing_or_damaged_is_drawn_again(damage, tmp_path, capsys):
    fill(tmp_path, "png")
    damage(blocks.png_path(tmp_path, 11))
    there = Blocks(tmp_path, SETTINGS, SHAPE, "png")
    (line,) = capsys.readouterr().out.splitlines()
    assert "000011.png is missing or damaged" in line or f"{MIDDLE} has" in line, line
    assert there.missing(24).tolist() == list(range(8, 16)) and (tmp_path / "set_aside" / MIDDLE).exists()
    if damage is not folder:
        there.write(make_block(8, 16))
        np.testing.assert_array_equal(read_images(tmp_path), IMAGES[:24])


@pytest.mark.parametrize("damage", [cut, flip, empty, trap, bare_trap, huge, changed("images", one_more)])
def test_damaged_images_are_not_read(damage, tmp_path):
    fill(tmp_path)
    damage(tmp_path / "samples" / MIDDLE)
    with pytest.raises(ValueError, match=MIDDLE):
        read_images(tmp_path)
    files.write_samples(tmp_path / "b" / "reference.npz", IMAGES[:8], np.arange(8))
    cut(tmp_path / "b" / "reference.npz")
    with pytest.raises(ValueError, match="reference.npz is not a whole .npz"):
        read_images(tmp_path / "b")
