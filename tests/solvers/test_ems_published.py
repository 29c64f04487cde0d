"""EMS in the published layout: a folder of l.npz and sb.npz, whose name says where its nodes are."""

import numpy as np
import pytest

from solvers.ems import EMS, check_ems, load_ems, load_published, save_ems, save_published
from solvers.schedule import EDM, VP, Flow, VPDiscrete

LAM = np.linspace(-2, 3, 41)
SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))


def some_ems(shape):
    values = np.random.default_rng(0).normal(size=(3, len(LAM), *shape)).astype(np.float32).astype(np.float64)
    return EMS(LAM, *values, {"schedule": "EDM()", "points": 7})


def assert_same(got, wanted):
    """Values to the bit; the times in a tag have 12 digits, so lam = -log t is off by 1e-12 at most."""
    np.testing.assert_allclose(got.lam, wanted.lam, rtol=0, atol=1e-12)
    for name in "lsb":
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def write_folder(folder, l, s, b):
    folder.mkdir()
    np.savez(folder / "l.npz", l=l)
    np.savez(folder / "sb.npz", s=s, b=b)
    return folder


def published(n=4):
    return np.random.default_rng(1).normal(size=(3, n + 1, 3, 4, 5))


@pytest.mark.parametrize(
    ("name", "schedule", "times", "t_start", "t_end", "points"),
    [
        ("0.002_80.0_4_1024", EDM(), {}, 80.0, 0.002, 1024),
        ("0.01_20.0_4_1024", EDM(), {}, 20.0, 0.01, 1024),
        ("1e-05_50_4_1024", EDM(), {}, 50.0, 1e-5, 1024),
        ("0.0001_4_4096", VP(), {}, 1.0, 1e-4, 4096),
        ("4_1024", VP(), {}, 1.0, 1e-3, 1024),
        ("7.5_4_1024", SD, {}, 1.0, 1e-3, 1024),
        ("edm_gmm", EDM(), {}, 80.0, 0.002, None),
        ("0.002_80.0_4_1024", EDM(), {"t_start": 40.0, "t_end": 0.01}, 40.0, 0.01, 1024),
        ("4_64", Flow(), {"t_start": 0.99}, 0.99, 1e-3, 64),
    ],
)
def test_published_folders_are_read_in_the_order_of_sampling(tmp_path, name, schedule, times, t_start, t_end, points):
    l, s, b = published()
    ems = load_published(write_folder(tmp_path / name, l, s, b), schedule, **times)
    np.testing.assert_allclose(schedule.t_of_lam(ems.lam[[0, -1]]), [t_start, t_end], rtol=1e-9)
    np.testing.assert_allclose(np.diff(ems.lam), (ems.lam[-1] - ems.lam[0]) / 4, rtol=1e-12)
    assert ems.l.shape == (5, 4, 5, 3) and ems.meta["shape"] == [4, 5, 3]
    assert (
        ems.l[2, 1, 3, 0] == l[2, 0, 1, 3] and ems.s[0, 0, 4, 2] == s[0, 2, 0, 4] and ems.b[4, 2, 1, 1] == b[4, 1, 2, 1]
    )
    assert ems.meta["schedule"] == repr(schedule) and ems.meta.get("points") == points
    check_ems(ems, schedule, schedule.lam(np.array([t_start, t_end])), (4, 5, 3))


@pytest.mark.parametrize("shape", [(4, 5, 3), (6,), (4, 5)])
def test_own_file_to_published_and_back(tmp_path, shape):
    ems = some_ems(shape)
    save_ems(tmp_path / "ems.npz", ems)
    folder = save_ems(tmp_path / "published", load_ems(tmp_path / "ems.npz"), EDM())
    assert folder.name == "0.0497870683679_7.38905609893_40_7"
    with np.load(folder / "l.npz") as file:
        assert file.files == ["l"] and file["l"].dtype == np.float32
        assert file["l"].shape == ((41, 3, 4, 5) if shape == (4, 5, 3) else (41, *shape))
    with np.load(folder / "sb.npz") as file:
        assert sorted(file.files) == ["b", "s"]
    back = load_ems(folder, EDM())
    assert_same(back, ems)
    save_ems(tmp_path / "back.npz", back)
    assert_same(load_ems(tmp_path / "back.npz"), ems)
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]


def test_tags_are_those_of_the_authors(tmp_path):
    lam = np.linspace(-np.log(80), -np.log(0.002), 121)
    ems = EMS(lam, *np.zeros((3, 121, 2)), {"points": 4096})
    assert save_published(tmp_path, ems, EDM()) == tmp_path / "0.002_80.0_120_4096"


def test_what_the_published_layout_cannot_hold_is_refused(tmp_path):
    ems = some_ems((2,))
    with pytest.raises(ValueError, match="give the schedule for a folder"):
        save_ems(tmp_path / "folder", ems)
    with pytest.raises(ValueError, match="uniform in lam.*interpolate"):
        save_published(tmp_path, ems._replace(lam=LAM + 1e-3 * np.sin(np.pi * LAM)), EDM())
    with pytest.raises(ValueError, match="of schedule EDM"):
        save_published(tmp_path, ems, VP())
    folder = save_published(tmp_path, ems, EDM())
    with pytest.raises(ValueError, match=f"{folder.name} exists"):
        save_published(tmp_path, ems._replace(l=ems.l + 1), EDM())
    assert_same(load_ems(folder, EDM()), ems)


def test_unfit_published_folders_are_refused(tmp_path):
    l, s, b = published()
    edm, folder = EDM(), write_folder(tmp_path / "0.002_80.0_4_1024", l, s, b)

    def refused(message, schedule=edm, path=folder):
        with pytest.raises(ValueError, match=message) as error:
            load_ems(path, schedule)
        assert str(path) in str(error.value)

    refused("is a folder: give the schedule", None)
    refused(r"t_start = 80.0 .* VP\(.*no increasing, finite lam.*give load_published", VP())
    refused(r"t_start = 1.0 to t_end = 0.001, Flow\(\)", Flow(), write_folder(tmp_path / "4_1024", l, s, b))
    refused("says N = 5, its l.npz has 5 nodes, N = 4", path=write_folder(tmp_path / "0.002_80.0_5_1024", l, s, b))
    for i, (arrays, message) in enumerate(
        (
            ((l, s[:-1], b), r"s float64 \(4, 4, 5, 3\).*one shape"),
            ((l, s, b[:, :1]), r"b float64 \(5, 4, 5, 1\).*one shape"),
            ((l, s * np.nan, b), "s hold values that are not finite"),
            ((np.float64(1), s, b), "one grid"),
            ((l.astype(object), s, b), "l.npz is not a whole .npz.*Object arrays"),
        )
    ):
        refused(message, path=write_folder(tmp_path / f"wrong{i}", *arrays))
    whole = (folder / "sb.npz").read_bytes()
    (folder / "sb.npz").write_bytes(whole[: len(whole) // 2])
    refused("sb.npz is not a whole .npz file with s, b")
    (folder / "sb.npz").unlink()
    refused(r"has no sb.npz: the published layout is a folder of l.npz and sb.npz")
