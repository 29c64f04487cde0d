"""Inception-v3 of 2015-12-05: the features of the reference implementation in PyTorch, and weights from every form.

Expected numbers: tests/fixtures/inception/make.py. Weights and images are by seed, the same there and here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import inception
from models.convert import graph_def
from models.convert import inception as files
from models.convert.tree import Record
from tests.fixtures.inception.seeds import SIZES, images_of, torch_weights
from tests.helpers.places import FIXTURES

FOLDER = FIXTURES / "inception"


@pytest.fixture(scope="module")
def tensors():
    return torch_weights()


@pytest.fixture(scope="module")
def params(tensors):
    return loaded(tensors, "torch")


def loaded(tree, form):
    """As files.load, without a file."""
    tensors, found = files.unpack(tree)
    assert found == form
    return files.fold(tensors, form)


def test_features_are_those_of_the_reference_implementation(params):
    """64 images of four sizes, resize included. The trunk is compiled once, for images of 299."""
    expected = np.load(FOLDER / "features.npz")
    trunk = jax.jit(lambda params, x: inception.Inception().apply({"params": params}, x, method="trunk"))
    for size in SIZES:
        resized = jax.jit(inception.resize)(jnp.asarray(images_of(size), jnp.float32))
        features, spatial = (np.asarray(a) for a in trunk(params, resized))
        heads = {"logits": inception.logits(params, features), "biased": inception.logits(params, features, bias=True)}
        found = {"features": features, "spatial": spatial[:, ::17]} | {key: a[:, ::9] for key, a in heads.items()}
        for name, values in found.items():
            want = expected[f"{name}_{size[0]}x{size[1]}"]
            assert np.abs(values - want).max() < 1e-4 * np.abs(want).max(), (name, size)


@pytest.mark.parametrize("size", [(5, 7), (299, 40), (1, 1), (600, 300)])
def test_resize_is_tensorflows(size):
    """Pixel by pixel in float64: at i * in / out, no half-pixel shift, the last pixel repeated."""
    images = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.float32)
    found = np.asarray(inception.resize(images))[0]
    assert found.shape == (299, 299, 3)
    for row, column in np.random.default_rng(1).integers(0, 299, (40, 2)):
        y, x = row * size[0] / 299, column * size[1] / 299
        (a, c), (b, d) = (int(y), int(x)), (min(int(y) + 1, size[0] - 1), min(int(x) + 1, size[1] - 1))
        top = images[0, a, c] + (images[0, a, d] - images[0, a, c]) * (x - c)
        bottom = images[0, b, c] + (images[0, b, d] - images[0, b, c]) * (x - c)
        np.testing.assert_allclose(found[row, column], top + (bottom - top) * (y - a), rtol=0, atol=255 * 6e-5)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.uint8)]
)
def test_only_uint8_of_one_or_three_channels(images):
    with pytest.raises(ValueError, match=r"takes uint8 \[B, H, W, 1 or 3\]"):
        jax.eval_shape(lambda x: inception.Inception().init(jax.random.key(0), x), images)


def nvidia(tensors):
    """The same weights as the object that a pickle of NVIDIA's holds."""
    modules = {}
    for layer in {path.rsplit("/", 1)[0] for path in files.layers()} - {"softmax"}:
        torch, layer = files._torch(layer.replace(".", "/")), files._nvidia(layer.replace(".", "/"))
        names = {"weight": ".conv.weight", "beta": ".bn.bias", "mean": ".bn.running_mean", "var": ".bn.running_var"}
        modules[layer] = Record(
            "x", "Conv2dLayer", (), {"_parameters": {k: tensors[torch + v] for k, v in names.items()}}
        )
    head = {"weight": tensors["fc.weight"], "bias": tensors["fc.bias"]}
    modules["output"] = Record("x", "Linear", (), {"_parameters": head})
    root = {}
    for name, module in modules.items():
        *parents, leaf = name.split(".")
        node = root
        for parent in parents:
            node = node.setdefault(parent, Record("x", "Sequential", (), {"_modules": {}})).state["_modules"]
        node[leaf] = module
    return Record("persistent", "InceptionV3", (), {"_modules": root})


