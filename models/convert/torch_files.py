"""Pickle files, plain or of PyTorch, and PyTorch's zip archives, as trees of plain data.

Source: torch/serialization.py of PyTorch. Since 1.6 a file is a zip archive of uncompressed members: NAME/data.pkl, a
pickle whose persistent ids ("storage", type, KEY, device, count) refer to NAME/data/KEY, and NAME/byteorder. Before, it
is one stream: the pickles of a magic number, of a version, of facts of the machine, of the object and of the keys of
its storages, then each storage, its count of numbers (int64) before it. A plain pickle of PyTorch objects, as EDM's,
has such a stream in the bytes of each tensor. Arrays are read-only views of `data`: nothing is copied or extracted.
"""

import functools
import zipfile
import zlib

import numpy as np

from models.convert.names import REMEDY
from models.convert.pickles import Budget, Machine, stream_of
from models.convert.tensors import STORAGES, storage, tensor
from models.convert.tree import DAMAGED, Record, shown

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # torch/serialization.py
HEADER = 30  # bytes of the fixed part of a member's header in a zip archive (APPNOTE.TXT, 4.3.7)


def read_pickle(data, budget: Budget | None = None):
    """The tree in the bytes-like `data`: a pickle, or a PyTorch file from before 1.6 (told by its first pickle).

    budget: of the file that `data` is a part of; None for a file of its own.
    """
    nested = None
    if budget is None:
        budget = Budget(len(data))
        nested = functools.partial(_read_nested, budget)
    stream = stream_of(data)
    machine = functools.partial(Machine, stream, budget, nested=nested)
    first = machine().run()
    left = len(data) - stream.tell()
    if type(first) is int and first == MAGIC:
        return _read_stream(data, stream, machine)
    if left and type(first) is int:
        raise ValueError(f"it begins with {shown(first)} where PyTorch's magic number belongs: {DAMAGED}")
    if left:
        raise ValueError(f"{left:,} bytes follow the end of the pickle, where none belong: {DAMAGED}")
    return first


def _read_nested(budget, data) -> np.ndarray:
    found = read_pickle(data, budget)
    if not isinstance(found, np.ndarray):
        raise ValueError(f"the bytes of a tensor hold {shown(found)}, where a storage belongs: {DAMAGED}")
    return found


def _read_stream(data, stream, machine):
    version, facts = machine().run(), machine().run()
    if version != PROTOCOL or not isinstance(facts, dict):
        raise ValueError(f"it is a PyTorch file of protocol {shown(version)}, {PROTOCOL} is readable: {REMEDY}")
    if facts.get("little_endian") is not True:
        raise ValueError(f"it was written on a big-endian machine, little-endian is readable: {REMEDY}")
    start = stream.tell()
    declared, storages = {}, {}  # storages follow their object: it is read once to find them, and again with them

    def declare(dtype, key, count):
        if declared.setdefault(key, (dtype, count)) != (dtype, count):
            raise ValueError(f"storage {shown(key)} is declared with two types or sizes: {DAMAGED}")
        return storage(data, np.dtype(np.uint8), count * dtype.itemsize, 0).view(dtype)  # a placeholder: some bytes

    machine(persistent=functools.partial(_resolve, declare)).run()
    keys, end = machine().run(), stream.tell()
    if (
        not isinstance(keys, list)
        or len(keys) != len(declared)
        or not all(isinstance(key, str | int) and key in declared for key in keys)
    ):
        raise ValueError(f"its list of storages is not that of its object: {DAMAGED}")
    for key in keys:
        dtype, count = declared[key]
        if (written := int.from_bytes(data[end : end + 8], "little")) != count:
            raise ValueError(f"storage {shown(key)} of {count:,} numbers is stored with {written:,}: {DAMAGED}")
        storages[key] = storage(data, dtype, count, end + 8)
        end += 8 + count * dtype.itemsize
    if end != len(data):
        raise ValueError(f"{len(data) - end:,} bytes follow the last storage, where none belong: {DAMAGED}")
    stream.seek(start)
    return machine(persistent=functools.partial(_resolve, lambda dtype, key, count: storages[key])).run()


