"""Checkpoints of other projects are read right. tests/fixtures/convert/make.py says how the files were made."""

import os
import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path

import flax.serialization
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy

from models.convert.opcodes import HANDLERS
from models.convert.read import read
from models.convert.tree import Record
from tests.helpers import hostile
from tests.helpers.hostile import Id, Made, Name, stream, tensor
from tests.helpers.places import FIXTURES

DATA = FIXTURES / "convert"
NUMBERS = "float64 float32 float16 int64 int32 int16 int8 uint8".split()
BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def written(folder, content: bytes) -> Path:
    (folder / "file").write_bytes(content)
    return folder / "file"


def same(found, expected, dtype=None):
    assert found.dtype == np.dtype(dtype or expected.dtype) and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("file", ["zip.pt", "legacy.pt"])
def test_a_training_state_of_pytorch(file):
    """Both formats: views, types, a scalar, an empty tensor, shared storages, plain values."""
    tree = read(DATA / file)
    model = tree["model"]
    same(model["base"], BASE)
    same(model["transposed"], BASE.transpose(2, 1, 0))
    same(model["part"], BASE[:, 1:, ::2])
    same(model["parameter"], BASE + np.float32(0.5))
    same(model["scalar"], np.array(2.5, np.float32))
    same(model["empty"], np.zeros((0, 3), np.float32))
    for name in NUMBERS:
        same(model[name], np.arange(6, dtype=name))
    same(model["bfloat16"], np.arange(6), ml_dtypes.bfloat16)
    same(model["bool"], np.arange(6) > 0)
    same(tree["optimizer"]["state"][0]["exp_avg"], 2 * BASE)
    assert tree["optimizer"]["param_groups"] == [{"betas": (0.9, 0.999)}] and tree["step"] == 1234
    ema = tree["ema"]
    assert (ema["decay"], ema["num_updates"], tree["shape"]) == (0.9999, 7, (2, 3, 4))
    assert tree["dtype"] == Record("torch", "float16")
    for found, expected in zip(ema["shadow_params"], BASE, strict=True):
        same(found, expected)
        assert np.shares_memory(found, model["base"])


