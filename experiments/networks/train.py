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

import jax
import numpy as np

import models
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.networks import log as losses
from experiments.networks import step
from experiments.networks import step as updates
from experiments.support import scores as report
from models import checkpoint
from solvers import fingerprint

# what decides the sequence of losses: a run can only go on with the same
IDENTITY = {
    "model": ("name", "channels", "multipliers", "blocks", "dtype"),
    "data": ("name",),
    "train": (
        "init",
        "optimizer",
        "steps",
        "batch",
        "seed",
        "learning_rate",
        "warmup",
        "ema_images",
        "label_dropout",
        "p_mean",
        "p_std",
        "uniform_share",
    ),
}


def identity(config: dict) -> dict:
    """The part of a resolved config that IDENTITY names, flat."""
    return {f"{section}.{key}": config.get(section, {}).get(key) for section, keys in IDENTITY.items() for key in keys}


def claim(workdir: Path, config) -> None:
    """Make the workdir this run's own: write config.json, or compare it with the one of the run that is there."""
    path, mine = workdir / "config.json", json.loads(config.to_json_best_effort())
    if any((workdir / "checkpoints").glob("*")):
        if not path.is_file():
            raise ValueError(f"{workdir} holds checkpoints but no config.json to compare with: use a new --workdir")
        old, new = identity(json.loads(path.read_text())), identity(mine)
        if old != new:
            keys = ", ".join(f"{key} = {old[key]} there, {new[key]} now" for key in sorted(new) if old[key] != new[key])
            raise ValueError(
                f"{workdir} belongs to a run of another config ({keys}): give another --workdir, or the "
                "run's own config to go on with it"
            )
    report.write_config(path, config)


class Writer:
    """What a run leaves in its workdir. Rows come before the checkpoint that they lead to."""

    def __init__(self, workdir: Path, checkpoints, start: int, c, schedule, meta: dict):
        self.workdir, self.checkpoints, self.meta = workdir, checkpoints, meta
        self.batch, self.schedule = c.batch, schedule
        self.snapshots = updates.snapshot_steps(c.steps, c.snapshots)
        self.saves = {*range(c.save_every, c.steps, c.save_every), c.steps}
        self.log = losses.Log(workdir / "metrics.jsonl", start)
        self.bar = Progress(total=c.steps, initial=start, desc="train", unit="step")

    def rows(self, steps: range, loss, norm) -> None:
        loss = np.asarray(loss)
        self.log.append(steps, loss, np.asarray(norm), self.batch, self.schedule)
        self.bar.set_postfix(loss=f"{loss.mean():.4f}", refresh=False)
        self.bar.update(len(steps))

    @property
    def stops(self) -> set[int]:
        """The steps after which there is something to write."""
        return self.saves.union(self.snapshots)

    def stop(self, state) -> None:
        step = int(state.step)
        meta = self.meta | {"steps": step, "images": step * self.batch}
        if step in self.snapshots:
            models.save_params(self.workdir / "snapshots" / f"{step:08d}.npz", state.ema, meta)
        if step in self.saves:
            if self.checkpoints.latest_step() != step:
                checkpoint.save_state(self.checkpoints, step, state)
            models.save_params(self.workdir / "params.npz", state.ema, meta)
            losses.plot(self.log.path, self.workdir / "loss.png")


def prepare(config, images, labels, classes, mesh):
    """(update, fresh state, learning rate schedule, notes for params.npz) of a config and its training images."""
    c = config.train
    network = {
        "name": config.model.name,
        "channels": config.model.channels,
        "blocks": config.model.blocks,
        "multipliers": list(config.model.multipliers),
        "classes": classes,
    }
    module = models.build(network, config.model.dtype)
    optimiser, schedule = updates.optimizer(c.optimizer, c.learning_rate, c.warmup, c.steps)
    sigma_data = float(pixels.to_float(images).std(dtype=np.float64))
    update = updates.make_update(
        module,
        optimiser,
        mesh,
        sigma_data=sigma_data,
        batch=c.batch,
        seed=c.seed,
        ema_images=c.ema_images,
        label_dropout=c.label_dropout,
        p_mean=c.p_mean,
        p_std=c.p_std,
        uniform_share=c.uniform_share,
    )
    meta = {
        "network": network,
        "sigma_data": sigma_data,
        "shape": list(images.shape[1:]),
        "data": config.data.name,
        "data_sha256": fingerprint.checksum(images, labels),
        "seed": c.seed,
    }
    params, before = first_params(c.init, module, network, c.seed, images.shape[1:])
    return update, updates.init_state(optimiser, params, mesh), schedule, meta | before


def first_params(path: str, module, network: dict, seed: int, shape) -> tuple[dict, dict]:
    """The parameters that a run starts from, random or those of a file, and what params.npz shall say of them."""
    if not path:
        return models.init(module, seed, shape), {}
    params, meta = models.load_params(path)
    if meta["network"] != network:
        raise ValueError(
            f"train.init = {path} holds the network {meta['network']}, the config asks for {network}: "
            "make the model keys of the config equal, or start from random parameters (train.init empty)"
        )
    return params, {"images_before": meta.get("images", 0) + meta.get("images_before", 0)}


def run(config, workdir) -> dict:
    """Train as `config` says, or go on with the run in `workdir`. Returns the summary that it prints."""
    workdir, c = Path(workdir), config.train
    images, labels, *_, classes = datasets.load(config.data.name, config.data.path)
    mesh = updates.make_mesh(c.devices, c.batch)
    update, state, schedule, meta = prepare(config, images, labels, classes, mesh)
    claim(workdir, config)

    def feed(steps: range):
        index = step.batch_indices(len(images), c.batch, steps, c.seed)
        return images[index], labels[index]

    with checkpoint.manager(workdir / "checkpoints") as checkpoints:
        state = updates.State(*(checkpoint.restore_state(checkpoints, state) or state))
        start, began = int(state.step), time.perf_counter()
        writer = Writer(workdir, checkpoints, start, c, schedule, meta)
        if start == 0:
            writer.stop(state)
        state = updates.fit(
            state,
            updates.make_chunk(update, mesh),
            feed,
            updates.ranges(start, c.steps, c.chunk, writer.stops),
            stops=writer.stops,
            on_rows=writer.rows,
            on_stop=writer.stop,
        )
        seconds = time.perf_counter() - began
        writer.stop(state)  # once more, lest a kill came between the last checkpoint and the files that follow it
        writer.bar.close()
    return summarise(state, workdir, (c.steps - start) * c.batch / seconds)


def summarise(state, workdir: Path, speed: float) -> dict:
    rows = losses.read(workdir / "metrics.jsonl")
    summary = {
        "parameters": sum(p.size for p in jax.tree.leaves(state.params)),
        "steps": len(rows),
        "images": rows[-1]["images"],
        "loss": float(np.mean([row["loss"] for row in rows[-1000:]])),
        "images_per_second": round(speed, 1),
    }
    files.write_json(workdir / "results.json", summary)
    print(
        f"trained {summary['parameters'] / 1e6:.2f} M parameters on {summary['images']} images ({speed:.0f} images/s "
        f"in this session); mean loss of the last steps {summary['loss']:.4f}"
    )
    return summary