def _resolve(storage_of, pid):
    """The function that gives the value of a persistent id; storage_of(dtype, key, count) gives the flat array.

    ("storage", type, key, device, count[, view]), where a view (key, offset, count) is of PyTorch before 0.4, and
    ("module", class, file, source) of a module that was saved whole.
    """
    view = None
    match pid:
        case ("module", Record(state=None) as record, _, _):
            return record
        case ("storage", Record() as record, str() | int() as key, _, int(count)):
            pass
        case ("storage", Record() as record, str() | int() as key, _, int(count), None):
            pass
        case ("storage", Record() as record, str() | int() as key, _, int(count), (_, offset, length)):
            view = offset, (length,), (1,)
        case _:
            raise ValueError(f"a persistent id is {_kind(pid)}, and PyTorch writes storages and modules: {REMEDY}")
    full = f"{record.module}.{record.name}"
    if full not in STORAGES:
        raise ValueError(f"a storage is of type {shown(full)}, which is not readable: {REMEDY}")
    flat = storage_of(STORAGES[full], key, count)
    return flat if view is None else tensor(None, flat, *view)


def _kind(pid):
    return f"a tuple that starts with {shown(pid[0])}" if isinstance(pid, tuple) and pid else shown(pid)


def read_zip(data):
    """The tree in a zip archive of torch.save. ValueError for archives of other kinds, or made to deceive."""
    members = _members(data)
    if any("/code/" in name or name.endswith("/constants.pkl") for name in members):
        raise ValueError(
            "it is a TorchScript archive, a program: load it with torch.jit.load and save its state_dict()"
        )
    if members and all(name.endswith(".npy") for name in members):
        raise ValueError(
            "it is an .npz file of numpy, and this reads files of other projects: give it as a parameter file"
        )
    _check_members(members)
    roots = [name.removesuffix("/data.pkl") for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError(
            f"it is a zip archive with {len(roots)} members NAME/data.pkl, torch.save writes one: {REMEDY}"
        )
    root, content = roots[0], functools.cache(functools.partial(_content, data))
    if f"{root}/byteorder" in members and bytes(content(members[f"{root}/byteorder"])) != b"little":
        raise ValueError(f"it was written on a big-endian machine, little-endian is readable: {REMEDY}")

    def stored(dtype, key, count):
        name = f"{root}/data/{key}"
        if name not in members:
            raise ValueError(f"it has no member {shown(name)}, which a tensor is stored in: {DAMAGED}")
        if members[name].file_size != count * dtype.itemsize:
            found = f"{members[name].file_size:,} bytes where {count:,} {dtype} are declared"
            raise ValueError(f"member {shown(name)} has {found}: {DAMAGED}")
        return storage(content(members[name]), dtype, count, 0)

    budget = Budget(len(data))
    stream = stream_of(bytes(content(members[f"{root}/data.pkl"])))
    machine = Machine(stream, budget, functools.partial(_resolve, stored), functools.partial(_read_nested, budget))
    tree = machine.run()
    if stream.read(1):
        raise ValueError(f"bytes follow the end of data.pkl, where none belong: {DAMAGED}")
    return tree


def _members(data) -> dict[str, zipfile.ZipInfo]:
    try:
        found = zipfile.ZipFile(stream_of(data)).infolist()
    except Exception as error:  # on damaged files, zipfile raises errors of many kinds
        raise ValueError(f"its zip archive breaks off or is damaged ({error}): fetch the file again") from error
    members = {info.orig_filename: info for info in found}
    if len(members) != len(found):
        raise ValueError(f"its zip archive has two members of one name, readers differ in which they take: {DAMAGED}")
    return members


def _check_members(members):
    """All members are plain, and none has a name that leads out of a folder (though nothing is extracted here)."""
    for name, info in members.items():
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or not name.isprintable():
            raise ValueError(
                f"its zip archive has a member {shown(name)}, a path that leads elsewhere: do not trust it"
            )
        if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"member {shown(name)} is compressed or encrypted, torch.save stores it plain: {REMEDY}")


def _content(data, info) -> memoryview:
    """The bytes of a member, within the file and with the right checksum. (Members may overlap: nothing is copied.)"""
    header = data[info.header_offset : info.header_offset + HEADER]
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = info.header_offset + HEADER + sum(lengths)
    if header[:4] != b"PK\3\4" or not 0 <= info.header_offset <= start + info.file_size <= len(data):
        raise ValueError(f"member {shown(info.filename)} of {info.file_size:,} bytes leaves the file: {DAMAGED}")
    content = memoryview(data)[start : start + info.file_size]
    if zlib.crc32(content) != info.CRC:
        raise ValueError(f"member {shown(info.filename)} has another checksum than when it was written: {DAMAGED}")
    return content