def tensorflow(tensors):
    found = {"softmax/weights": tensors["fc.weight"].T, "softmax/biases": tensors["fc.bias"], "pool_3/size": np.ones(4)}
    for layer in {path.rsplit("/", 1)[0] for path in files.layers()} - {"softmax"}:
        layer = layer.replace(".", "/")
        torch = files._torch(layer)
        found[f"{layer}/conv2d_params"] = tensors[f"{torch}.conv.weight"].transpose(2, 3, 1, 0)
        for ours, theirs in (("gamma", "weight"), ("beta", "bias")):
            found[f"{layer}/batchnorm/{ours}"] = tensors[f"{torch}.bn.{theirs}"]
        for ours, theirs in (("mean", "mean"), ("variance", "var")):
            found[f"{layer}/batchnorm/moving_{ours}"] = tensors[f"{torch}.bn.running_{theirs}"]
    return found


@pytest.mark.parametrize("form, make", [("nvidia", nvidia), ("tensorflow", tensorflow)])
def test_every_form_gives_the_same_parameters_to_the_bit(form, make, tensors, params):
    """So that their hash names the weights, and not the file. NVIDIA's form has no scales: they are one."""
    other = loaded(make(tensors), form)
    assert jax.tree.structure(other) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(params)):
        np.testing.assert_array_equal(a, b)


def test_names_of_pytorch_are_all_used_once(tensors):
    names = {name for source in files.sources(files.layers(), "torch").values() for name in source.names}
    assert names == {name for name in tensors if "num_batches" not in name}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("fc.bias"), "1 missing: fc.bias"),
        (lambda t: t.update({"fc.weight": np.zeros((1000, 2048))}), "another Inception-v3, of 1000 classes"),
        (lambda t: t.update({"Mixed_5b.branch1x1.conv.weight": np.zeros((64, 192, 3, 3))}), "1 of another shape"),
        (lambda t: t.update({"Mixed_8x.conv.weight": np.zeros(3)}), "1 unknown: Mixed_8x.conv.weight"),
    ],
)
def test_other_weights_are_refused(change, message, tensors):
    tensors = dict(tensors)
    change(tensors)
    with pytest.raises(ValueError, match=message):
        loaded(tensors, "torch")


@pytest.mark.parametrize("tree", [{"a": np.zeros(3)}, [], Record("persistent", "Generator", (), {})])
def test_what_is_no_inception_is_named(tree):
    with pytest.raises(ValueError, match="no Inception-v3 of 2015-12-05: give inception-2015-12-05.pkl"):
        files.unpack(tree)


def field(number, content) -> bytes:
    """A field of a protocol buffer: an integer, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def node(name, array, kind=1, size=None):
    shape = b"".join(field(2, field(1, n)) for n in array.shape)
    tensor = field(1, kind) + field(2, shape) + field(4, array.tobytes()[:size])
    value = field(5, field(1, b"value") + field(2, field(8, tensor)))
    return field(1, field(1, name.encode()) + field(2, b"Const") + value)


ARRAYS = {"conv/conv2d_params": np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3), "conv/b": np.ones(3, np.float32)}
GRAPH = b"".join(node(name, array) for name, array in ARRAYS.items())


@pytest.mark.parametrize("content", [GRAPH, field(1, 1) + field(2, field(2, GRAPH))], ids=["graph", "saved model"])
def test_constants_of_a_graph_are_read(content, tmp_path):
    (tmp_path / "graph.pb").write_bytes(content)
    found = files.read(tmp_path / "graph.pb")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "content",
    [
        *(GRAPH[:n] for n in (20, 60, len(GRAPH) - 1)),
        node("conv/conv2d_params", np.zeros(2**10, np.float32), size=40),
        field(1, field(1, b"a") + field(2, b"Const") + b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        b"\x0a\x05\x0a" + b"\xff" * 20,
        field(1, field(1, b"conv/weights") + field(2, b"VariableV2")),
    ],
)
def test_damaged_graphs_are_refused(content):
    with pytest.raises(ValueError, match="damaged|variables/"):
        graph_def.read_graph(content)
