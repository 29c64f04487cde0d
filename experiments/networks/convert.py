"""Converts a publisher's checkpoint into a parameter file of this project, with a card that describes it.

    python main.py --config=configs/cifar10.py --config.experiment=convert

Takes what `model.checkpoint` or `model.address` names, without executing anything in it, and writes params.npz, to be
named by model.checkpoint, and card.json, which is printed. With the file comes where it is from: name, SHA-256,
release. The network is evaluated once, on noise: one that is not finite is an error here, and not in a sample.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import models
from experiments import build
from experiments.data import files
from experiments.support.errors import ConfigError, config_errors
from solvers.schedule import EDM

BATCH = 64  # images for which the memory is stated
LEVELS = 3  # of noise, at which the network is tried


def run(config, workdir) -> dict:
    workdir = Path(workdir)
    params, meta = build.load_checkpoint(config)
    with config_errors():
        card = describe(params, meta, config.model.dtype)
    models.save_params(workdir / "params.npz", params, meta)
    files.write_json(workdir / "card.json", card)
    print("\n".join(f"{name:14} {_text(value)}" for name, value in card.items()))
    print(f"in the form of this project: --config.model.checkpoint={workdir / 'params.npz'}")
    return card


def describe(params, meta, dtype) -> dict:
    """The card: the file's origin, the network, its memory, and its outputs on noise."""
    known, shape = models.preconditioning(meta), meta["shape"]
    evaluate = jax.jit(evaluator(meta, dtype))
    given = (jax.ShapeDtypeStruct(size, kind) for size, kind in zip(((BATCH, *shape), (BATCH,), (BATCH,)), "ffi"))
    memory = evaluate.lower(jax.eval_shape(lambda: params), *given).compile().memory_analysis()
    card = dict(meta.get("source", {})) | {"network": meta["network"], "precondition": meta.get("precondition")}
    card |= {"shape": shape, "noise levels": f"{known.low:.6g} to {known.high:.6g}", "precision": dtype}
    card["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(params))
    megabytes = {"parameters": memory.argument_size_in_bytes, "working memory": memory.temp_size_in_bytes}
    card[f"batch of {BATCH}"] = {name: f"{size / 1e6:.0f} MB" for name, size in megabytes.items()}
    return card | {"on noise": _try(evaluate, params, shape, known)}


def evaluator(meta, dtype):
    """evaluate(params, x [B, *shape], sigma [B], labels [B]) -> x0 [B, *shape]; a classifier: log p(labels | x) [B]."""
    if meta["network"]["name"] != "adm_classifier":
        return lambda params, *args: models.denoisers(meta, dtype)(params)(*args)
    make = models.noisy_classifier(meta, EDM(), dtype)
    return lambda params, x, sigma, labels: jax.vmap(make(params))(labels, x, sigma)


def _try(evaluate, params, shape, known) -> dict:
    """The root mean square of its output (x0 or log p) on noise at a few levels: {sigma: number}."""
    sigma = np.geomspace(max(known.low, 0.01), min(known.high, 80.0), LEVELS).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((LEVELS, *shape)).astype(np.float32)
    x = sigma.reshape(-1, *(1,) * len(shape)) * noise
    found = np.asarray(evaluate(params, jnp.asarray(x), sigma, np.zeros(LEVELS, np.int32)))
    if not np.isfinite(found).all():
        raise ConfigError(
            "the network is not finite on noise: the file is damaged, or of another network; with model.dtype="
            "bfloat16, try float32"
        )
    size = np.sqrt(np.mean(np.square(found.reshape(LEVELS, -1)), axis=1))
    return {f"sigma {level:.3g}": f"{value:.3g}" for level, value in zip(sigma, size)}


def _text(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(own)}" for name, own in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