def test_a_state_dict_and_a_module_of_pytorch():
    state, module = read(DATA / "state_dict.pt"), read(DATA / "module.pt")
    assert list(state) == ["0.weight", "0.bias"] + [
        f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    assert module[:2] == ("torch.nn.modules.container", "Sequential")
    first = module.state["_modules"]["0"]
    assert first.name == "Linear" and first.state["in_features"] == 3
    same(first.state["_parameters"]["weight"], state["0.weight"])


def tensors(record, prefix=""):
    """All arrays below a module of PyTorch or EDM, by the names of a state_dict."""
    own = record.state["_parameters"] | record.state["_buffers"]
    found = {prefix + name: value for name, value in own.items() if value is not None}
    for name, module in record.state["_modules"].items():
        found |= tensors(module, f"{prefix}{name}.") if module else {}
    return found


def test_a_network_of_edm_without_its_source(tmp_path, monkeypatch):
    """All of the tensors that PyTorch itself saw, the arguments, and none of the source, which would leave a file."""
    monkeypatch.chdir(tmp_path)
    content = (DATA / "edm.pkl").read_bytes()
    assert hostile.PAYLOAD.encode() in content and b"NVIDIA" not in content
    tree = read(DATA / "edm.pkl")
    assert not list(tmp_path.iterdir())
    net = tree["ema"]
    assert net[:3] == ("persistent", "EDMPrecond", ()) and tree["dataset_kwargs"] == {"path": "here"}
    assert tree["loss_fn"].state["P_mean"] == -1.2
    assert net.state["_init_kwargs"]["model_type"] == "SongUNet" and net.state["sigma_max"] == float("inf")
    assert net.state["_modules"]["model"].state["_init_kwargs"]["channel_mult"] == [1, 2]
    found = tensors(net)
    with np.load(DATA / "edm.npz") as expected:
        assert set(found) == set(expected.files)
        for name, value in found.items():
            same(value, expected[name])


def skeleton(record):
    """The classes of a network and the names of PyTorch's own attributes."""
    inner = {name: skeleton(module) for name, module in record.state["_modules"].items() if module is not None}
    return record.module, sorted(name for name in record.state if name.startswith("_")), inner


def test_the_made_layout_is_that_of_edm(tmp_path):
    """`hostile.edm_pickle` and EDM's own code give trees of one form, tensor by tensor."""
    real = read(DATA / "edm.pkl")["ema"]
    options = {"img_resolution": 8}
    made = hostile.edm_pickle("EDMPrecond", "SongUNet", tensors(real), options, {"model_channels": 4})
    net = read(written(tmp_path, made))["ema"]
    assert skeleton(net) == skeleton(real)
    assert net.name == "EDMPrecond" and net.state["img_resolution"] == 8
    assert net.state["_modules"]["model"].state["_init_kwargs"] == {"model_channels": 4}
    for name, value in tensors(net).items():
        same(value, tensors(real)[name])


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_numpy(tmp_path, protocol):
    """What the standard library's own pickler writes, in every protocol, with arrays and scalars of numpy."""
    shared = [1, 2]
    values = {
        "a": [None, True, False, 0, -1, 2**70, 1.5, "text ü\n", b"\0\xff", b""],
        "b": ((), (1,), (1, 2), (1, 2, 3, 4)),
    }
    values |= {"c": {1, 2}, "d": frozenset((3,)), "e": shared, "f": shared, "g": np.float64(0.5), 7: {}}
    values |= {"x": BASE, "y": np.asfortranarray(BASE[0]), "z": np.array(3, np.int16), "b8": np.array([True, False])}
    tree = read(written(tmp_path, pickle.dumps(values, protocol)))
    for name in ("x", "y", "z", "b8"):
        same(tree.pop(name), values.pop(name))
    assert tree == values and tree["e"] is tree["f"] and isinstance(tree["g"], float)


def test_old_files_of_pytorch(tmp_path):
    """Views of storages (before 0.4), modules that were saved whole, tensors without hooks, storages on a GPU."""
    numbers = np.arange(6, dtype=np.float32)
    view = Id(("storage", Name("torch.cuda", "FloatStorage"), "5", "cuda:0", 6, ("7", 2, 4)))
    linear = Id(("module", Name("torch.nn.modules.linear", "Linear"), "linear.py", "source"))
    old = Made(Name("torch._utils", "_rebuild_tensor"), (view, 1, (2,), (2,)))
    module = Made(linear, (), {"weight": old}, new=True)
    found = read(written(tmp_path, stream(module, [("5", numbers)])))
    assert found[:3] == ("torch.nn.modules.linear", "Linear", ())
    same(found.state["weight"], numbers[[3, 5]])


def test_safetensors_and_msgpack_and_orbax(tmp_path):
    arrays = {"w": BASE, "h": BASE.astype(ml_dtypes.bfloat16), "e": np.zeros((0, 2)), "s": np.array(2, np.int32)}
    safetensors.numpy.save_file(arrays, tmp_path / "a")
    (tmp_path / "b").write_bytes(flax.serialization.msgpack_serialize({"deep": dict(arrays), "n": 3, "t": "text"}))
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "c", {"deep": {k: jnp.asarray(arrays[k]) for k in "wh"}, "l": [BASE]})
    manager = ocp.CheckpointManager(tmp_path / "d", options=ocp.CheckpointManagerOptions())
    manager.save(7, args=ocp.args.StandardSave({"w": jnp.asarray(BASE)}))
    manager.close()
    flat, packed = read(tmp_path / "a"), read(tmp_path / "b")
    for name, value in arrays.items():
        same(flat[name], value)
        same(packed["deep"][name], value)
    assert (packed["n"], packed["t"], len(flat)) == (3, "text", 4)
    saved = read(tmp_path / "c")
    for found in (saved["deep"]["w"], saved["l"][0], read(tmp_path / "d/7")["w"], read(tmp_path / "d/7/default")["w"]):
        same(found, BASE)
    same(saved["deep"]["h"], arrays["h"])


def test_chunked_arrays_of_flax(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 40)
    path = written(tmp_path, flax.serialization.msgpack_serialize({"a": {"w": BASE}}))
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    same(read(path)["a"]["w"], BASE)


def test_every_opcode_has_a_handler():
    assert set(HANDLERS) == {opcode.name for opcode in pickletools.opcodes}


def test_arrays_are_views_of_the_file(tmp_path):
    """A gigabyte of zeros, on the disk a hole, is no copy in memory."""
    content = tensor(hostile.storage_id("0", 2**28), (2**14, 2**14))
    empty = stream(content, [("0", np.zeros(0, np.float32))])
    path = written(tmp_path, empty[:-8] + struct.pack("<q", 2**28))
    os.truncate(path, len(empty) + 2**30)
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.nbytes == 2**30 and not found.flags.owndata and not found.flags.writeable
    assert peak < 2**20
