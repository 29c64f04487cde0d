"""From a publisher's file to a network that samples: layouts, what does not fit, conversion, and guidance."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax.serialization import msgpack_serialize

import main
import models
from configs import cifar10, default
from experiments import build
from experiments.build.checkpoints import locate
from experiments.support.errors import ConfigError
from models.convert import edm, score_sde, weights
from models.convert.releases import RELEASES, load
from tests.fixtures.networks.make import EDM_CASES, SIGMA
from tests.helpers import hostile, seeded
from tests.models.test_networks import OTHERS, close, original

SIZE = {"img_resolution": 16, "img_channels": 3}


def write_edm(path, name="edm_ddpmpp_edm_cond"):
    """A file in EDM's form of a network of tests/fixtures/networks, and what that network gave."""
    (outer, options), (found, tensors) = EDM_CASES[name], original(name)
    about = json.loads(str(found["about"]))
    own = SIZE | {"label_dim": options.get("label_dim", 0), "sigma_data": 0.5}
    inner = {"in_channels": 3, "out_channels": 3, "img_resolution": 16, "label_dim": own["label_dim"]}
    inner |= {key: value for key, value in options.items() if key not in ("label_dim", "model_type")}
    buffers = {key: value for key, value in tensors.items() if key.endswith("resample_filter")}
    path.write_bytes(hostile.edm_pickle(outer, about["network"], tensors | buffers, own, inner))
    return found


def small_config(path, **changes):
    c = default.get_config()
    c.model.checkpoint = str(path)
    with c.unlocked():
        c.update_from_flattened_dict(changes)
    return c


