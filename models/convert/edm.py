"""Pickles in the form of EDM's (Karras et al. 2022): {"ema": network in its preconditioning}.

The file describes its own network, by the arguments that it was built with.
"""

import numpy as np

from models.convert.tree import Record
from models.convert.weights import LEAVES, Source, heads_first, kernel

NETWORKS = {  # class -> (our name, defaults of the class, which files may omit)
    "SongUNet": (
        "song",
        {
            "model_channels": 128,
            "channel_mult": (1, 2, 2, 2),
            "num_blocks": 4,
            "attn_resolutions": (16,),
            "embedding_type": "positional",
            "channel_mult_noise": 1,
            "encoder_type": "standard",
            "decoder_type": "standard",
            "resample_filter": (1, 1),
        },
    ),
    "DhariwalUNet": (
        "adm",
        {"model_channels": 192, "channel_mult": (1, 2, 3, 4), "num_blocks": 3, "attn_resolutions": (32, 16, 8)},
    ),
}
OPTIONS = {  # the name of an option there -> here
    "img_resolution": "resolution",
    "out_channels": "out_channels",
    "label_dim": "classes",
    "model_channels": "channels",
    "channel_mult": "multipliers",
    "num_blocks": "blocks",
    "attn_resolutions": "attention",
    "embedding_type": "embedding",
    "channel_mult_noise": "noise_multiplier",
    "encoder_type": "encoder",
    "decoder_type": "decoder",
    "resample_filter": "filter",
}
SAMPLING_IGNORES = ("in_channels", "augment_dim", "dropout", "label_dropout")  # and one width, the same in all releases
PRECONDITIONS = {  # class -> name and attributes
    "VPPrecond": ("vp", ("beta_d", "beta_min", "M")),
    "VEPrecond": ("ve", ("sigma_min", "sigma_max")),
    "iDDPMPrecond": ("iddpm", ("C_1", "C_2", "M")),
    "EDMPrecond": ("edm", ("sigma_data",)),
}


def unpack(tree) -> tuple[dict, dict]:
    """(notes, tensors by name) of what `read` found; notes: network, precondition, shape."""
    outer = tree.get("ema") if isinstance(tree, dict) else tree
    if not isinstance(outer, Record) or outer.name not in PRECONDITIONS:
        found = outer.name if isinstance(outer, Record) else type(outer).__name__
        raise ValueError(
            f"the file holds {found}, expected a network of EDM in one of {', '.join(PRECONDITIONS)}: give a file of "
            "EDM's form, or say in model.release what it is"
        )
    name, attributes = PRECONDITIONS[outer.name]
    inner = outer.state["_modules"]["model"]
    network = describe(inner)
    precondition = {"name": name} | {key: outer.state[key] for key in attributes if key in outer.state}
    size, channels = outer.state["img_resolution"], outer.state["img_channels"]
    notes = {"network": network, "precondition": precondition, "shape": [size, size, channels]}
    return notes, dict(tensors_of(outer))


def describe(inner: Record) -> dict:
    """The hyper-parameters of a network, from the arguments that it was built with."""
    if inner.name not in NETWORKS:
        raise ValueError(f"unknown network {inner.name} in the file: known are {', '.join(NETWORKS)}")
    name, defaults = NETWORKS[inner.name]
    given = defaults | {"label_dim": 0} | dict(inner.state["_init_kwargs"])
    foreign = set(given) - set(OPTIONS) - set(SAMPLING_IGNORES) - {"channel_mult_emb"}
    if foreign or given.get("channel_mult_emb", 4) != 4 or inner.state.get("_init_args"):
        raise ValueError(f"{inner.name} was built with {sorted(foreign) or given}, which this reader does not know")
    plain = {OPTIONS[key]: value for key, value in given.items() if key in OPTIONS}
    return {"name": name} | {key: list(v) if isinstance(v, (tuple, list)) else v for key, v in plain.items()}


def tensors_of(record: Record, prefix: str = ""):
    """(name, array) of all parameters and buffers below a module, named as PyTorch's state_dict does."""
    for kind in ("_parameters", "_buffers"):
        for name, value in record.state.get(kind, {}).items():
            if isinstance(value, np.ndarray):
                yield prefix + name, value
    for name, module in record.state.get("_modules", {}).items():
        if isinstance(module, Record):
            yield from tensors_of(module, f"{prefix}{name}.")


def unused(name: str) -> bool:
    """True for tensors that are not needed: augmentation is off, and filters and iDDPM's levels follow from options."""
    return name in ("model.map_augment.weight", "u") or name.endswith(".resample_filter")


def sources(net, paths) -> dict[str, Source]:
    """Where each parameter of a SongUNet or an ADM is in EDM's file."""
    return {path: _source(path, getattr(net, "head", 0)) for path in paths}


def _source(path: str, head: int) -> Source:
    """Names are EDM's, but EDM has a point after enc and dec."""
    if path == "freqs":
        return Source(("model.map_noise.freqs",))
    if path == "map_label":
        return Source(("model.map_label.weight",), kernel)
    name = path.replace("/", ".").replace("enc_", "enc.").replace("dec_", "dec.")
    *module, leaf = f"model.{name}".split(".")
    place, order = (lambda rows: rows), heads_first("hc3", head)
    if module[-1] == "qkv":
        place = order
    names = (".".join([*module, LEAVES[leaf]]),)
    return Source(names, lambda rows: kernel(place(rows)) if leaf == "kernel" else place(rows))
