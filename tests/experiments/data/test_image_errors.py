"""What is no plain uint8 image is refused in a sentence that says what to do; so is what is damaged, or means harm."""

import gzip
import zipfile

import numpy as np
import pytest
from PIL import Image

from experiments.data.images import open_images
from tests.helpers.pictures import (
    CLASSES,
    COLOUR,
    GREY,
    RNG,
    archive,
    batches,
    cifar,
    edm_files,
    encoded,
    encrypted,
    folder,
    idx,
    sixteen_bits,
)

WHOLE = encoded(COLOUR[0])
BAD_FILES = {  # what it is: (files of a folder, what the error says)
    "no images": ({"notes.txt": b"x"}, "no images .*'notes.txt'.*give the folder"),
    "nothing": ({}, "it holds nothing"),
    "another format": ({"a.png": WHOLE, "b.gif": b"x"}, "'b.gif' is of a format that is not read.*convert it to PNG"),
    "palette": ({"a.png": encoded(Image.new("P", (4, 5)))}, "'a.png' has a palette: save it as RGB"),
    "RGBA": ({"a.png": encoded(Image.new("RGBA", (4, 5)))}, "transparency: composite"),
    "a transparent colour": ({"a.png": encoded(COLOUR[0], transparency=(1, 2, 3))}, "transparency: composite"),
    "a transparent grey": ({"a.png": encoded(GREY[0], transparency=7)}, "transparency: composite"),
    "LA": ({"a.png": encoded(Image.new("LA", (4, 5)))}, "two channels.*composite"),
    "one bit": ({"a.png": encoded(Image.new("1", (4, 5)))}, "mode 1: save it as RGB or L of 8 bits"),
    "16 bits, grey": ({"a.png": encoded(Image.new("I;16", (4, 5)))}, "mode I;16.*8 bits"),
    "16 bits, RGB": ({"a.png": sixteen_bits()}, "mode RGB;16B.*8 bits"),
    "CMYK": ({"a.jpg": encoded(Image.new("CMYK", (4, 5)), "JPEG")}, "mode CMYK"),
    "animation": (
        {"a.png": encoded(Image.new("L", (4, 5)), save_all=True, append_images=[Image.new("L", (4, 5), 9)])},
        "2 frames",
    ),
    "misnamed": ({"a.png": encoded(COLOUR[0], "JPEG")}, "'a.png' holds JPEG: name it"),
    "truncated": ({"a.png": WHOLE, "b.png": WHOLE[:-30]}, "'b.png' is truncated or damaged"),
    "empty file": ({"a.png": b""}, "'a.png' is truncated or damaged"),
    "sizes": ({"a.png": WHOLE, "b/c.png": encoded(COLOUR[0][1:])}, "'a.png' is 5 x 4 x 3 and 'b/c.png' is 4 x 4 x 3"),
    "channels": ({"a.png": WHOLE, "b.png": encoded(GREY[0])}, "5 x 4 x 3 and 'b.png' is 5 x 4 x 1"),
    "bomb": ({"a.png": encoded(Image.new("L", (2**13, 2**12)))}, "8192 x 4096 pixels, at most 16,777,216"),
    "labels of some": (edm_files(COLOUR) | {"x.png": WHOLE}, "no label of 'x.png'"),
    "labels below 0": (edm_files(COLOUR, -CLASSES), "integer from 0 on"),
    "vectors for labels": (edm_files(COLOUR, np.full((12, 2), 0.5)), "one-hot"),
    "labels are no JSON": ({"a.png": WHOLE, "dataset.json": b"{"}, "dataset.json is truncated or damaged"),
    "labels are nested": ({"a.png": WHOLE, "dataset.json": b'{"labels":' + b"[" * 10**5}, "dataset.json is truncated"),
}


