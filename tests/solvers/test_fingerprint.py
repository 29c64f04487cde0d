"""Hashes: equal for equal data, different for different data, and never others than those in old files."""

from collections import OrderedDict

import jax.numpy as jnp
import numpy as np

from solvers.fingerprint import checksum, checksum_of_bytes, checksum_of_file, fingerprint


def test_fingerprint_is_of_values_types_shapes_and_paths():
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)
    known = fingerprint({"a": a, "b": [b]})
    assert fingerprint({"b": [b], "a": a}) == known == fingerprint({"a": jnp.asarray(a), "b": [jnp.asarray(b)]})
    assert fingerprint(OrderedDict(b=[b], a=np.asfortranarray(a))) == known
    others = [
        {"a": a + np.float32(1e-6) * (a == 0), "b": [b]},
        {"a": a.astype(np.float64), "b": [b]},
        {"a": a.reshape(3, 2), "b": [b]},
        {"c": a, "b": [b]},
        {"a": a, "b": b},
        {"a": a},
    ]
    assert len({known, *map(fingerprint, others)}) == 1 + len(others)


def test_hashes_are_those_of_old_files():
    """Values that version 0.1 wrote."""
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4)
    assert fingerprint({"a": a, "b": [b]}) == "2bb273eaaf508d5d"
    assert fingerprint("text") == "ea56abcc25179467"
    assert checksum(a, b) == "fbccfc283b96b4ab142923585a01b551cd17d19bf79afc5d8fe7cc6e8d3f6fb3"
    assert checksum(np.asfortranarray(a), b) == checksum(a, b) != checksum(b, a)


def test_a_file_has_the_checksum_of_its_bytes(tmp_path):
    """The values of FIPS 180-4: SHA-256 of "abc"."""
    (tmp_path / "file").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum_of_file(tmp_path / "file") == checksum_of_bytes(b"abc") == known
