"""Train the network on images: EDM loss, Adam, parameter average; resumable at any moment.

    python main.py --config=configs/fashion_mnist.py --config.experiment=train --workdir=/tmp/run

Batches and random numbers are functions of (seed, step) alone, so a run that is killed and started again with the
same command goes on from its newest checkpoint to the same sequence of losses. The workdir holds config.json,
metrics.jsonl (one row per step: step, loss, norm of the gradient, images, lr), checkpoints/, and, written with each
checkpoint, loss.png and params.npz (the averaged parameters: what sampling takes). With train.snapshots = N also
snapshots/STEP.npz, the averaged parameters at N steps spaced logarithmically: what the experiment `learning` follows.
"""

import json
import time
from pathlib import Path

import numpy as np

import models
from configs.sections import Train
from experiments import build
from experiments.data import datasets, pixels
from experiments.data.arrays import Dataset
from experiments.networks import loop, step
from experiments.networks.record import Writer, claim, summarise
from models import checkpoint
from solvers import fingerprint


def run(config, workdir) -> dict:
    """Trains, or goes on with the training in `workdir`. Returns the summary that it prints."""
    workdir, own = Path(workdir), build.settings(config.train, Train)
    claim(workdir, json.loads(config.to_json_best_effort()))
    data = datasets.load(config.data.name, config.data.path)
    network = {key: config.model[key] for key in ("name", "channels", "blocks")}
    network |= {"multipliers": list(config.model.multipliers), "classes": data.classes}
    mesh = step.batch_mesh(own.devices, own.batch)
    module = models.build(network, config.model.dtype)
    params, before = first_params(own.init, module, network, own.seed, data.train.shape[1:])
    optimiser, schedule = step.optimizer(own.optimizer, own.learning_rate, own.warmup, own.steps)
    meta = {"network": network, "data": config.data.name, "seed": own.seed} | describe(data) | before

    def feed(steps: range):
        index = loop.batch_indices(len(data.train), own.batch, steps, own.seed)
        return data.train[index], data.labels[index]

    with checkpoint.manager(workdir / "checkpoints") as checkpoints:
        fresh = step.init_state(optimiser, params, mesh)
        state = step.State(*(checkpoint.restore_state(checkpoints, fresh) or fresh))
        start, began = int(state.step), time.perf_counter()
        writer = Writer(workdir, checkpoints, start, own, schedule, meta)
        if start == 0:
            writer.stop(state)
        chunk = step.make_chunk(step.make_update(module, optimiser, mesh, meta["sigma_data"], own), mesh)
        state = loop.fit(state, chunk, feed, loop.ranges(start, own.steps, own.chunk, writer.stops), writer)
        seconds = time.perf_counter() - began
        writer.stop(state)  # again: a kill may have come between the last checkpoint and the files that follow it
        writer.bar.close()
    return summarise(state, workdir, (own.steps - start) * own.batch / seconds)


def describe(data: Dataset) -> dict:
    """The entries of params.npz on the training images: their spread, shape and checksum."""
    sigma_data = float(pixels.to_float(data.train).std(dtype=np.float64))
    checksum = fingerprint.checksum(data.train, data.labels)
    return {"sigma_data": sigma_data, "shape": list(data.train.shape[1:]), "data_sha256": checksum}


def first_params(path: str, module, network: dict, seed: int, shape) -> tuple[dict, dict]:
    """The initial parameters of a run, random or from a file, and the entries of params.npz on their origin."""
    if not path:
        return models.init(module, seed, shape), {}
    params, meta = models.load_params(path)
    if meta["network"] != network:
        raise ValueError(
            f"train.init = {path} holds the network {meta['network']}, the config asks for {network}: "
            "make the model keys of the config equal, or start from random parameters (train.init empty)"
        )
    return params, {"images_before": meta.get("images", 0) + meta.get("images_before", 0)}
