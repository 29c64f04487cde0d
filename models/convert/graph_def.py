"""The constants in a graph of TensorFlow, without TensorFlow: a GraphDef (.pb) or a SavedModel (saved_model.pb).

Of the protocol buffers (tensorflow/core/framework/{graph,node_def,attr_value,tensor}.proto) the fields on the way from
the message to a tensor's bytes are followed, and the others are passed over. Nothing is executed.
"""

import gzip
import io
import math
import tarfile
from collections.abc import Iterator

import numpy as np

from models.convert.tree import DAMAGED

TYPES = {1: np.dtype("<f4"), 2: np.dtype("<f8"), 3: np.dtype("<i4"), 9: np.dtype("<i8")}  # DT_FLOAT, ...
LARGEST = 2**30  # bytes of an unpacked archive
MEMBER = "classify_image_graph_def.pb"


def is_message(head: bytes) -> bool:
    """Does a GraphDef (field 1: a node) or a SavedModel (field 1: a version, field 2: a graph) begin here?"""
    return head[:1] == b"\x0a" and b"\x0a" in head[1:8] or head[:2] == b"\x08\x01" and head[2:3] == b"\x12"


def read_archive(data) -> dict:
    """Of inception-2015-12-05.tgz, in memory."""
    with gzip.open(io.BytesIO(data)) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"the archive unpacks to more than {LARGEST:,} bytes: {DAMAGED}")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = [name for name in archive.getnames() if name.endswith(MEMBER)]
        member = archive.extractfile(names[0]) if names else None
        if member is None:
            raise ValueError(f"the archive has no file {MEMBER}, but {', '.join(archive.getnames()[:5])}")
        return read_graph(member.read())


def read_graph(data) -> dict:
    """{name: array} of the constants that are real numbers, in the graph and in the functions of its library."""
    data = memoryview(data)
    if bytes(data[:1]) == b"\x08":  # SavedModel.meta_graphs -> MetaGraphDef.graph_def
        graphs = [graph for meta in _fields(data, 2) for graph in _fields(meta, 2)]
    else:
        graphs = [data]
    found = {}
    for graph in graphs:
        nodes = [*_fields(graph, 1)]
        nodes += [node for library in _fields(graph, 2) for one in _fields(library, 1) for node in _fields(one, 3)]
        for node in nodes:
            name, kind = (b"".join(map(bytes, _fields(node, field))).decode("utf-8", "replace") for field in (1, 2))
            if kind in ("VariableV2", "VarHandleOp"):
                found.setdefault("__variables__", True)
            if kind == "Const":
                found[name] = next(_constants(node), None)
    found = {name: array for name, array in found.items() if array is not None}
    if found.pop("__variables__", False) and not any(np.ndim(array) == 4 for array in found.values()):
        raise ValueError("its weights are in variables/ beside it, not in the graph: give a frozen graph (.pb)")
    if not found:
        raise ValueError(f"it is no graph of TensorFlow with constants: {DAMAGED}")
    return found


def _constants(node) -> Iterator[np.ndarray]:
    """NodeDef.attr["value"].tensor, of types that are known."""
    for entry in _fields(node, 5):
        if b"".join(map(bytes, _fields(entry, 1))) != b"value":
            continue
        for value in _fields(entry, 2):
            for tensor in _fields(value, 8):
                array = _tensor(tensor)
                if array is not None:
                    yield array


def _tensor(tensor) -> np.ndarray | None:
    kind = TYPES.get(next(_numbers(tensor, 1), 0))
    if kind is None:
        return None
    sizes = [next(_numbers(dim, 1), 0) for shape in _fields(tensor, 2) for dim in _fields(shape, 2)]
    content = b"".join(map(bytes, _fields(tensor, 4)))
    if not content and kind.kind == "f" and kind.itemsize == 4:
        content = b"".join(map(bytes, _fields(tensor, 5)))
    count = math.prod(sizes)
    if len(content) == kind.itemsize and count > 1:  # a value that is repeated
        if count > len(content) * 10_000:
            raise ValueError(f"a constant of shape {sizes[:6]} has one value: {DAMAGED}")
        return np.full(sizes, np.frombuffer(content, kind)[0])
    if len(content) != count * kind.itemsize:
        return None if not content else _refuse(sizes, content)
    return np.frombuffer(content, kind).reshape(sizes)


def _refuse(sizes, content):
    raise ValueError(f"a constant of shape {sizes[:6]} has {len(content)} bytes: {DAMAGED}")


def _fields(message, wanted: int) -> Iterator[memoryview]:
    """The bytes of the fields of this number that have a length."""
    return (value for field, value in _walk(message) if field == wanted and isinstance(value, memoryview))


def _numbers(message, wanted: int) -> Iterator[int]:
    return (value for field, value in _walk(message) if field == wanted and isinstance(value, int))


def _walk(message) -> Iterator[tuple]:
    """(number, bytes or integer) of the fields of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 2, 5):
            size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if size > len(message) - at:
                raise ValueError(f"a field of {size:,} bytes has {len(message) - at:,} left: {DAMAGED}")
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"a field is of kind {kind}, which no graph has: {DAMAGED}")
        yield key >> 3, value


def _varint(message, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at + place >= len(message):
            raise ValueError(f"it ends inside a number: {DAMAGED}")
        byte = message[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError(f"a number has more than ten bytes: {DAMAGED}")
