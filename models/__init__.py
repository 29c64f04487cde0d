"""Networks, their parameters, and the functions that make denoisers of them; the wrappers of solvers.model as well."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from models.adm import ADM, ADMClassifier
from models.checkpoint import load_params, save_params
from models.classifier import noisy
from models.precision import rounded
from models.precondition import PRECONDITIONINGS, Preconditioning, denoise
from models.song import SongUNet
from models.unet import UNet
from solvers.model import (
    TIME_UNITS,
    as_prediction,
    bind,
    check_model,
    classifier_guidance,
    dynamic_threshold,
    guided,
    in_basis,
    mean_only,
    static_threshold,
    time_units,
)

NETWORKS = {"unet": UNet, "song": SongUNet, "adm": ADM, "adm_classifier": ADMClassifier}
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: the precision of the parameters

__all__ = [
    "ADM",
    "NETWORKS",
    "PRECONDITIONINGS",
    "TIME_UNITS",
    "ADMClassifier",
    "SongUNet",
    "UNet",
    "as_prediction",
    "bind",
    "build",
    "check_model",
    "classifier_guidance",
    "denoise",
    "denoisers",
    "dynamic_threshold",
    "guided",
    "in_basis",
    "init",
    "load",
    "load_params",
    "mean_only",
    "noisy_classifier",
    "preconditioning",
    "save_params",
    "static_threshold",
    "time_units",
]


def build(network: dict, dtype: str = "float32"):
    """The flax module of `network`, a dictionary of its name and hyper-parameters, as `meta["network"]` holds it."""
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in network.items()}
    name = options.pop("name", None)
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}: known are {', '.join(NETWORKS)}")
    if dtype not in DTYPES:
        raise ValueError(f"unknown precision {dtype!r} of the network: known are {', '.join(DTYPES)}")
    return NETWORKS[name](**options, dtype=DTYPES[dtype])


def init(module: UNet, seed: int, shape) -> dict:
    """Fresh parameters for images of `shape` [H, W, C]. Jitted: an eager init takes 25 s of small compilations."""
    x, one = jnp.zeros((1, *shape)), jnp.zeros((1,))
    return jax.jit(lambda: module.init(jax.random.key(seed), x, one, one.astype(jnp.int32))["params"])()


def load(path, dtype: str = "float32") -> tuple[dict, Callable]:
    """The parameters of a file or of the folder of a run, and their use: `params, make_denoiser = load("params.npz")`.

    `make_denoiser(params) -> denoiser(x [B, H, W, C], sigma [B], labels [B]) -> x0`: call it inside jit with params
    as an argument, or they are compiled into the program as constants.
    """
    params, meta = load_params(path)
    return params, denoisers(meta, dtype)


def denoisers(meta: dict, dtype: str = "float32") -> Callable:
    """The `make_denoiser(params)` of the network that the notes of a parameter file describe.

    It rounds the parameters to `dtype`: call it outside of a loop of evaluations.
    """
    if meta["network"].get("name") == "adm_classifier":
        raise ValueError("the file holds a classifier of noisy images, which denoises nothing: it is for guidance")
    module, condition = build(meta["network"], dtype), preconditioning(meta)

    def make(params):
        variables = {"params": rounded(params, module.dtype)}
        return denoise(lambda *args: module.apply(variables, *args), condition)

    return make


def noisy_classifier(meta: dict, schedule, dtype: str = "float32") -> Callable:
    """The `make_log_prob(params) -> log_prob(label, x [*D], t)` of the noisy classifier that the notes describe.

    Call it outside of a loop of evaluations, as `denoisers`.
    """
    if meta["network"].get("name") != "adm_classifier":
        raise ValueError(f"{meta['network'].get('name')!r} is no classifier of noisy images: give an adm_classifier")
    return noisy(build(meta["network"], dtype), preconditioning(meta), schedule)


def preconditioning(meta: dict) -> Preconditioning:
    """The preconditioning that the notes of a parameter file name; EDM's for a network trained here."""
    options = dict(meta.get("precondition") or {"name": "edm", "sigma_data": meta["sigma_data"]})
    name = options.pop("name", None)
    if name not in PRECONDITIONINGS:
        raise ValueError(f"unknown preconditioning {name!r}: known are {', '.join(PRECONDITIONINGS)}")
    return PRECONDITIONINGS[name](**options)
