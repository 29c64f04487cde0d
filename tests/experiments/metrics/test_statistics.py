"""Reference statistics: what is written is read again, here and by the codes of others, and nothing bad is."""

import pickle
import tracemalloc

import numpy as np
import pytest

from experiments.data.images import open_images
from experiments.metrics import layouts as statistics
from experiments.metrics.layouts import LAYOUTS, Statistics, read, write
from tests.helpers import hostile
from tests.helpers.hostile import PLANTED, Made, Name

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(3, 2, (50, 7)).astype(np.float32)
SPATIAL = RNG.normal(size=(50, 4))
IMAGES = RNG.integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)


def moments(rows):
    """As TTUR, pytorch-fid and guided diffusion take them."""
    return np.mean(rows.astype(np.float64), axis=0), np.cov(rows.astype(np.float64), rowvar=False)


MU, SIGMA = moments(FEATURES)
MU_S, SIGMA_S = moments(SPATIAL)
WHOLE = Statistics(MU, SIGMA, (MU_S, SIGMA_S), FEATURES, 50, {"features": "inception", "indices": [0, 49]})


def assert_moments(found, mean=MU, covariance=SIGMA, rtol=0.0):
    np.testing.assert_allclose(found[0], mean, rtol)
    np.testing.assert_allclose(found[1], covariance, rtol)
    assert found[0].dtype == found[1].dtype == np.float64


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(layout, tmp_path):
    path = tmp_path / "reference"
    write(path, WHOLE, layout, images=IMAGES)
    found = read(path)
    # moments of features are taken again: sums of 50 terms in another order
    assert_moments(found, rtol=50 * 2**-52 * 10 if layout == "pool_3" else 0)
    assert found.count == 50 and found.about == WHOLE.about
    assert (found.spatial is not None) == (layout in ("mu_s, sigma_s", "arr_0"))
    if found.spatial:
        assert_moments(found.spatial, MU_S, SIGMA_S)
    assert (found.features is not None) == (layout == "pool_3")
    if layout == "pool_3":
        np.testing.assert_array_equal(found.features, FEATURES)
    if layout == "arr_0":
        np.testing.assert_array_equal(open_images(path)[np.arange(5)], IMAGES)
    assert [file.name for file in tmp_path.iterdir()] == ["reference"]


def test_others_read_what_is_written(tmp_path):
    """By the lines of the codes that the layouts are of."""
    for layout in LAYOUTS:
        write(tmp_path / f"{layout}.npz", WHOLE, layout, images=IMAGES)
    with np.load(tmp_path / "mu, sigma.npz") as file:  # EDM: dict(np.load(f)); pytorch-fid: f["mu"][:]
        reference = dict(file)
    np.testing.assert_array_equal(reference["mu"][:], MU)
    np.testing.assert_array_equal(reference["sigma"][:], SIGMA)
    with np.load(tmp_path / "arr_0.npz") as file:
        assert "mu" in list(file.keys()) and file["arr_0"].shape == IMAGES.shape
        np.testing.assert_array_equal(file["sigma_s"], SIGMA_S)
    with np.load(tmp_path / "pool_3.npz") as file:
        np.testing.assert_array_equal(file["pool_3"], FEATURES)
    with open(tmp_path / "edm2.npz", "rb") as file:
        reference = pickle.load(file)
    assert reference["num_images"] == 50
    np.testing.assert_array_equal(reference["fid"]["mu"], MU)
    np.testing.assert_array_equal(reference["fid"]["sigma"], SIGMA)


