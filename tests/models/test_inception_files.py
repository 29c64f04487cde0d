"""Files of Inception in every released form, written by hand with few channels: the same parameters to the bit.

And what is none of them is refused in a sentence that says what to give, before it takes memory.
"""

import io
import tarfile
import tracemalloc
from collections import OrderedDict

import jax
import numpy as np
import pytest

from models.convert import graph_def
from models.convert import inception as files
from tests.fixtures.inception.seeds import torch_weights
from tests.helpers import hostile
from tests.helpers.hostile_files import archive
from tests.models.test_inception import field, node, nvidia, tensorflow

SCOPE = "imported/under/"
FUNCTION = bytes([3 << 3 | 2])  # FunctionDef.node_def, where a graph has field 1
WEIGHT = "Mixed_7c.branch_pool.conv.weight"


@pytest.fixture(scope="module")
def shapes():
    """All layers by their names, of at most two channels, and three classes."""
    small = {path: (*shape[:-2], *(min(n, 2) for n in shape[-2:])) for path, shape in files.layers().items()}
    return small | {"softmax/kernel": (2, 3), "softmax/bias": (3,)}


@pytest.fixture
def weights(shapes, monkeypatch):
    monkeypatch.setattr(files, "layers", lambda: shapes)
    monkeypatch.setattr(files, "CLASSES", 3)
    return torch_weights()


def pickled(weights) -> bytes:
    """Persistent objects, as NVIDIA's: statistics are buffers, the rest are parameters."""

    def made(record):
        found = {kind: OrderedDict() for kind in ("_parameters", "_buffers", "_modules")}
        for kind, members in record.state.items():
            for name, value in members.items():
                place = "_buffers" if name in ("mean", "var") else kind
                found[place][name] = hostile.whole(value) if isinstance(value, np.ndarray) else made(value)
        return hostile.persistent(record.name, found)

    return hostile.dumps(made(nvidia(weights)))


def state_dict(weights) -> bytes:
    storages = [(f"{n:04}", array) for n, array in enumerate(weights.values())]
    tensors = (hostile.tensor(hostile.storage_id(key, array.size), array.shape) for key, array in storages)
    counter = {"Conv2d_1a_3x3.bn.num_batches_tracked": 0}
    return hostile.stream(OrderedDict(zip(weights, tensors)) | counter, storages)


def graph(weights, scope="", names=lambda name: True) -> bytes:
    found = tensorflow(weights).items()
    return b"".join(node(scope + name, array.astype(np.float32)) for name, array in found if names(name))


def functions(weights) -> bytes:
    """A SavedModel whose weights are in a function of its library."""
    nodes = (node(SCOPE + name, array.astype(np.float32)) for name, array in tensorflow(weights).items())
    function = field(1, field(1, b"f")) + b"".join(FUNCTION + one[1:] for one in nodes)
    return field(1, 1) + field(2, field(2, field(2, field(1, function))))


def packed(content: bytes, name="classify_image_graph_def.pb") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as file:
        for member, inside in (("labels.txt", b"a\nb"), (name, content)):
            info = tarfile.TarInfo(f"./{member}")
            info.size = len(inside)
            file.addfile(info, io.BytesIO(inside))
    return sink.getvalue()


def repeated(weights) -> bytes:
    """The scales, which are ones, as one value each (TensorProto.float_val, the last one is repeated)."""
    plain = graph(weights, names=lambda name: "gamma" not in name)
    for name, array in tensorflow(weights).items():
        if "gamma" in name:
            tensor = field(1, 1) + field(2, field(2, field(1, len(array)))) + field(5, array[:1].tobytes())
            value = field(5, field(1, b"value") + field(2, field(8, tensor)))
            plain += field(1, field(1, name.encode()) + field(2, b"Const") + value)
    return plain


FORMS = {
    "pickle": pickled,
    "graph": graph,
    "graph under a scope": lambda weights: graph(weights, SCOPE),
    "graph of repeated values": repeated,
    "functions of a SavedModel": functions,
    "archive": lambda weights: packed(graph(weights)),
}


def load(folder, content: bytes):
    (folder / "file").write_bytes(content)
    return files.load(folder / "file")


@pytest.mark.parametrize("form", FORMS)
def test_every_file_gives_the_same_parameters_to_the_bit(form, weights, shapes, tmp_path):
    expected = load(tmp_path, state_dict(weights))
    found = load(tmp_path, FORMS[form](weights))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert len(jax.tree.leaves(found)) == len(shapes) == 2 * 95
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def test_the_folder_of_a_saved_model_is_its_graph(weights, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(functions(weights))
    np.testing.assert_array_equal(files.load(tmp_path)["softmax"]["bias"], weights["fc.bias"])


REFUSED = {
    "TorchScript": (lambda w: archive([("a/data.pkl", b""), ("a/constants.pkl", b"")]), "a program.*inception-2015-12"),
    "torchvision": (lambda w: state_dict(w | {"fc.weight": np.ones((4, 2), np.float32)}), "of 4 classes, not 3"),
    "not finite": (lambda w: state_dict(w | {WEIGHT: np.full_like(w[WEIGHT], np.nan)}), "1 parameters are not finite"),
    "variances below zero": (
        lambda w: graph({name: -array if "running_var" in name else array for name, array in w.items()}),
        "188 parameters are not finite",
    ),
    "a layer left out": (lambda w: graph(w, names=lambda name: "mixed_9/conv/" not in name), "5 missing: mixed_9/conv"),
    "weights of strings": (
        lambda w: graph(w, names=lambda name: name != "softmax/biases") + node("softmax/biases", np.zeros(3), kind=7),
        "1 missing: softmax/biases",
    ),
    "variables": (lambda w: field(1, 1) + field(2, field(2, VARIABLE)), "folder variables"),
    "an archive without a graph": (lambda w: packed(b"", "readme"), "unpack it yourself"),
    "half an archive": (lambda w: packed(graph(w))[:5000], "cannot be read"),
    "messages inside messages": (lambda w: nested(2000), "no graph of TensorFlow with constants"),
}
VARIABLE = field(1, field(1, b"conv/weights") + field(2, b"VarHandleOp"))


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = field(1, content)
    return content


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, weights, tmp_path):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, make(weights))
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("sizes", [(2**30,), (2**20, 2**20), (2**31, 0), (2**63, 2**63), (2,) * 70])
def test_a_declared_size_takes_no_memory(sizes, tmp_path):
    """One value that is said to fill a large shape."""
    shape = b"".join(field(2, field(1, size)) for size in sizes)
    tensor = field(1, 1) + field(2, shape) + field(5, bytes(4))
    value = field(5, field(1, b"value") + field(2, field(8, tensor)))
    assert peak_of_refusal(tmp_path, field(1, field(1, b"conv") + field(2, b"Const") + value)) < 2**20


def test_an_archive_that_unpacks_without_end(tmp_path, monkeypatch):
    """Zeros pack a thousandfold: reading stops at the bound."""
    monkeypatch.setattr(graph_def, "LARGEST", 2**20)
    assert peak_of_refusal(tmp_path, packed(bytes(2**25))) < 2**22


def peak_of_refusal(folder, content) -> int:
    (folder / "file").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cannot be read"):
            files.load(folder / "file")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
