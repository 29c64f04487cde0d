"""The checkpoints of guided diffusion (Dhariwal and Nichol 2021): state_dicts of its U-Net and its noisy classifier."""

import numpy as np

from models.adm import decoding, encoding
from models.convert.weights import LEAVES, Source, heads_first, kernel

BLOCK = {  # a part of a block here -> there, in its first sequence
    "norm0": "in_layers.0",
    "conv0": "in_layers.2",
    "affine": "emb_layers.1",
    "norm1": "out_layers.0",
    "conv1": "out_layers.3",
    "skip": "skip_connection",
}
ATTENTION = {"norm2": "norm", "qkv": "qkv", "proj": "proj_out"}  # ..., in its second sequence
TOP = {"map_layer0": "time_embed.0", "map_layer1": "time_embed.2", "out_norm": "out.0", "out_conv": "out.2"}
POOL = {"qkv": "out.2.qkv_proj", "proj": "out.2.c_proj"}


def unpack(tree) -> dict:
    """Tensors by name."""
    if not isinstance(tree, dict) or not all(isinstance(value, np.ndarray) for value in tree.values()):
        raise ValueError("the file is no state_dict, tensors by name, as guided diffusion's are: give one of those")
    return {name: value for name, value in tree.items() if isinstance(value, np.ndarray)}


def places(net) -> dict[str, tuple[str, int]]:
    """Block here -> (sequence there, its number in the sequence). Attention is what comes next."""
    found = {f"enc_{part.name}": (f"input_blocks.{i}", 0) for i, part in enumerate(encoding(net))}
    first, second, *rest = decoding(net)
    found |= {f"dec_{first.name}": ("middle_block", 0), f"dec_{second.name}": ("middle_block", 2)}
    number, before = -1, second
    for part in rest:
        number += part.pops  # an upsampling is at the end of the sequence before
        found[f"dec_{part.name}"] = (f"output_blocks.{number}", 0 if part.pops else 1 + before.attention)
        before = part
    return found


def sources(net, paths, order="h3c") -> dict[str, Source]:
    """Where each parameter is; order of query, key, value: h3c, or 3hc in networks with the new attention order."""
    found, permute = places(net), heads_first(order, net.head)
    return {path: _source(path, found, permute) for path in paths}


def _source(path, found, permute) -> Source:
    if path == "map_label":
        return Source(("label_emb.weight",))
    if path == "positions":
        return Source(("out.2.positional_embedding",), np.transpose)
    module, *inside, leaf = path.split("/")
    turn = kernel if leaf == "kernel" else lambda rows: rows
    if module in TOP or module in POOL:
        return Source((f"{(TOP | POOL)[module]}.{LEAVES[leaf]}",), turn)
    sequence, number = found[module]
    if not inside:  # the first convolution
        return Source((f"{sequence}.0.{LEAVES[leaf]}",), turn)
    if inside[0] in ATTENTION:
        name = f"{sequence}.{number + 1}.{ATTENTION[inside[0]]}.{LEAVES[leaf]}"
        return Source((name,), (lambda rows: turn(permute(rows))) if inside[0] == "qkv" else turn)
    return Source((f"{sequence}.{number}.{BLOCK[inside[0]]}.{LEAVES[leaf]}",), turn)
