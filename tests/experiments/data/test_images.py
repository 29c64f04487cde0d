"""Images from anywhere: each source gives the pixels that went into it, in its order, in bounded memory."""

import gzip
import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from experiments.data import files
from experiments.data.images import open_images
from tests.experiments.sampling.test_blocks import IMAGES, fill
from tests.helpers.pictures import CLASSES, COLOUR, GREY, RNG, archive, batches, cifar, edm_files, encoded, folder, idx


def assert_is(found, pixels, labels=None, rule=None):
    assert found.shape == pixels.shape[1:] and len(found) == len(pixels)
    np.testing.assert_array_equal(batches(found), pixels)
    np.testing.assert_array_equal(found[np.array([3, 3, 7])], pixels[[3, 3, 7]])
    np.testing.assert_array_equal(found[np.array([2, 0])], pixels[[2, 0]])  # back, at the cost of a new pass
    assert found.labels is None if labels is None else np.array_equal(found.labels, labels)
    assert rule is None or found.rule == rule


@pytest.mark.parametrize("keep", ["npz", "png"])
def test_a_run_of_sample_in_the_order_of_indices(keep, tmp_path):
    fill(tmp_path, keep, (8, 16, 24))
    fill(tmp_path, keep, (0, 8))
    found = open_images(tmp_path)
    assert_is(found, IMAGES[:24], np.arange(24) % 10)
    np.testing.assert_array_equal(found.indices, np.arange(24))
    assert "127.5 x + 128" in found.rule
    assert_is(open_images(tmp_path / "samples"), IMAGES[:24], np.arange(24) % 10)
    one = open_images(tmp_path / "samples/000008-000015.npz")
    assert_is(one, IMAGES[8:16], np.arange(8, 16) % 10)
    np.testing.assert_array_equal(one.indices, np.arange(8, 16))


def test_a_run_without_images_or_with_damage(tmp_path):
    fill(tmp_path, "none", (0, 8, 120))
    assert_is(open_images(tmp_path / "samples/000000-000007.npz"), IMAGES[:8], np.arange(8))
    with pytest.raises(ValueError, match="000008-000119.npz was drawn without keeping.*sample.keep=npz"):
        open_images(tmp_path)
    fill(tmp_path / "png", "png", (0, 8))
    found = open_images(tmp_path / "png")
    (tmp_path / "png/images/000000/000005.png").write_bytes(encoded(IMAGES[0]))
    with pytest.raises(ValueError, match="another checksum"):
        batches(found)


def test_plain_files_of_this_project(tmp_path):
    files.write_samples(tmp_path / "samples/a.npz", COLOUR[6:], np.arange(6, 12))
    files.write_samples(tmp_path / "samples/b.npz", COLOUR[[2, 0, 1, 3, 5, 4]], [2, 0, 1, 3, 5, 4])
    assert_is(open_images(tmp_path), COLOUR)
    files.write_samples(tmp_path / "samples/c.npz", COLOUR[:3], np.arange(3))
    with pytest.raises(ValueError, match="sample 0 more than once"):
        open_images(tmp_path)


@pytest.mark.parametrize("images", [COLOUR, GREY])
@pytest.mark.parametrize("labels, kept", [(CLASSES, CLASSES), (np.eye(10)[CLASSES], CLASSES), (None, None)])
def test_edm_data_sets(images, labels, kept, tmp_path):
    files = edm_files(images, labels)
    assert_is(open_images(folder(tmp_path / "set", files)), images, kept, "uint8 as stored (PNG)")
    shuffled = dict(sorted(files.items(), reverse=True))  # sorted by name, not as they lie in the archive
    assert_is(open_images(archive(tmp_path / "set.zip", shuffled)), images, kept, "uint8 as stored (PNG)")
    packed = archive(tmp_path / "without_suffix", shuffled, zipfile.ZIP_DEFLATED)
    assert_is(open_images(packed), images, kept)


def test_formats_and_their_rules(tmp_path):
    bmp = {f"{i:02}.bmp": encoded(image, "BMP") for i, image in enumerate(COLOUR)}
    png = {"99.png": encoded(COLOUR[0]), ".hidden.png": b"", "__MACOSX/x.png": b"", "notes.txt": b"x"}
    pixels = np.concatenate([COLOUR, COLOUR[:1]])
    assert_is(open_images(folder(tmp_path / "exact", bmp | png)), pixels, rule="uint8 as stored (BMP, PNG)")
    jpeg = {"1.jpg": encoded(COLOUR[1], "JPEG"), "2.webp": encoded(COLOUR[2], "WEBP")}
    found = open_images(folder(tmp_path / "lossy", jpeg | png))
    assert found.rule == "uint8 as stored (PNG) and decoded from JPEG, WebP"
    decoded = [np.asarray(Image.open(io.BytesIO(content))) for content in jpeg.values()]
    np.testing.assert_array_equal(batches(found), np.stack([*decoded, COLOUR[0]]))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_other_codes(save, tmp_path):
    save(tmp_path / "guided.npz", COLOUR, CLASSES)  # arr_0, arr_1
    assert_is(open_images(tmp_path / "guided.npz"), COLOUR, CLASSES, "uint8 as stored (npz)")
    (tmp_path / "score_sde").mkdir()
    for number in range(3):
        save(tmp_path / f"score_sde/samples_{number}.npz", samples=COLOUR[4 * number : 4 * number + 4])
        save(tmp_path / f"score_sde/statistics_{number}.npz", pool_3=np.zeros((4, 8)), logits=np.zeros((4, 8)))
    assert_is(open_images(tmp_path / "score_sde"), COLOUR, None, "uint8 as stored (npz)")
    save(tmp_path / "ours.npz", images=GREY, labels=CLASSES)
    assert_is(open_images(tmp_path / "ours.npz"), GREY, CLASSES)


def test_idx(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GREY[..., 0])))
    assert_is(open_images(tmp_path / "train-images-idx3-ubyte.gz"), GREY, None, "uint8 as stored (idx)")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(CLASSES.astype(np.uint8)))
    assert_is(open_images(tmp_path / "train-images-idx3-ubyte.gz"), GREY, CLASSES)
    (tmp_path / "colour").write_bytes(idx(COLOUR))
    assert_is(open_images(tmp_path / "colour"), COLOUR)


@pytest.mark.parametrize("length, first, second", [(3073, "data_batch_1", "data_batch_2"), (3074, "train", None)])
def test_cifar(length, first, second, tmp_path):
    images = RNG.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    for name, part in [(first, slice(0, 12 if second is None else 8)), (second, slice(8, 12))]:
        if name:
            (tmp_path / f"{name}.bin").write_bytes(cifar(images[part], CLASSES[part], length))
    (tmp_path / "test_batch.bin").write_bytes(cifar(images[:2], CLASSES[:2], length))
    assert_is(open_images(tmp_path), images, CLASSES, "uint8 as stored (CIFAR's binary version)")
    assert len(open_images(tmp_path / "test_batch.bin")) == 2


def test_memory_is_bounded_by_batches(tmp_path):
    """An array of 197 MB, in batches of 2 MB."""
    zeros = np.broadcast_to(np.uint8(0), (1000, 256, 256, 3))
    np.savez_compressed(tmp_path / "large.npz", arr_0=zeros)
    batch = 10 * zeros[0].size
    tracemalloc.start()
    try:
        images = open_images(tmp_path / "large.npz")
        for start in range(0, 1000, 10):
            assert not images[np.arange(start, start + 10)].any()
        assert tracemalloc.get_traced_memory()[1] < 5 * batch
    finally:
        tracemalloc.stop()