@pytest.mark.thin(3)
@pytest.mark.parametrize("name", ["edm_ddpmpp_vp", "edm_ncsnpp_skip_edm", "edm_adm_edm"])
def test_a_file_of_edm_describes_its_own_network(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    found = write_edm(tmp_path / "net.pkl", name)
    params, meta = load(tmp_path / "net.pkl")
    run = jax.jit(lambda params, *args: models.denoisers(meta)(params)(*args))
    out = run(params, seeded.inputs(3, 16), SIGMA, found["labels"])
    np.testing.assert_allclose(out, found["out"], rtol=0, atol=1e-4 * np.abs(found["out"]).max())
    assert meta["shape"] == [16, 16, 3] and meta["source"]["release"] == "edm"
    assert not Path(hostile.PLANTED).exists()  # the file brings a source, which plants that one


def test_what_does_not_fit_is_listed(tmp_path):
    shapes = {"a/kernel": (3, 2), "b": (4,), "c": (5,)}
    sources = {name: weights.Source((name,)) for name in "bc"} | {
        "a/kernel": weights.Source(("a.kernel",), np.transpose)
    }
    tensors = {"a.kernel": np.zeros((2, 2)), "b": np.zeros(4), "left": np.zeros(1), "known": np.zeros(1)}
    with pytest.raises(ValueError) as error:
        weights.convert(sources, tensors, shapes, unused=lambda name: name == "known")
    assert "1 missing: c" in str(error.value) and "1 unknown: left" in str(error.value)
    assert "1 of another shape: a.kernel (2, 2) for a/kernel (3, 2)" in str(error.value)
    tensors = {"a.kernel": np.ones((2, 3)), "b": np.zeros(4), "c": np.zeros(5)}
    assert weights.convert(sources, tensors, shapes)["a"]["kernel"].shape == (3, 2)


def test_a_file_of_another_network_is_refused(tmp_path):
    write_edm(tmp_path / "net.pkl")
    with pytest.raises(ValueError, match="unknown release 'edm2': known are score_sde"):
        load(tmp_path / "net.pkl", "edm2")
    with pytest.raises(ValueError, match="net.pkl: the file is no state_dict"):
        load(tmp_path / "net.pkl", "guided_256")
    with pytest.raises(ValueError, match="net.pkl: the file is no checkpoint of ScoreSDE"):
        load(tmp_path / "net.pkl", "score_sde_ddpmpp_deep")
    with pytest.raises(ValueError, match="[0-9]+ missing: .*[0-9]+ unknown: "):
        load(tmp_path / "net.pkl", "consistency_edm_flax")
    (tmp_path / "plain.pkl").write_bytes(hostile.dumps({"weights": [1, 2]}))
    with pytest.raises(ValueError, match="plain.pkl: .*expected a network of EDM .*model.release"):
        load(tmp_path / "plain.pkl")


def test_score_sde_gives_the_averaged_parameters():
    tree = {
        "model": {"module.sigmas": np.zeros(3), "module.all_modules.0.W": np.ones(2), "module.b": np.ones(1)},
        "ema": {"shadow_params": [np.full(1, 7.0)]},
    }
    found = score_sde.unpack_torch(tree)
    assert found["b"] == 7 and set(found) == {"all_modules.0.W", "b"}  # frequencies are not averaged there
    with pytest.raises(ValueError, match="averages 2 tensors, the model in it has 1"):
        score_sde.unpack_torch(tree | {"ema": {"shadow_params": [np.ones(1)] * 2}})
    state = {"step": 1, "params_ema": {"Dense_0": {"bias": np.ones(2)}}, "optimizer": {"target": {}}}
    assert list(score_sde.unpack_flax(state)) == ["Dense_0/bias"]


def test_every_release_names_each_parameter_once():
    for name, release in RELEASES.items():
        net = models.build(release.network)
        shapes = weights.shapes_of(net)
        sources = release.sources(net, shapes)
        names = [one for source in sources.values() for one in source.names]
        assert set(sources) == set(shapes) and len(names) == len(set(names)), name


def test_conversion_keeps_the_network_and_says_what_it_was(tmp_path, capsys):
    found = write_edm(tmp_path / "net.pkl")
    config = small_config(tmp_path / "net.pkl", experiment="convert")
    main.run_experiment(config, tmp_path / "run")
    (params, meta), (direct, _) = models.load_params(tmp_path / "run"), load(tmp_path / "net.pkl")
    jax.tree.map(np.testing.assert_array_equal, params, direct)
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert card["sha256"] == meta["source"]["sha256"] and card["parameters"] == sum(
        map(np.size, jax.tree.leaves(params))
    )
    assert card["network"]["classes"] == 10 == len(found["out"][0, 0, 0]) + 7
    assert f"sha256         {card['sha256']}" in capsys.readouterr().out


def test_grey_images_have_one_channel(tmp_path):
    net = models.SongUNet(resolution=16, channels=16, multipliers=(1,), blocks=1, out_channels=1)
    assert weights.shapes_of(net, 1)["enc_16x16_conv/kernel"] == (3, 3, 1, 16)
    own = SIZE | {"img_channels": 1, "sigma_data": 0.5}
    inner = {"img_resolution": 16, "out_channels": 1, "model_channels": 16, "channel_mult": [1], "num_blocks": 1}
    names = {name: source.names[0] for name, source in edm.sources(net, weights.shapes_of(net, 1)).items()}
    turned = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    tensors = {
        names[path]: np.zeros([shape[axis] for axis in turned[len(shape)]], np.float32)
        for path, shape in weights.shapes_of(net, 1).items()
    }
    (tmp_path / "grey.pkl").write_bytes(hostile.edm_pickle("EDMPrecond", "SongUNet", tensors, own, inner))
    assert load(tmp_path / "grey.pkl")[1]["shape"] == [16, 16, 1]


def test_a_network_of_nans_is_not_converted(tmp_path):
    name = "edm_ddpmpp_edm_cond"
    write_edm(tmp_path / "net.pkl", name)
    params, meta = load(tmp_path / "net.pkl")
    models.save_params(tmp_path / "nan.npz", jax.tree.map(lambda leaf: leaf * np.nan, params), meta)
    with pytest.raises(ConfigError, match="not finite on noise"):
        main.run_experiment(small_config(tmp_path / "nan.npz", experiment="convert"), tmp_path / "run")
    assert not (tmp_path / "run/params.npz").exists()


def test_where_checkpoints_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("experiments.data.download.WAITS", ())
    with pytest.raises(ConfigError, match="model.checkpoint is empty"):
        locate(default.get_config())
    with pytest.raises(ConfigError, match="no model.checkpoint .*nothing.pkl"):
        locate(small_config(tmp_path / "nothing.pkl"))
    address = "http://127.0.0.1:9/edm.pkl"  # nobody listens there
    with pytest.raises(ConfigError) as error:
        locate(small_config("", **{"model.address": address}))
    for part in (address, "put edm.pkl into", str(tmp_path / "cache"), "--config.model.checkpoint="):
        assert part in str(error.value)
    folder = tmp_path / "cache/fast-diffusion-sampling"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "edm.pkl").write_bytes(b"by hand")
    assert locate(small_config("", **{"model.address": address})) == folder / "edm.pkl"
    (folder / "edm.pkl").write_bytes(b"another one")
    with pytest.raises(ConfigError, match="it had at its first use"):
        locate(small_config("", **{"model.address": address}))


