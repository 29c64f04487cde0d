"""Networks that publishers released, and `load`, which makes parameters and notes for our network from their file."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from models import build
from models.convert import edm, guided, score_sde, weights
from models.convert.read import read
from solvers.fingerprint import checksum_of_file

DDPMPP_DEEP = {
    "name": "song",
    "resolution": 32,
    "channels": 128,
    "multipliers": [1, 2, 2, 2],
    "blocks": 8,
    "attention": [16],
    "classes": 0,
}
NCSNPP_EDM = {
    "name": "song",
    "resolution": 32,
    "channels": 128,
    "multipliers": [2, 2, 2],
    "blocks": 4,
    "attention": [16],
    "classes": 0,
    "embedding": "fourier",
    "noise_multiplier": 2,
    "encoder": "residual",
    "filter": [1, 3, 3, 1],
}
LEVELS_256 = {
    "resolution": 256,
    "multipliers": [1, 1, 2, 2, 4, 4],
    "blocks": 2,
    "attention": [32, 16, 8],
    "classes": 1000,
}
GUIDED_256 = {"name": "adm", "out_channels": 6, "channels": 256} | LEVELS_256
CLASSIFIER_256 = {"name": "adm_classifier", "channels": 128} | LEVELS_256
LINEAR = {"name": "ddpm", "first": 1e-4, "last": 0.02, "count": 1000}


class Release(NamedTuple):
    """unpack(tree) -> tensors by name; sources(net, paths): where each parameter is among them."""

    unpack: Callable
    sources: Callable
    network: dict
    precondition: dict
    unused: Callable = lambda name: False


RELEASES = {  # for files that do not describe their network; EDM's files do
    "score_sde_ddpmpp_deep": Release(
        score_sde.unpack_torch, score_sde.sources_torch, DDPMPP_DEEP, {"name": "vp"}, score_sde.unused
    ),
    "score_sde_ddpmpp_deep_flax": Release(score_sde.unpack_flax, score_sde.sources_flax, DDPMPP_DEEP, {"name": "vp"}),
    "consistency_edm_flax": Release(
        score_sde.unpack_flax, score_sde.sources_flax, NCSNPP_EDM, {"name": "edm", "sigma_data": 0.5}
    ),
    "guided_256": Release(guided.unpack, guided.sources, GUIDED_256, LINEAR),
    "guided_256_uncond": Release(guided.unpack, guided.sources, GUIDED_256 | {"classes": 0}, LINEAR),
    "guided_256_classifier": Release(guided.unpack, guided.sources, CLASSIFIER_256, LINEAR),
}


def load(path, release: str = "") -> tuple[dict, dict]:
    """(params, meta) of a publisher's file, as `models.load_params` gives them of a file written here.

    release: a name of RELEASES; empty for a file in EDM's form, which describes its own network. Nothing in the file
    is executed (read.py). meta["source"] has the file's name, its SHA-256 and its size. ValueError for a file that is
    damaged, of another kind, or of another network.
    """
    if release and release not in RELEASES:
        raise ValueError(f"unknown release {release!r}: known are {', '.join(RELEASES)}, and empty for EDM's form")
    tree = read(path)  # errors of read name the path already
    try:
        if release:
            known = RELEASES[release]
            size = known.network["resolution"]
            notes: dict = {"network": known.network, "precondition": known.precondition, "shape": [size, size, 3]}
            tensors, sources, unused = known.unpack(tree), known.sources, known.unused
        else:
            (notes, tensors), sources, unused = edm.unpack(tree), edm.sources, edm.unused
        net = build(notes["network"])
        shapes = weights.shapes_of(net, notes["shape"][-1])
        params = weights.convert(sources(net, shapes), tensors, shapes, unused)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    source = {"release": release or "edm", "parameters": sum(leaf.size for leaf in jax.tree.leaves(params))}
    return params, notes | {"source": identity(path) | source}


def identity(path) -> dict:
    """The name, SHA-256 and size of a file; for a folder, the name alone."""
    path = Path(path)
    if path.is_dir():
        return {"file": path.name}
    return {"file": path.name, "sha256": checksum_of_file(path), "bytes": path.stat().st_size}
