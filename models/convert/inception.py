"""The released forms of Inception-v3 of 2015-12-05 -> parameters of models.inception, the same ones from each.

the pickle of EDM's and StyleGAN3's evaluators          inception-2015-12-05.pkl
PyTorch, of pytorch-fid and torch-fidelity              pt_inception-2015-12-05-6726825d.pth
TensorFlow, a GraphDef or a SavedModel of constants     classify_image_graph_def.pb, inception-2015-12-05.tgz
                                                        and the module tfgan/eval/inception of TensorFlow Hub
"""

import re

import jax
import jax.numpy as jnp
import numpy as np

from models.checkpoint import flatten
from models.convert.edm import tensors_of
from models.convert.read import read
from models.convert.tree import Record
from models.convert.weights import Source, convert
from models.inception import CLASSES, FEATURES, Inception

EPSILON = 1e-3  # of batch normalisation
KNOWN = "inception-2015-12-05.pkl of NVIDIA, pt_inception-2015-12-05 (.pth) or classify_image_graph_def.pb"
LAST = "mixed_10/tower_2/conv/conv2d_params"  # in a graph, after the name of a scope
STEM = {"conv": "1a_3x3", "conv_1": "2a_3x3", "conv_2": "2b_3x3", "conv_3": "3b_1x1", "conv_4": "4a_3x3"}
MIXED = dict(zip(("mixed", *(f"mixed_{n}" for n in range(1, 11))), "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c".split()))
TOWERS = {  # TensorFlow's block -> PyTorch's branches for conv, tower and tower_1
    **dict.fromkeys(("mixed", "mixed_1", "mixed_2"), ("1x1", "5x5", "3x3dbl")),
    "mixed_3": ("3x3", "3x3dbl", ""),
    **dict.fromkeys(("mixed_4", "mixed_5", "mixed_6", "mixed_7"), ("1x1", "7x7", "7x7dbl")),
    "mixed_8": ("", "3x3", "7x7x3"),
    **dict.fromkeys(("mixed_9", "mixed_10"), ("1x1", "3x3", "3x3dbl")),
}


def load(path) -> dict:
    """{layer: {kernel, bias}}, float32, with batch normalisation folded in; nothing in the file is executed.

    Folded in float64, whose sums, products and roots are correctly rounded: equal weights become equal parameters,
    whatever file they are in. ValueError for a file of anything else.
    """
    try:
        tree = read(path)
    except ValueError as error:
        raise ValueError(f"{error}; of Inception-v3, {KNOWN} are readable") from error
    try:
        return fold(*unpack(tree))
    except (ValueError, TypeError, AttributeError) as error:  # trees of other files fail in any of these ways
        raise ValueError(f"{path}: {error}") from error


def fold(tensors: dict, form: str) -> dict:
    """The parameters of tensors by name, in one of FORMS."""
    head = np.shape(tensors.get("fc.weight", 0))
    if head and head[0] != CLASSES:
        found = f"{head[0]} classes, not {CLASSES}, with features of its own (torchvision's has 1000)"
        raise ValueError(f"it is another Inception-v3, of {found}: take {KNOWN}")
    shapes = layers()
    with np.errstate(all="ignore"):  # the result is checked below
        params = convert(sources(shapes, form), tensors, shapes, unused)
    broken = sorted(path for path, leaf in flatten(params).items() if not np.isfinite(leaf).all())
    if broken:
        raise ValueError(f"{len(broken)} parameters are not finite ({broken[0]}): the file is damaged, fetch it again")
    return params


def layers() -> dict:
    """The shape of every parameter, by layer/kernel and layer/bias."""
    one = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    params = jax.eval_shape(lambda: Inception().init(jax.random.key(0), one))["params"]
    head = {"softmax/kernel": (FEATURES, CLASSES), "softmax/bias": (CLASSES,)}
    return {path: leaf.shape for path, leaf in flatten(params).items()} | head


