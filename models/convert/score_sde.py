"""The checkpoints of ScoreSDE (Song et al. 2021): PyTorch's, the JAX one's, and those of consistency_models_cifar10.

Its NCSN++ is EDM's SongUNet. Modules there have no names but numbers, in the order in which the network uses them:
PyTorch counts all of them, flax counts those of a class.
"""

from collections.abc import Iterator

import numpy as np

from models.checkpoint import flatten
from models.convert.weights import LEAVES, Source, kernel

INSIDE = {  # a part of a block here -> there
    "norm0": "GroupNorm_0",
    "conv0": "Conv_0",
    "affine": "Dense_0",
    "norm1": "GroupNorm_1",
    "conv1": "Conv_1",
    "skip": "Conv_2",
}


def modules(net) -> Iterator[tuple[str, str]]:
    """(module here, class there), in ScoreSDE's order; the attention of a block is a module of its own there."""
    if net.embedding == "fourier":
        yield "freqs", "GaussianFourierProjection"
    yield from (("map_layer0", "Dense"), ("map_layer1", "Dense"))
    kinds = {"conv": "Conv", "image": "Conv", "norm": "GroupNorm", "skip": "Combine", "residual": "Downsample"}
    for prefix, parts in (("enc", net.encoding()), ("dec", net.decoding())):
        for part in parts:
            name = f"{prefix}_{part.name}"
            if part.kind in kinds:
                yield name, kinds[part.kind]
            elif part.kind == "block":
                yield name, "ResnetBlockBigGANpp"
                if part.attention:
                    yield f"{name}/attention", "AttnBlockpp"


def unpack_torch(tree) -> dict:
    """The averaged parameters by name: ScoreSDE keeps their values in a list, in the order of the model's names."""
    try:
        names = [name.removeprefix("module.") for name in tree["model"] if not name.endswith("sigmas")]
        kept = [name for name in names if not name.endswith(".W") or "NIN" in name]  # frequencies are not averaged
        values = tree["ema"]["shadow_params"]
        plain = {name.removeprefix("module."): value for name, value in tree["model"].items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the file is no checkpoint of ScoreSDE's PyTorch code ({error!r} is missing): it should hold model and "
            "ema.shadow_params"
        ) from error
    if len(kept) != len(values):
        raise ValueError(f"the file averages {len(values)} tensors, the model in it has {len(kept)}: not of ScoreSDE")
    return {name: plain[name] for name in names} | dict(zip(kept, values))


def unpack_flax(tree) -> dict:
    """The averaged parameters of a training state of ScoreSDE or consistency_models_cifar10, or of bare parameters."""
    params = tree.get("params_ema", tree) if isinstance(tree, dict) else tree
    params = params.get("params", params) if isinstance(params, dict) else params
    if not isinstance(params, dict):
        raise ValueError(f"the file holds {type(params).__name__}, expected parameters by name, or params_ema of them")
    return flatten(params)


def sources_torch(net, paths) -> dict[str, Source]:
    """Where each parameter of a SongUNet is in PyTorch's file."""
    number = {name: f"all_modules.{i}" for i, (name, _) in enumerate(modules(net))}
    return {path: _source(path, number, LEAVES, ".", kernel, kernel) for path in paths}


def sources_flax(net, paths) -> dict[str, Source]:
    """Where each parameter of a SongUNet is in flax's tree."""
    counts, number = {}, {}
    for name, kind in modules(net):
        number[name] = f"{kind}_{counts.setdefault(kind, 0)}"
        counts[kind] += 1
    leaves = {leaf: leaf for leaf in LEAVES}
    matrix = lambda weight: weight.reshape(weight.shape[-2:]) if weight.shape[:2] == (1, 1) else weight  # noqa: E731
    return {path: _source(path, number, leaves, "/", matrix, lambda weight: weight) for path in paths}


def _source(path, number, leaves, dot, turn, turn_filtered) -> Source:
    """dot joins names; turn: a kernel there into one here, turn_filtered: the same of a filtered convolution."""
    if path == "freqs":
        return Source((number["freqs"] + dot + "W",))
    module, *inside, leaf = path.split("/")
    if inside and inside[0] in ("norm2", "qkv", "proj"):
        return _attention(number[f"{module}/attention"], inside[0], leaf, leaves, dot)
    name = [number[module], *(INSIDE[part] for part in inside)]
    if "aux_skip" in module:
        name.append("Conv_0")
    if "aux_residual" in module:
        name.append("Conv2d_0")
        return Source((dot.join([*name, LEAVES[leaf]]),), turn_filtered if leaf == "kernel" else lambda bias: bias)
    return Source((dot.join([*name, leaves[leaf]]),), turn if leaf == "kernel" else lambda rows: rows)


def _attention(module, part, leaf, leaves, dot) -> Source:
    """NIN_0, 1, 2 give query, key, value, NIN_3 the output; their matrices are [in, out] everywhere."""
    if part == "norm2":
        return Source((dot.join([module, "GroupNorm_0", leaves[leaf]]),))
    name = {"kernel": "W", "bias": "b"}[leaf]
    if part == "proj":
        return Source((dot.join([module, "NIN_3", name]),))
    return Source(tuple(dot.join([module, f"NIN_{i}", name]) for i in range(3)), lambda *qkv: np.concatenate(qkv, -1))


def unused(name: str) -> bool:
    return name == "sigmas"
