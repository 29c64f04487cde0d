"""Hashes (SHA-256) of arrays, settings and files, which tell whether two of them are equal.

A fingerprint is the first 16 hexadecimal digits, a checksum all 64. Both are written into files and compared later, so
the same data must give the same digits in every version.
"""

import hashlib

import jax
import numpy as np


def fingerprint(tree) -> str:
    """The fingerprint of a pytree of arrays: their paths in the tree, types, shapes and bytes."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    digest = hashlib.sha256()
    for path, leaf in sorted((jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves):
        digest.update(f"{path} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()[:16]


def checksum(*arrays: np.ndarray) -> str:
    """The checksum of arrays: their shapes, types and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str((array.shape, array.dtype)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def checksum_of_bytes(data: bytes) -> str:
    """The checksum that `sha256sum` prints of these bytes."""
    return hashlib.sha256(data).hexdigest()


def checksum_of_file(path) -> str:
    """The checksum that `sha256sum` prints of the file, read in pieces. OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