def test_what_others_wrote_is_read(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, mu=MU, sigma=SIGMA)
    assert_moments(read(path))
    assert read(path)[2:] == (None, None, None, {})
    np.savez(path, mu=MU.astype(np.float32), sigma=SIGMA.astype(np.float32))
    assert_moments(read(path), rtol=2**-24)
    np.savez(path, arr_0=IMAGES, mu=MU, sigma=SIGMA, mu_s=MU_S, sigma_s=SIGMA_S)
    assert_moments(read(path))
    assert_moments(read(path).spatial, MU_S, SIGMA_S)
    np.savez_compressed(path, pool_3=FEATURES, logits=FEATURES)
    assert_moments(read(path), rtol=50 * 2**-52 * 10)
    assert read(path).count == 50
    np.savez(path, arr_0=IMAGES)
    assert read(path) == Statistics()
    cov = {"train_feature_cov": SIGMA, "train_pixel_mean": MU_S, "train_count": np.int64(60)}
    np.savez(path, train_feature_mean=MU, **cov)
    assert_moments(read(path))
    assert read(path).count == 60


def of_numpy_1(value, protocol) -> Made:
    """An array or a number of numpy, by the names that numpy 1 has for what makes them."""
    function, args, *state = value.__reduce_ex__(protocol)
    return Made(Name(function.__module__.replace("_core", "core"), function.__name__), args, *state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("version", [1, 2])
def test_edm2_pickles(protocol, version, tmp_path):
    made = of_numpy_1 if version == 1 else lambda value, protocol: value
    count, mu, sigma = (made(value, protocol) for value in (np.int64(50_000), MU, np.asfortranarray(SIGMA)))
    for number in (50_000, count):
        tree = {"num_images": number, "fid": {"mu": mu, "sigma": sigma}, "fd_dinov2": {"mu": mu}}
        content = hostile.dumps(tree, protocol) if version == 1 else pickle.dumps(tree, protocol)
        assert (b"numpy._core" in content) == (version == 2)
        (tmp_path / "file.pkl").write_bytes(content)
        found = read(tmp_path / "file.pkl")
        assert_moments(found)
        assert found.count == 50_000 and type(found.count) is int and found.about == {}


@pytest.mark.parametrize(
    "layout, without, says",
    [
        ("mu, sigma", "mean", "needs a mean"),
        ("edm2", "covariance", "needs a covariance"),
        ("mu_s, sigma_s", "spatial", "needs spatial moments"),
        ("arr_0", "spatial", "needs spatial moments"),
        ("arr_0", None, "needs images"),
        ("pool_3", "features", "needs features"),
        ("mu sigma", None, "unknown layout 'mu sigma': known are mu, sigma; mu_s"),
    ],
)
def test_parts_that_a_layout_needs(layout, without, says, tmp_path):
    images = IMAGES if without == "spatial" else None
    with pytest.raises(ValueError, match=says):
        write(tmp_path / "file", WHOLE._replace(**{without: None} if without else {}), layout, images=images)
    assert not list(tmp_path.iterdir())


ASYMMETRIC, NEGATIVE, LARGE = SIGMA + 0, SIGMA + 0, SIGMA + 0
ASYMMETRIC[0, 1] += 0.01
NEGATIVE[2] = NEGATIVE[:, 2] = 0
NEGATIVE[2, 2] = -1
LARGE[0, 1] = LARGE[1, 0] = 1.1 * np.sqrt(SIGMA[0, 0] * SIGMA[1, 1])
BAD = {  # what it is: (arrays, what the error says)
    "other keys": ({"mean": MU, "cov": SIGMA}, "holds 'cov', 'mean'; known are mu and sigma, arr_0"),
    "a mean alone": ({"mu": MU}, "holds 'mu'; known are"),
    "shapes": ({"mu": MU, "sigma": SIGMA[:6]}, r"mean of \(7,\) and a covariance of \(6, 7\)"),
    "two dimensions": ({"mu": MU[None], "sigma": SIGMA}, r"mean of \(1, 7\)"),
    "NaN": ({"mu": MU * np.nan, "sigma": SIGMA}, "not finite"),
    "infinity": ({"mu": MU, "sigma": SIGMA + np.inf}, "not finite"),
    "complex": ({"mu": MU, "sigma": SIGMA * 1j}, "moments of complex128"),
    "asymmetric": ({"mu": MU, "sigma": ASYMMETRIC}, "not symmetric, by 0.01 where"),
    "negative": ({"mu": MU, "sigma": NEGATIVE}, "its least variance is -1"),
    "too large": ({"mu": MU, "sigma": LARGE}, "at most the product of two deviations"),
    "objects": ({"mu": np.array([{}]), "sigma": SIGMA}, "mu is an array of objects"),
    "spatial": ({"mu": MU, "sigma": SIGMA, "mu_s": MU_S, "sigma_s": SIGMA}, r"mean of \(4,\)"),
    "features": ({"pool_3": FEATURES[0]}, r"features \(pool_3\) of \(7,\)"),
    "one row": ({"pool_3": FEATURES[:1]}, "N >= 2"),
    "NaN in features": ({"pool_3": FEATURES * np.nan}, "finite numbers"),
    "count": ({"mu": MU, "sigma": SIGMA, "count": np.int64(0)}, "for its number of images"),
    "about": ({"mu": MU, "sigma": SIGMA, "about": "[" * 10**5}, "`about` in .* is no JSON"),
    "a list": ({"mu": MU, "sigma": SIGMA, "about": "[]"}, "no JSON dictionary but list"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case, tmp_path):
    arrays, says = BAD[case]
    np.savez(tmp_path / "file", **arrays)
    with pytest.raises(ValueError, match=says) as caught:
        read(tmp_path / "file.npz")
    assert "file.npz" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_sizes_are_compared_before_numbers_are_read(tmp_path):
    """Zeros of 128 MB in a file of 130 kB."""
    np.savez_compressed(tmp_path / "a.npz", mu=MU, sigma=np.zeros((4000, 4000)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"covariance of \(4000, 4000\)"):
            read(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_round_off_is_no_asymmetry(tmp_path):
    """Of sums in float32, say: it is averaged away, and a difference of 1e-5 of a variance is no damage."""
    noisy = SIGMA + 1e-5 * np.triu(SIGMA)
    np.savez(tmp_path / "a.npz", mu=MU, sigma=noisy)
    found = read(tmp_path / "a.npz").covariance
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(found, (noisy + noisy.T) / 2)
    np.savez(tmp_path / "b.npz", mu=np.zeros(2), sigma=np.zeros((2, 2)))  # of equal images
    assert not read(tmp_path / "b.npz").covariance.any()


def test_hostile_pickles_are_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fid = {"mu": MU, "sigma": SIGMA}
    evil = [
        hostile.dumps({"num_images": hostile.shell(), "fid": fid}),
        hostile.dumps({"num_images": 5, "fid": Made(Name("builtins", "eval"), (hostile.PAYLOAD,))}),
        hostile.dumps(hostile.shell(), 2),
    ]
    for content in evil:
        (tmp_path / "file.pkl").write_bytes(content)
        with pytest.raises(ValueError, match="none of it was run"):
            read(tmp_path / "file.pkl")
        assert not (tmp_path / PLANTED).exists()
    pickle.loads(evil[0])
    assert (tmp_path / PLANTED).exists(), "the payload is none, so this test cannot fail"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_cut_is_refused(layout, tmp_path):
    path = tmp_path / "file"
    write(path, WHOLE, layout, images=IMAGES)
    content = path.read_bytes()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="file"):
            read(path)


def test_other_files(tmp_path):
    path = tmp_path / "file"
    for content, says in [
        (pickle.dumps([1]), "holds a list; known are"),
        (pickle.dumps({"fd_dinov2": {"mu": MU}}), "holds 'fd_dinov2'; known are"),
        (pickle.dumps({"num_images": 2.5, "fid": {"mu": MU, "sigma": SIGMA}}), "for its number of images"),
        (b"<html>", "web page"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=says):
            read(path)
    with pytest.raises(FileNotFoundError, match="there are no statistics .*missing: give a file"):
        read(tmp_path / "missing")


def test_moments_of_parts_are_those_of_all(monkeypatch):
    monkeypatch.setattr(statistics, "ROWS", 16)
    assert_moments(statistics.moments_of(FEATURES), rtol=50 * 2**-52 * 10)