def test_sampling_stays_within_the_noise_that_a_network_is_for(tmp_path):
    write_edm(tmp_path / "net.pkl", "edm_ncsnpp_ve")
    with pytest.raises(ConfigError, match="sigma / alpha from 0.02 to 100, sampling goes from 80 to 0.002"):
        build.problem(small_config(tmp_path / "net.pkl"))
    assert build.problem(small_config(tmp_path / "net.pkl", **{"grid.t_end": 0.02})).network.shape == (16, 16, 3)


@pytest.mark.deep
def test_the_command_of_the_paper_on_a_small_file_of_edm(tmp_path):
    """configs/cifar10.py as it stands, with fewer of everything: statistics, then the published DPM-Solver-v3."""
    write_edm(tmp_path / "net.pkl", "edm_ddpmpp_vp")
    for experiment in ("ems", "sample"):
        c = cifar10.get_config("smoke")
        c.model.checkpoint, c.experiment = str(tmp_path / "net.pkl"), experiment
        c.ems.path = str(tmp_path / "ems/ems.npz") if experiment == "sample" else ""
        c.solver.name = "DPM-Solver-v3" if experiment == "sample" else c.solver.name
        main.run_experiment(c, tmp_path / experiment)
    ((images, indices),) = [(f["images"], f["indices"]) for f in map(np.load, (tmp_path / "sample/samples").glob("*"))]
    assert images.shape == (2, 16, 16, 3) and images.std() > 1 and list(indices) == [0, 1]
    (row,) = json.loads((tmp_path / "sample/results.json").read_text())["rows"]
    assert row["nfe"] == 6 and row["published"] == 8.56
    assert (tmp_path / "sample/grid.png").is_file()


def score_sde_stream(tensors) -> bytes:
    """A training state of ScoreSDE's PyTorch code, in the format before 1.6: the average is what counts."""
    names = [name for name in tensors if name != "sigmas"]
    storages = [(str(i), np.ravel(tensors[name])) for i, name in enumerate(names)]
    average = [
        hostile.tensor(hostile.storage_id(key, flat.size), tensors[n].shape) for n, (key, flat) in zip(names, storages)
    ]
    model = {f"module.{name}": value for name, value in zip(names, average)}
    return hostile.stream({"model": model, "ema": {"decay": 0.9999, "shadow_params": average}, "step": 1}, storages)


WRITERS = {  # release -> (numbers, how its file is written)
    "score_sde_ddpmpp_deep": ("score_sde", score_sde_stream),
    "score_sde_ddpmpp_deep_flax": (
        "score_sde_flax",
        lambda tensors: msgpack_serialize({"step": 1, "params_ema": models.checkpoint.unflatten(tensors)}),
    ),
    "consistency_edm_flax": ("jcm_flax", lambda tensors: msgpack_serialize(models.checkpoint.unflatten(tensors))),
    "guided_256": ("guided", safetensors.numpy.save),
}


@pytest.mark.parametrize("release", WRITERS)
def test_a_file_of_each_release(tmp_path, monkeypatch, release):
    """Of the release's form, from a small network: read, mapped, and the outputs of the original."""
    name, write = WRITERS[release]
    found, tensors = original(name)
    (tmp_path / "file").write_bytes(write(tensors))
    net = OTHERS[name][0]
    small = {key: getattr(net, key) for key in type(net).__dataclass_fields__ if key not in ("dtype", "parent", "name")}
    kind = RELEASES[release].network["name"]
    monkeypatch.setitem(RELEASES, release, RELEASES[release]._replace(network={"name": kind} | small))
    params, meta = load(tmp_path / "file", release)
    out = jax.jit(models.build(meta["network"]).apply)(
        {"params": params}, seeded.inputs(3, 16), found["time"], found.get("labels", np.zeros(3, int))
    )
    close(out, found["out"])
