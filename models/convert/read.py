"""Checkpoint files of other projects, as trees of plain data. Nothing in a file is executed, and torch is not needed.

The format is told by the content of a file, never by its name: a pickle (EDM's .pkl), PyTorch's two formats (.pt, .pth,
.ckpt), safetensors, Flax's msgpack, a graph of TensorFlow (.pb, also in a .tgz or in the folder of a SavedModel), and
the folder of an Orbax checkpoint.
"""

import math
import mmap
from pathlib import Path

import jax
import numpy as np
from flax.serialization import msgpack_restore
from safetensors.numpy import load_file

from models.convert import graph_def, torch_files
from models.convert.tree import DAMAGED, check, shown

READABLE = "pickles and PyTorch files (.pkl, .pt, .pth), safetensors, Flax msgpack, TensorFlow graphs, Orbax folders"
EXPANSION = 1000  # an Orbax folder may unpack to so many times its size; weights hardly compress
SMALL = 2**28  # bytes that may always be read
ORBAX = "_METADATA"


def read(path, name=None):
    """The tree in a checkpoint: dict, list, tuple, set, str, bytes, number, None, numpy array or Record (tree.py).

    name: what errors call it (its address, if it was downloaded), the path if None. Arrays of pickles and PyTorch files
    are read-only views of the file, which must not be overwritten while they are used.
    FileNotFoundError if there is none; ValueError, of one sentence with a remedy, for any that is of another kind,
    damaged, or asks for more than plain data.
    """
    path, name = Path(path), name or path
    if (path / graph_def.SAVED_MODEL).is_file():
        path /= graph_def.SAVED_MODEL
    if not path.is_file() and not path.is_dir():
        raise FileNotFoundError(f"there is no checkpoint {name}: give a file, or the folder of an Orbax checkpoint")
    try:
        return check(_read_orbax(path) if path.is_dir() else _read_file(path))
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {_one_line(error)}") from error
    except Exception as error:  # the libraries for msgpack, safetensors and Orbax raise errors of many kinds
        reason = f"{type(error).__name__}: {_one_line(error)[:300]}"
        raise ValueError(f"{name} cannot be read ({reason}): {DAMAGED}") from error


def _one_line(error) -> str:
    """A message that may quote a file, without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(error).split()))


def _read_file(path):
    with open(path, "rb") as file:
        head = file.read(512)
        if not head:
            raise ValueError("it is empty, 0 bytes: fetch it again")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _refuse_pages(head)
    if head[4:9] == b"\0\0\0\0{":  # eight bytes of length, then JSON
        return load_file(path)
    if head[:2] == b"PK":
        return torch_files.read_zip(data)
    if head[:2] == b"\x1f\x8b":
        return graph_def.read_archive(data)
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return torch_files.read_pickle(data)
    if head[:1] in (b"(", b"]", b"}", b"c") and data[-1:] == b".":  # protocols 0 and 1 do not name themselves
        return torch_files.read_pickle(data)
    if graph_def.is_message(head):
        return graph_def.read_graph(data)
    if _is_map(head):
        return msgpack_restore(data)  # type: ignore[arg-type]  # reads any bytes-like object
    raise ValueError(f"it begins with {shown(head[:16])}, which is of no known format: readable are {READABLE}")


def _refuse_pages(head):
    """Refuses web pages and other files that a failed download leaves, and some formats, each with its own sentence."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise ValueError("it is a git-lfs pointer, which stands for the file: run `git lfs pull`, or download the file")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        page = "a web page (of a login, an error or a virus scan)"
        raise ValueError(f"it is {page} and no checkpoint: download it in a browser, and look at what comes")
    if head.startswith(b"\x93NUMPY"):
        raise ValueError("it is an .npy file of numpy, one array: weights come by name, as in safetensors")
    if head[257:262] == b"ustar":
        raise ValueError(
            "it is a tar archive (PyTorch's before 0.1.10 were): unpack it, or save it with a newer PyTorch"
        )


def _is_map(head) -> bool:
    """Does a msgpack map begin here, with a string for a key or empty (github.com/msgpack/msgpack, spec.md)?"""
    size = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x80 <= head[0] <= 0x8F else None)
    if size is None:
        return False
    key = head[size : size + 1]
    return head == b"\x80" or bool(key) and (0xA0 <= key[0] <= 0xBF or 0xD9 <= key[0] <= 0xDB)


def _read_orbax(path):
    import orbax.checkpoint as ocp

    folders = [folder for folder in (path, path / "default") if (folder / ORBAX).is_file()]
    if not folders:
        found = ", ".join(sorted(shown(inside.name) for inside in path.iterdir())[:5]) or "nothing"
        raise ValueError(f"the folder has no {ORBAX}, it holds {found}: give that of one step of an Orbax checkpoint")
    folder = folders[0].absolute()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        described = checkpointer.metadata(folder).item_metadata.tree
        declared = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(described))
        stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if declared > max(SMALL, EXPANSION * stored):
            raise ValueError(f"it declares arrays of {declared:,} bytes and has {stored:,}: {DAMAGED}")
        as_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), described)
        return checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
