"""Parameter files (one .npz that also describes the network) and the checkpoints of a training run (Orbax)."""

import json
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np

from solvers import npz

META = "__meta__"


def flatten(tree: dict, prefix: str = "") -> dict:
    """Nested dictionaries of arrays -> one dictionary with '/'-joined keys."""
    flat = {}
    for key, value in tree.items():
        flat.update(flatten(value, f"{prefix}{key}/") if hasattr(value, "items") else {f"{prefix}{key}": value})
    return flat


def unflatten(flat: dict) -> dict:
    """The inverse of `flatten`."""
    tree: dict = {}
    for path, value in flat.items():
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = value
    return tree


def save_params(path, params: dict, meta: dict) -> None:
    """Writes parameters and `meta` (JSON; `meta["network"]` holds the network's hyper-parameters) to one .npz."""
    arrays = {key: np.asarray(value) for key, value in flatten(params).items()}
    arrays[META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    npz.write(path, arrays, compress=False)  # parameters hardly shrink


def load_params(path) -> tuple[dict, dict]:
    """Reads a file of `save_params`, or params.npz in the folder of a training run: (params, meta).

    FileNotFoundError if there is none; ValueError if it is truncated, corrupted or of another kind.
    """
    remedy = "copy it again, or write it anew with --config.experiment=train (or classifier)"
    path = Path(path) / "params.npz" if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no parameter file {path}: give the .npz of a training run, or train one")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated, corrupted or no .npz file ({error}): {remedy}") from error
    if META not in arrays:
        raise ValueError(f"{path} is an .npz file but holds no parameters of a network ({META} is missing): {remedy}")
    try:
        meta = json.loads(arrays.pop(META).tobytes())
    except ValueError as error:
        raise ValueError(f"the notes in {path} are no JSON ({error}): {remedy}") from error
    if "network" not in meta or not arrays:
        raise ValueError(f"{path} does not describe its network (its notes are {sorted(meta)}): {remedy}")
    return unflatten(arrays), meta


def manager(folder, keep: int = 2):
    """Orbax's manager of the checkpoints in a folder; the newest `keep` stay.

    A save is complete or invisible.
    """
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    return ocp.CheckpointManager(Path(folder).absolute(), options=options)


def save_state(checkpoints, step: int, state) -> None:
    """Saves a pytree of arrays as the checkpoint of `step`; returns when it is on the disk."""
    import orbax.checkpoint as ocp

    checkpoints.save(step, args=ocp.args.StandardSave(state), force=True)
    checkpoints.wait_until_finished()


def restore_state(checkpoints, like):
    """The newest checkpoint in the structure, types and shardings of `like`, or None if there is none.

    ValueError if it cannot be read or was written for another network.
    """
    import orbax.checkpoint as ocp

    step = checkpoints.latest_step()
    if step is None:
        return None
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like)
    try:
        return checkpoints.restore(step, args=ocp.args.StandardRestore(abstract))
    except Exception as error:
        folder = Path(checkpoints.directory) / str(step)
        raise ValueError(
            f"checkpoint {folder} cannot be restored ({error}): delete that folder to go on from the one "
            "before it, or use a new workdir"
        ) from error
