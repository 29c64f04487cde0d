"""Writes pickles of plain values and arrays, for codes that read nothing else. The project itself unpickles nothing.

The bytes of protocol 4 are written here by hand (`pickletools.dis` shows them). The standard library under numpy 2
would name `numpy._core`, which numpy 1 does not have; both find `numpy.core`, which is named here.
"""

import struct

import numpy as np


def pickled(value) -> bytes:
    """The pickle of dict, str, int (64 bits) and arrays of numbers, nested. TypeError for anything else."""
    return b"\x80\x04" + _coded(value) + b"."


def _coded(value) -> bytes:
    if isinstance(value, dict):
        items = b"".join(_coded(key) + _coded(inside) for key, inside in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, str):
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, int) and not isinstance(value, bool):
        return b"\x8a\x08" + struct.pack("<q", value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        return _array(value)
    raise TypeError(f"{type(value).__name__} is not written to a pickle: give dict, str, int and arrays of numbers")


def _array(array) -> bytes:
    """An array as numpy pickles it (__reduce__): an empty array, then (version, shape, dtype, Fortran order, bytes)."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\x01btR"
    shape = b"(" + b"".join(map(_coded, array.shape)) + b"t"
    code = _coded(f"{array.dtype.kind}{array.dtype.itemsize}")
    dtype = (
        b"cnumpy\ndtype\n(" + code + b"\x89\x88tR(K\x03" + _coded("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return empty + b"(K\x01" + shape + dtype + b"\x89\x8e" + struct.pack("<Q", len(content)) + content + b"tb"
