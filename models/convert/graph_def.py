"""The constants in a graph of TensorFlow, without TensorFlow: a GraphDef (.pb), a SavedModel, or a .tgz of either.

Of the protocol buffers (tensorflow/core/framework/{graph,function,node_def,attr_value,tensor}.proto, whose numbers of
fields stand below) those on the way from the file to a tensor are followed, and the others passed over. Messages
within messages are followed to a fixed depth, what reading costs is bounded, and nothing is unpacked to a disk.
"""

import gzip
import itertools
import math
import tarfile
from collections.abc import Iterator

import ml_dtypes
import numpy as np

from models.convert.pickles import Budget, stream_of
from models.convert.tree import DAMAGED, listed, shown

DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 14: ml_dtypes.bfloat16, 19: "<f2"}  # DT_FLOAT, DT_DOUBLE, ...
VALUES = {1: 5, 2: 6}  # float and double: the field that holds single values, if the bytes are not given
VARIABLES = {b"Variable", b"VariableV2", b"VarHandleOp"}
LARGEST = 2**28  # bytes of an unpacked archive; Inception's has 95 million
MEMBERS = 100  # the largest number of members of an archive
RANK = 8  # the largest number of axes of a constant
SAVED_MODEL = "saved_model.pb"
FROZEN = "classify_image_graph_def.pb"


def is_message(head: bytes) -> bool:
    """Does a GraphDef (field 1: a node, whose field 1 is a name) or a SavedModel (1: its version, 2: a graph) begin?"""
    length = next((n for n, byte in enumerate(head[1:6], 1) if byte < 128), 0)
    return head[:1] == b"\x0a" and length > 0 and head[length + 1 : length + 2] == b"\x0a" or head[:3] == b"\x08\1\x12"


def read_archive(data) -> dict:
    """`read_graph` of the first member of a .tgz with the name of a graph."""
    seen = []
    with gzip.GzipFile(fileobj=stream_of(data)) as file, tarfile.open(fileobj=_Bounded(file), mode="r|") as archive:
        for member in itertools.islice(archive, MEMBERS):
            seen.append(member.name)
            if member.isfile() and member.name.split("/")[-1] in (FROZEN, SAVED_MODEL):
                return read_graph(archive.extractfile(member).read())
    raise ValueError(f"the archive holds {listed(seen)}, and neither {FROZEN} nor {SAVED_MODEL}: unpack it yourself")


def read_graph(data) -> dict:
    """{name: array} of the constants that are numbers, in the graph and, by function/name, in those of its library."""
    message, found, variables = _Message(memoryview(data), Budget(len(data))), {}, False
    graphs = [message] if data[:1] == b"\x0a" else [g for meta in message.inside(2) for g in meta.inside(2)]
    for prefix, node in itertools.chain.from_iterable(map(_nodes, graphs)):
        kind = node.bytes(2)
        variables |= kind in VARIABLES
        name, array = prefix + node.text(1), _constant(node) if kind == b"Const" else None
        if array is None:
            continue
        if name in found and not np.array_equal(found[name], array):
            raise ValueError(f"it has two constants of the name {shown(name)}, readers differ in which they take")
        found[name] = array
    if variables and not any(array.ndim > 1 for array in found.values()):
        raise ValueError(f"its weights are in the folder variables/, not in the graph: give a frozen one ({FROZEN})")
    if not found:
        raise ValueError(f"it is no graph of TensorFlow with constants: {DAMAGED}")
    return found


def _nodes(graph) -> Iterator[tuple]:
    """(prefix of its name, node) of GraphDef.node and GraphDef.library.function.node_def."""
    yield from (("", node) for node in graph.inside(1))
    for function in (function for library in graph.inside(2) for function in library.inside(1)):
        prefix = "".join(signature.text(1) for signature in function.inside(1))
        yield from ((f"{prefix}/", node) for node in function.inside(3))


def _constant(node) -> np.ndarray | None:
    """NodeDef.attr["value"].tensor as an array; None for other types, such as strings."""
    for attribute in node.inside(5):
        if attribute.bytes(1) == b"value":
            return next((_tensor(tensor) for value in attribute.inside(2) for tensor in value.inside(8)), None)
    return None


def _tensor(tensor) -> np.ndarray | None:
    """The array of a constant: given as bytes, or as values, of which the last is repeated to the end (none: zeros)."""
    code = next(tensor.numbers(1), 0)
    sizes = [next(size.numbers(1), 0) for shape in tensor.inside(2) for size in shape.inside(2)]
    if code not in DTYPES:
        return None
    dtype, content = np.dtype(DTYPES[code]), tensor.bytes(4)
    if len(sizes) > RANK or any(size >= 2**31 for size in sizes):
        raise ValueError(f"a constant has shape {listed(sizes)}, which no network needs: {DAMAGED}")
    count, stored = math.prod(sizes), len(content) // dtype.itemsize
    tensor.budget.spend(count * dtype.itemsize, "bytes copied")
    if not content and count:
        if code not in VALUES:
            return None  # integers one by one: shapes and axes, no weights
        content = tensor.bytes(VALUES[code])
        content, stored = content or bytes(dtype.itemsize), max(len(content) // dtype.itemsize, 1)
        content += content[-dtype.itemsize :] * (count - stored)
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"a constant of shape {listed(sizes)} is stored with {stored:,} {dtype}: {DAMAGED}")
    return np.frombuffer(content, dtype).reshape(sizes)


class _Bounded:
    """A stream of at most LARGEST bytes."""

    def __init__(self, file):
        self.file, self.left = file, LARGEST

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"the archive unpacks to more than {LARGEST:,} bytes: it was made to exhaust the machine")
        return content


class _Message:
    """A message of protocol buffers (protobuf.dev, "Encoding"): a view of a file, nothing is copied."""

    def __init__(self, data: memoryview, budget: Budget):
        self.data, self.budget = data, budget

    def inside(self, wanted: int) -> Iterator["_Message"]:
        """The messages in the fields of this number."""
        return (_Message(value, self.budget) for value in self._of(wanted, memoryview))

    def numbers(self, wanted: int) -> Iterator[int]:
        return self._of(wanted, int)

    def bytes(self, wanted: int) -> bytes:
        """The bytes in the fields of this number, joined: a list may be in several parts."""
        return b"".join(self._of(wanted, memoryview))

    def text(self, wanted: int) -> str:
        return self.bytes(wanted).decode("utf-8", "replace")

    def _of(self, wanted, kind):
        return (value for number, value in self._walk() if number == wanted and isinstance(value, kind))

    def _walk(self) -> Iterator[tuple]:
        """(number, bytes or integer) of its fields."""
        at, end = 0, len(self.data)
        while at < end:
            self.budget.spend(1)
            key, at = self._varint(at)
            kind = key & 7
            value: int | memoryview
            if kind == 0:
                value, at = self._varint(at)
            elif kind in (1, 2, 5):
                size, at = self._varint(at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
                if size > end - at:
                    raise ValueError(f"a field of {size:,} bytes is declared, where {end - at:,} are left: {DAMAGED}")
                value, at = self.data[at : at + size], at + size
            else:
                raise ValueError(f"a field is of kind {kind}, which no graph of TensorFlow has: {DAMAGED}")
            yield key >> 3, value

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for place, byte in enumerate(self.data[at : at + 10]):
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value, at + place + 1
        raise ValueError(f"it breaks off within a number, or one has more than ten bytes: {DAMAGED}")
