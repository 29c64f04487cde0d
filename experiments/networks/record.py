"""Checks which run a workdir belongs to, and writes the files of a training."""

import json
from pathlib import Path

import jax
import numpy as np

import models
from experiments.data import files
from experiments.data.progress import Progress
from experiments.networks import log
from experiments.networks.loop import snapshot_steps
from models import checkpoint

# What decides the sequence of losses: a run can only go on with the same
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


def identity(resolved: dict) -> dict:
    """The part of a resolved config that IDENTITY names, flat."""
    return {
        f"{section}.{key}": resolved.get(section, {}).get(key) for section, keys in IDENTITY.items() for key in keys
    }


def claim(workdir: Path, mine: dict) -> None:
    """Compares a resolved config with that of the run whose checkpoints are in the workdir; ValueError for another."""
    path = workdir / "config.json"
    if not any((workdir / "checkpoints").glob("*")):
        return
    if not path.is_file():
        raise ValueError(f"{workdir} holds checkpoints but no config.json to compare with: use a new --workdir")
    old, new = identity(json.loads(path.read_text())), identity(mine)
    if old != new:
        keys = ", ".join(f"{key} = {old[key]} there, {new[key]} now" for key in sorted(new) if old[key] != new[key])
        raise ValueError(
            f"{workdir} belongs to a run of another config ({keys}): give another --workdir, or the "
            "run's own config to go on with it"
        )


class Writer:
    """Writes the log, checkpoints, snapshots and params.npz. Rows come before the checkpoint that they lead to.

    own: the section `train` of the config; schedule: of the learning rate; meta: what params.npz says of itself.
    """

    def __init__(self, workdir: Path, checkpoints, start: int, own, schedule, meta: dict):
        self.workdir, self.checkpoints, self.meta = workdir, checkpoints, meta
        self.batch, self.schedule = own.batch, schedule
        self.snapshots = snapshot_steps(own.steps, own.snapshots)
        self.saves = {*range(own.save_every, own.steps, own.save_every), own.steps}
        self.log = log.Log(workdir / "metrics.jsonl", start)
        self.bar = Progress(total=own.steps, initial=start, desc="train", unit="step")

    def rows(self, steps: range, loss, norm) -> None:
        loss = np.asarray(loss)
        self.log.append(steps, loss, np.asarray(norm), self.batch, self.schedule)
        self.bar.set_postfix_str(f"loss={loss.mean():.4f}", refresh=False)
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
            log.plot(self.log.path, self.workdir / "loss.png")


def summarise(state, workdir: Path, speed: float) -> dict:
    """Writes results.json and prints it; speed: images per second, of this start."""
    rows = log.read(workdir / "metrics.jsonl")
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
