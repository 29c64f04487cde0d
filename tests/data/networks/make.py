"""Writes the numbers of this folder: outputs of the original networks with the weights of tests/seeded.py.

    PYTHONPATH=EDM:GUIDED_DIFFUSION:SCORE_SDE_PYTORCH:. python tests/data/networks/make.py

needs PyTorch and the three original repositories. `flax` needs consistency_models_cifar10 instead, and no PyTorch:

    PYTHONPATH=CONSISTENCY_MODELS_CIFAR10:. python tests/data/networks/make.py flax

Each file holds the names and shapes of the original's tensors, what it was called with, and what came out.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

from tests import seeded

FOLDER = Path(__file__).parent
SIGMA = np.array([0.02, 0.7, 30.0], np.float32)
SMALL = {"model_channels": 32, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8]}
NCSNPP = {"embedding_type": "fourier", "channel_mult_noise": 2, "resample_filter": [1, 3, 3, 1]}
EDM_CASES = {  # precondition, options
    "edm_ddpmpp_vp": ("VPPrecond", SMALL | {"augment_dim": 9}),
    "edm_ddpmpp_edm_cond": ("EDMPrecond", SMALL | {"label_dim": 10, "model_type": "SongUNet"}),
    "edm_ncsnpp_ve": ("VEPrecond", SMALL | NCSNPP | {"encoder_type": "residual"}),
    "edm_ncsnpp_skip_edm": (
        "EDMPrecond",
        SMALL | NCSNPP | {"encoder_type": "skip", "decoder_type": "skip", "model_type": "SongUNet"},
    ),
    "edm_adm_edm": ("EDMPrecond", SMALL | {"model_channels": 64}),
    "edm_adm_iddpm_cond": ("iDDPMPrecond", SMALL | {"model_channels": 64, "label_dim": 7}),
}
NEW_ORDER = {"use_new_attention_order": True}
GUIDED = {"num_channels": 128, "num_res_blocks": 1, "channel_mult": "1,2", "attention_resolutions": "8"}
GUIDED_CASES = {
    "guided": {"class_cond": False, "learn_sigma": True},
    "guided_cond_new_order": {"class_cond": True, "learn_sigma": True} | NEW_ORDER,
}
SCORE_SDE = {
    "data": {"image_size": 16, "num_channels": 3, "centered": True},
    "training": {"continuous": True},
    "model": {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (8,), "resamp_with_conv": True}
    | {"conditional": True, "fir": False, "fir_kernel": [1, 3, 3, 1], "skip_rescale": True, "resblock_type": "biggan"}
    | {"progressive": "none", "progressive_input": "none", "progressive_combine": "sum", "attention_type": "ddpm"}
    | {
        "init_scale": 0.0,
        "double_heads": False,
        "embedding_type": "positional",
        "fourier_scale": 16,
        "conv_size": 3,
        "dropout": 0.1,
    }
    | {"scale_by_sigma": False, "sigma_min": 0.01, "sigma_max": 50, "num_scales": 1000, "nonlinearity": "swish"}
    | {"normalization": "GroupNorm", "beta_min": 0.1, "beta_max": 20.0},
}
NCSNPP_FLAX = {"fir": True, "progressive_input": "residual", "embedding_type": "fourier"}


def save(name, shapes, *, weights_of=None, **arrays):
    text = json.dumps({key: list(shape) for key, shape in shapes.items()})
    np.savez_compressed(FOLDER / f"{name}.npz", shapes=text, **arrays)
    print(name, len(shapes), {key: np.shape(value) for key, value in arrays.items()})


def fill(net, keep=("resample_filter", "u", "sigmas")):
    """Seeded weights; buffers that follow from the options stay. All names and shapes, with what stays."""
    import torch

    state = net.state_dict()
    for key, value in state.items():
        if not key.endswith(keep):
            value.copy_(torch.from_numpy(seeded.weights(key, tuple(value.shape))))
    return {key: tuple(value.shape) for key, value in state.items()}


def nchw(x):
    import torch

    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


def nhwc(x):
    return x.detach().numpy().transpose(0, 2, 3, 1).astype(np.float32)


def edm():
    import torch
    from training import networks

    for name, (kind, options) in EDM_CASES.items():
        net = getattr(networks, kind)(img_resolution=16, img_channels=3, **options).eval()
        shapes, classes = fill(net), options.get("label_dim", 0)
        labels = np.array([1, 3, classes])
        onehot = torch.from_numpy(np.eye(classes + 1, dtype=np.float32)[labels][:, :-1]) if classes else None
        with torch.no_grad():
            out = net(nchw(seeded.inputs(3, 16)), torch.from_numpy(SIGMA), onehot)
        own = {"precondition": kind, "network": type(net.model).__name__, "options": options}
        save(name, shapes, about=json.dumps(own), out=nhwc(out), labels=labels)


def guided():
    import torch
    from guided_diffusion import script_util, unet

    time = np.array([0.0, 333.3, 999.0], np.float32)
    for name, options in GUIDED_CASES.items():
        given = script_util.model_and_diffusion_defaults() | GUIDED | options
        given |= {"image_size": 16, "num_head_channels": 64, "resblock_updown": True, "use_scale_shift_norm": True}
        names = script_util.create_model.__code__.co_varnames[: script_util.create_model.__code__.co_argcount]
        net = script_util.create_model(**{key: given[key] for key in names}).eval()
        shapes, labels = fill(net), np.array([1, 500, 999])
        with torch.no_grad():
            y = torch.from_numpy(labels) if options["class_cond"] else None
            out = net(nchw(seeded.inputs(3, 16)), torch.from_numpy(time), y)
        save(name, shapes, about=json.dumps(options), out=nhwc(out), time=time, labels=labels)
    net = unet.EncoderUNetModel(
        *(16, 3, 128, 1000, 1, (2,)),
        channel_mult=(1, 2),
        num_head_channels=64,
        use_scale_shift_norm=True,
        resblock_updown=True,
        pool="attention",
    ).eval()
    shapes, x, labels = fill(net), nchw(seeded.inputs(3, 16)).requires_grad_(True), np.array([1, 500, 999])
    logits = net(x, torch.from_numpy(time))
    log_prob = torch.log_softmax(logits, -1)[range(3), labels].sum()
    gradient = torch.autograd.grad(log_prob, x)[0]
    save("guided_classifier", shapes, out=logits.detach().numpy(), gradient=nhwc(gradient), time=time, labels=labels)


def config_of(changes):
    from ml_collections import ConfigDict

    return ConfigDict(SCORE_SDE | {"model": SCORE_SDE["model"] | changes})


def score_sde():
    import torch

    from models import ncsnpp

    time = np.array([0.1, 200.0, 999.0], np.float32)
    net = ncsnpp.NCSNpp(config_of({})).eval()
    shapes = fill(net)
    with torch.no_grad():
        out = net(nchw(seeded.inputs(3, 16)), torch.from_numpy(time))
    save("score_sde", shapes, out=nhwc(out), time=time)


def flax():
    import jax
    from flax.traverse_util import flatten_dict, unflatten_dict
    from jcm.models import ncsnpp

    cases = {"score_sde_flax": ({}, [0.1, 200.0, 999.0]), "jcm_flax": (NCSNPP_FLAX, [-1.5, 0.0, 1.1])}
    for name, (changes, time) in cases.items():
        net, time = ncsnpp.NCSNpp(config_of(changes)), np.array(time, np.float32)
        params = jax.eval_shape(partial(net.init, train=False), jax.random.key(0), seeded.inputs(3, 16), time)["params"]
        shapes = {key: leaf.shape for key, leaf in flatten_dict(params, sep="/").items()}
        filled = unflatten_dict({key: seeded.weights(key, shape) for key, shape in shapes.items()}, sep="/")
        out = net.apply({"params": filled}, seeded.inputs(3, 16), time, False)
        save(name, shapes, out=np.asarray(out), time=time)


if __name__ == "__main__":
    for part in sys.argv[1:] or ["edm", "guided", "score_sde"]:
        globals()[part]()