def unpack(tree) -> tuple[dict, str]:
    """(tensors by name, nvidia | torch | tensorflow)."""
    if isinstance(tree, Record) and tree.name == "InceptionV3" and isinstance(tree.state, dict):
        return dict(tensors_of(tree)), "nvidia"
    scopes = [name.removesuffix(LAST) for name in tree if str(name).endswith(LAST)] if isinstance(tree, dict) else []
    if scopes:
        scope = min(scopes, key=len)
        return {name.removeprefix(scope): tree[name] for name in tree if name.startswith(scope)}, "tensorflow"
    if isinstance(tree, dict) and "Conv2d_1a_3x3.conv.weight" in tree:
        return tree, "torch"
    found = tree.name if isinstance(tree, Record) else f"a {type(tree).__name__}"
    if isinstance(tree, dict):
        found = f"tensors like {', '.join(sorted(map(str, tree))[:3])}"
    raise ValueError(f"the file holds {found}, and no Inception-v3 of 2015-12-05: give {KNOWN}")


def unused(name: str) -> bool:
    """True for counters, and for what a graph of TensorFlow holds beside weights."""
    ours = re.match(r"layers|output|Conv2d|Mixed|fc|.*/(conv2d_params|batchnorm)|softmax/(weights|biases)", name)
    return name.endswith("num_batches_tracked") or not ours


def sources(paths, form: str) -> dict[str, Source]:
    """Where each parameter is: a kernel from weight, variance and scale; a bias from shift, mean, variance and scale.

    NVIDIA's form has no scale, the others' are ones.
    """
    naming, (weight, scale, shift, mean, variance) = FORMS[form]
    found = {}
    for path in paths:
        layer, leaf = path.rsplit("/", 1)
        if layer == "softmax":
            place = np.array if leaf == "bias" or form == "tensorflow" else np.transpose  # no views of a file
            found[path] = Source((HEADS[form][leaf],), place)
            continue
        name = naming(layer.replace(".", "/"))
        statistics = (name + variance, name + scale) if scale else (name + variance,)
        if leaf == "kernel":
            found[path] = Source((name + weight, *statistics), _kernels[form == "tensorflow"])
        else:
            found[path] = Source((name + shift, name + mean, *statistics), _bias)
    return found


def _factor(variance, scale=1.0):
    return np.asarray(scale, np.float64) / np.sqrt(np.asarray(variance, np.float64) + EPSILON)


def _torch_kernel(weight, *statistics):
    return np.asarray(weight, np.float64).transpose(2, 3, 1, 0) * _factor(*statistics)


def _tensorflow_kernel(weight, *statistics):
    return np.asarray(weight, np.float64) * _factor(*statistics)


_kernels = (_torch_kernel, _tensorflow_kernel)


def _bias(shift, mean, *statistics):
    return np.asarray(shift, np.float64) - np.asarray(mean, np.float64) * _factor(*statistics)


def _nvidia(layer: str) -> str:
    """layers.mixed.tower.conv_1, but layers.mixed_9.tower_conv_1 in the last two blocks."""
    block, *rest = layer.split("/")
    return ".".join(["layers", block, *(["_".join(rest)] if block in ("mixed_9", "mixed_10") else rest)])


def _torch(layer: str) -> str:
    block, *rest = layer.split("/")
    if not rest:
        return f"Conv2d_{STEM[block]}"
    names = dict(zip(("conv", "tower", "tower_1"), TOWERS[block])) | {"tower_2": "_pool"}
    branch, number = f"Mixed_{MIXED[block]}.branch{names[rest[0]]}", ""
    if rest[0] in ("tower", "tower_1"):
        fork = "mixed" in rest
        last = int(rest[-1].partition("_")[2] or 0)
        before = {"tower": 2, "tower_1": 3}[rest[0]]
        number = f"_{before}{'ab'[last]}" if fork else f"_{last + 1}"
    return branch + number


FORMS = {  # a layer's name, and what follows it: weight, scale, shift, mean, variance
    "nvidia": (_nvidia, (".weight", "", ".beta", ".mean", ".var")),
    "torch": (_torch, (".conv.weight", ".bn.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var")),
    "tensorflow": (
        lambda layer: layer,
        (
            "/conv2d_params",
            *(f"/batchnorm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
        ),
    ),
}
HEADS = {
    "nvidia": {"kernel": "output.weight", "bias": "output.bias"},
    "torch": {"kernel": "fc.weight", "bias": "fc.bias"},
    "tensorflow": {"kernel": "softmax/weights", "bias": "softmax/biases"},
}