@pytest.mark.parametrize("place", ["folder", "zip"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_are_refused(case, place, tmp_path):
    files, says = BAD_FILES[case]
    (tmp_path / "set").mkdir()
    path = folder(tmp_path / "set", files) if place == "folder" else archive(tmp_path / "set.zip", files)
    with pytest.raises(ValueError, match=says) as caught:
        batches(open_images(path))
    assert str(path) in str(caught.value)


def test_zip_archives_that_mean_harm(tmp_path):
    path = archive(tmp_path / "set.zip", edm_files(COLOUR))
    content = path.read_bytes()
    for bad, says in [
        (content[: len(content) // 2], "truncated or damaged"),
        (encrypted(content), "is encrypted: pack the files without"),
        (content.replace(b"IDAT", b"IDAX"), "truncated or damaged"),
    ]:
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=says):
            batches(open_images(path))
    with pytest.raises(ValueError, match="no images.*'inner.zip'.*archives in it must be unpacked"):
        open_images(archive(path, {"inner.zip": content}))
    with pytest.raises(ValueError, match="packed by bzip2"):
        open_images(archive(path, edm_files(COLOUR), zipfile.ZIP_BZIP2))
    with pytest.raises(ValueError, match="has 67,108,865 bytes, an image has at most"):
        open_images(archive(path, {"a.png": bytes(2**26 + 1)}, zipfile.ZIP_DEFLATED))
    before = sorted(tmp_path.parent.rglob("*"))
    names = ("../../x.png", "/y.png", "z.png")
    found = open_images(archive(path, dict.fromkeys(names, WHOLE)))
    np.testing.assert_array_equal(batches(found), COLOUR[[0, 0, 0]])
    assert sorted(tmp_path.parent.rglob("*")) == before


BAD_ARRAYS = {  # what it is: (arrays of an .npz, what the error says)
    "floats": ({"images": COLOUR / 255}, "holds float64, images are uint8: convert.*to_uint8"),
    "16 bits": ({"images": COLOUR.astype(np.uint16)}, "holds uint16.*scale integers"),
    "channels first": ({"images": COLOUR.transpose(0, 3, 1, 2).copy()}, r"transpose \[n, C, H, W\]"),
    "two channels": ({"images": COLOUR[..., :2]}, "has 2 channels.*keep the grey"),
    "no channels": ({"images": COLOUR[..., 0]}, "add an axis"),
    "no images": ({"images": COLOUR[:0]}, "at least one image"),
    "statistics": ({"mu": np.zeros(3), "sigma": np.eye(3)}, "holds mu, sigma, and no images"),
    "objects": ({"images": np.array([{}])}, "array of objects"),
    "labels": ({"images": COLOUR, "labels": CLASSES[1:]}, "labels of .11,. int64 for 12 images"),
    "Fortran": ({"images": np.asfortranarray(COLOUR)}, "Fortran order: save np.ascontiguousarray"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_are_refused(case, tmp_path):
    arrays, says = BAD_ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=says):
        open_images(tmp_path / "a.npz")


def test_npz_that_lie(tmp_path):
    """A header that declares more than there is, a flipped bit, and a file cut off."""
    path = tmp_path / "a.npz"
    np.savez(path, images=COLOUR)
    content = path.read_bytes()
    for bad in (
        content.replace(b"(12, 5,", b"(99, 5,"),
        content[:-40],
        content.replace(COLOUR[9].tobytes(), bytes(60)),
    ):
        assert bad != content
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="copy it again"):
            batches(open_images(path))


def test_other_files_that_are_refused(tmp_path):
    images = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    bomb = gzip.compress(idx(GREY[..., 0]) + bytes(2**26))
    for name, content, says in [
        ("a.png", WHOLE, "is a single image: give the folder"),
        ("a.bin", bytes(100), "has 100 bytes, CIFAR's records have 3073 or 3074"),
        ("b.bin", cifar(images, np.array([3, 77]), 3073), "a label 77, CIFAR-10 has 10 classes"),
        ("labels", idx(CLASSES.astype(np.uint8)), r"shape .12,., images are \[n, H, W, C\]"),
        ("cut", idx(GREY[..., 0])[:-1], "is truncated"),
        ("cut.gz", gzip.compress(idx(GREY[..., 0]))[:-9], "truncated"),
        ("bomb.gz", bomb, "is too long: 261 bytes"),
        ("unknown", b"\x80\x04}", "begins with .*no images that can be read"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=says):
            open_images(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="there are no images .*missing: give a run"):
        open_images(tmp_path / "missing")
    np.savez(tmp_path / "b.npz", images=COLOUR)
    with pytest.raises(ValueError, match="holds 'b.npz' and 'a.png', and which are meant"):
        open_images(tmp_path)


def test_rows_that_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=COLOUR)
    images = open_images(tmp_path / "a.npz")
    assert images[np.arange(0)].shape == (0, 5, 4, 3)
    for rows in (np.array([-1]), np.array([12]), np.array([0.0]), 3):
        with pytest.raises(IndexError):
            images[rows]
