"""CASES: hostile and damaged files, and files of other kinds: what it is -> (content, what the error says)."""

import io
import json
import pickle
import struct
import warnings
import zipfile

import msgpack
import numpy as np

from tests.helpers import hostile
from tests.helpers.hostile import PLANTED, Id, Made, Name, dumps, persistent, shell, storage_id, stream, tensor

NUMBERS = np.arange(6, dtype=np.float32)
COMMAND = f"touch {PLANTED}".encode()
BUILT = Made(Name("torch.nn.modules.linear", "Linear"), (), {}, new=True)
WHOLE = tensor(storage_id("0", 6), (2, 3))


def archive(members, compression=zipfile.ZIP_STORED) -> bytes:
    """A zip archive of (name, content)."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members:
            file.writestr(name, content)
    return sink.getvalue()


def torch_zip(obj, *more, root="archive", compression=zipfile.ZIP_STORED, numbers=NUMBERS) -> bytes:
    """An archive of torch.save, with one storage "0"."""
    pair = (f"{root}/data.pkl", dumps(obj, 2)), (f"{root}/data/0", numbers.tobytes())
    return archive([*pair, *more], compression)


def declared(array_bytes: int) -> bytes:
    """safetensors that declare so many bytes."""
    header = {"w": {"dtype": "F32", "shape": [array_bytes // 4], "data_offsets": [0, array_bytes]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def packed(shape, dtype="float32", content=bytes(24)) -> bytes:
    """Flax msgpack with one array."""
    inner = msgpack.packb((shape, dtype, content))
    return msgpack.packb({"w": msgpack.ExtType(1, inner)})


def itself() -> bytes:
    loop: list = []
    loop.append(loop)
    return pickle.dumps({"w": loop})


def laughs():
    """A list that unfolds to 2**60 values: it must not be shown, hashed or walked."""
    lol = ["lol"]
    for _ in range(60):
        lol = [lol, lol]
    return lol


def tuples():
    """The same of tuples, which hashing would walk."""
    lol = ("lol",)
    for _ in range(60):
        lol = (lol, lol)
    return lol


def old(content) -> Made:
    return Made(Name("torch.storage", "_load_from_bytes"), (content,))


def flagged(content: bytes) -> bytes:
    """The same archive, its first member said to be encrypted."""
    at = content.index(b"PK\x01\x02")
    return content[: at + 8] + b"\x01" + content[at + 9 :]


def swollen(content: bytes) -> bytes:
    """The same archive, its first member said to have two gigabytes."""
    at = content.index(b"PK\x01\x02")
    return content[: at + 20] + struct.pack("<II", 2**31, 2**31) + content[at + 28 :]


def numpy_pickle(array) -> bytes:
    return pickle.dumps({"w": array})


def again(module, name, *args) -> bytes:
    """One call with the same arguments, a hundred times: a small file, and what it makes is large."""
    function, args = Name(module, name), tuple(args)
    return dumps([Made(function, args) for _ in range(100)])


def npy(array) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


def npz() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, w=NUMBERS)
    return sink.getvalue()


EVAL = Made(Name("builtins", "eval"), (f"open('{PLANTED}','w')",))
SHORT = numpy_pickle(NUMBERS).replace(NUMBERS.tobytes(), NUMBERS.tobytes()[:-4]).replace(b"C\x18", b"C\x14")
CASES = {  # what it is: (content, what the error says)
    "os.system in REDUCE": (dumps({"w": shell()}), "it names 'os.system', which no checkpoint needs"),
    "os.system in protocol 0": (b"cos\nsystem\n(S'" + COMMAND + b"'\ntR.", "it names 'os.system'"),
    "posix.system": (dumps(Made(Name("posix", "system"), ("true",)), 2), "it names 'posix.system'"),
    "eval": (dumps(EVAL), "it names 'builtins.eval'"),
    "exec of python 2": (dumps(Made(Name("__builtin__", "exec"), ("1",)), 2), "it names '__builtin__.exec'"),
    "subprocess": (dumps(Made(Name("subprocess", "Popen"), (["touch", PLANTED],))), "it names 'subprocess.Popen'"),
    "a name alone": (dumps({"w": Name("os", "system")}), "it names 'os.system'"),
    "a name within a module": (
        dumps(Name("torch.nn.modules.module", "os.system")),
        "torch.nn.modules.module.os.system",
    ),
    "INST": (b"(S'" + COMMAND + b"'\nios\nsystem\n.", "it names 'os.system'"),
    "OBJ": (b"\x80\x02(cos\nsystem\nU\x04trueo.", "it names 'os.system'"),
    "OBJ of a number": (b"\x80\x02(K\x01U\x04trueo.", "it calls 1, which no checkpoint needs"),
    "NEWOBJ of a foreign class": (dumps(Made(Name("my.code", "Net"), (), {}, new=True)), "it names 'my.code.Net'"),
    "NEWOBJ of a function": (dumps(Made(Name("torch", "Size"), (), {}, new=True)), "makes an object of 'torch.Size'"),
    "REDUCE of a module": (dumps(Made(Name("torch.nn.modules.linear", "Linear"), (1, 2))), "it calls 'torch.nn.mod"),
    "REDUCE of a module's object": (dumps(Made(BUILT, ())), "it calls an object of type"),
    "BUILD of a foreign class": (dumps(Made(Name("my", "Net"), (), {"__setstate__": shell()}, new=True)), "'my.Net'"),
    "BUILD of a name": (dumps(Made(Name("torch", "Size"), ((),), {"a": 1})), "it sets the state of an object of type"),
    "getattr": (dumps(Made(Name("builtins", "getattr"), (Name("os", "system"), "x"))), "it names 'builtins.getattr'"),
    "in the bytes of a tensor": (dumps(tensor(old(stream(shell())), (1,))), "it names 'os.system'"),
    "in the bytes in the bytes": (dumps(old(stream(old(stream(shell()))))), "to be read in turn"),
    "a pickle in the bytes of a tensor": (dumps(old(dumps({}))), "the bytes of a tensor hold an object of type dict"),
    "in data.pkl": (torch_zip({"w": shell()}), "it names 'os.system'"),
    "in a legacy file": (stream({"w": shell()}), "it names 'os.system'"),
    "in the facts of a legacy file": (dumps(hostile.MAGIC, 2) + dumps(shell(), 2), "it names 'os.system'"),
    "in the magic number": (dumps(shell(), 2) + dumps(1001, 2), "it names 'os.system'"),
    "another persistent version": (dumps(persistent("Net", {}, version=7)), "persistent 'class' of version 7"),
    "another persistent type": (dumps(persistent("Net", {}, kind="module")), "persistent 'module' of version 6"),
    "a persistent object of nothing": (dumps(persistent("Net", None)), "REDUCE at byte"),
    "extension code": (b"\x80\x02\x82\x01.", "it uses EXT1 (1)"),
    "text persistent id": (b"\x80\x02Pstorage\n.", "it uses PERSID"),
    "persistent id in a pickle": (dumps(storage_id("0", 6)), "a persistent id"),
    "persistent id of a strange kind": (torch_zip(Id(("file", "/etc/passwd"))), "a tuple that starts with 'file'"),
    "persistent id of a name": (torch_zip(Id(shell())), "it names 'os.system'"),
    "keyword constructor": (b"\x80\x04ctorch\nSize\n)}\x92.", "it uses NEWOBJ_EX"),
    "buffer outside": (b"\x80\x05\x97.", "it uses NEXT_BUFFER"),
    "an unknown opcode": (b"\x80\x04\xff.", "unknown"),
    "path traversal": (torch_zip(WHOLE, ("archive/../../evil", b"")), "a path that leads elsewhere"),
    "absolute path": (torch_zip(WHOLE, ("/etc/evil", b"")), "a path that leads elsewhere"),
    "backslashes": (torch_zip(WHOLE, ("archive\\evil", b"")), "a path that leads elsewhere"),
    "zip bomb": (torch_zip(WHOLE, ("a/b", bytes(10**6)), compression=zipfile.ZIP_DEFLATED), "is compressed or encr"),
    "encrypted": (flagged(torch_zip(WHOLE)), "is compressed or encrypted"),
    "larger than the file": (swollen(torch_zip(WHOLE)), "of 2,147,483,648 bytes leaves the file"),
    "two members of a name": (torch_zip(WHOLE, ("archive/data.pkl", dumps(shell()))), "two members of one name"),
    "two checkpoints": (torch_zip(WHOLE, ("other/data.pkl", dumps({}))), "2 members NAME/data.pkl"),
    "TorchScript": (torch_zip(WHOLE, ("archive/code/net.py", b""), ("archive/constants.pkl", b"")), "TorchScript"),
    "no storage": (torch_zip(tensor(storage_id("7", 6), (6,))), "no member 'archive/data/7'"),
    "another checksum": (torch_zip(WHOLE).replace(NUMBERS.tobytes(), bytes(24)), "another checksum"),
    "big-endian zip": (torch_zip(WHOLE, ("archive/byteorder", b"big")), "big-endian machine"),
    "big-endian legacy": (stream(WHOLE, [("0", NUMBERS)], little=False), "big-endian machine"),
    "big-endian numpy": (numpy_pickle(NUMBERS.astype(">f4")), "byte order '>'"),
    "terabyte in zip": (torch_zip(tensor(storage_id("0", 2**40), (2**40,))), "1,099,511,627,776 float32 are declared"),
    "terabyte in legacy": (stream(tensor(storage_id("0", 2**40), (2**40,)), [("0", NUMBERS)]), "4,398,046,511,104"),
    "less than nothing": (stream(tensor(storage_id("0", -6), (6,)), [("0", NUMBERS)]), "a storage of -24"),
    "terabyte in safetensors": (declared(2**42), "header"),
    "terabyte of a header": (b"\xff\xff\xff\x7f\0\0\0\0{" + bytes(64), "header"),
    "terabyte in msgpack": (packed((2**40,)), "cannot reshape"),
    "terabyte in msgpack's length": (b"\x81\xa1a\xc6\xff\xff\xff\xff", "Unpack failed: incomplete input"),
    "expanded": (torch_zip(tensor(storage_id("0", 6), (2**20, 6), (0, 1))), "does not fit its storage of 6"),
    "beyond the storage": (torch_zip(tensor(storage_id("0", 6), (2, 3), offset=1)), "does not fit its storage of 6"),
    "negative stride": (torch_zip(tensor(storage_id("0", 6), (6,), (-1,))), "counts belong there"),
    "a tensor of a list": (dumps(tensor([1, 2], (2,))), "a tensor is made of an object of type list"),
    "quantised": (dumps(Made(Name("torch._utils", "_rebuild_qtensor"), ())), "it holds quantised tensors"),
    "sparse": (dumps(Made(Name("torch._utils", "_rebuild_sparse_tensor"), ())), "it holds sparse tensors"),
    "complex": (torch_zip(tensor(storage_id("0", 3, "ComplexFloatStorage"), (3,))), "it holds complex tensors"),
    "a bool of 2": (
        torch_zip(tensor(storage_id("0", 4, "BoolStorage"), (4,)), numbers=np.full(1, 2, np.int32)),
        "bool",
    ),
    "BINBYTES8 of 2**50": (b"\x80\x04\x8e" + struct.pack("<Q", 2**50) + b"a.", "expected 1125899906842624 bytes"),
    "memo of 2**32": (b"\x80\x02]r\xff\xff\xff\xff.", "the memo index 4294967295"),
    "memo that is empty": (b"\x80\x02h\x05.", "BINGET at byte 2 does not fit"),
    "an endless integer": (b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", "has 2039 bits"),
    "deep nesting": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "nested more than 200 deep"),
    "deep tuples as a key": (b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.", "is the key of a dict"),
    "a list in itself": (itself(), "a list contains itself"),
    "a billion laughs": (dumps(laughs()), "unfold to more than 5,000,000 values"),
    "laughs as a key": (b"\x80\x04}" + dumps(tuples(), 2)[2:-1] + b"\x85Ns.", "is the key of a dict"),
    "laughs as a name": (dumps([laughs(), "system"])[:-2] + b"\x93.", "STACK_GLOBAL at byte"),
    "laughs as a dtype": (dumps(Made(Name("numpy", "dtype"), (tuples(),))), "is of dtype an object of type tuple"),
    "laughs as a size": (torch_zip(tensor(storage_id("0", 6), (laughs(),), (1,))), "size and stride [0, an object of"),
    "laughs as an id": (torch_zip(Id(("storage", tuples()))), "a tuple that starts with 'storage'"),
    "laughs as storages": (stream(WHOLE)[: -len(dumps([], 2))] + dumps([tuples()], 2), "its list of storages"),
    "bytes without end": (again("_codecs", "encode", "X" * 2**20, "latin1"), "takes too many bytes copied"),
    "work without end": (again("builtins", "set", [0] * 2**18), "takes too many steps"),
    "nothing on the stack": (b"\x80\x02.", "ends with 0 values"),
    "a mark too few": (b"\x80\x02t.", "TUPLE at byte 2 does not fit"),
    "an array of objects": (numpy_pickle(np.array([{}, None])), "dtype 'O8', and only numbers"),
    "an array of strings": (numpy_pickle(np.array(["ab"])), "dtype 'U2', and only numbers"),
    "an array of another size": (SHORT, "an array of float32 has 20 bytes, which is not its shape [6]"),
    ".npy with a pickle": (npy(np.array([{}])), "it is an .npy file"),
    ".npz": (npz(), "it is an .npz file"),
    "another dtype in msgpack": (packed((3,), "complex64"), "an array is of complex64"),
    "objects in msgpack": (packed((3,), "O"), "OBJECT array"),
    "strange extension in msgpack": (msgpack.packb({"w": msgpack.ExtType(9, b"a")}), "an object of type ExtType"),
    "more bytes after msgpack": (packed((6,)) + b"\1", "extra data"),
    "more bytes after a pickle": (dumps({}) + dumps(shell()), "follow the end of the pickle"),
    "more bytes after a legacy file": (stream(WHOLE, [("0", NUMBERS)]) + b"a", "1 bytes follow the last storage"),
    "wrong magic number": (stream(WHOLE, [("0", NUMBERS)], magic=17), "begins with 17 where PyTorch's magic number"),
    "wrong protocol": (stream(WHOLE, [("0", NUMBERS)], protocol=1002), "protocol 1002, 1001 is readable"),
    "old tar": (bytes(257) + b"ustar\x0000" + bytes(248), "PyTorch's before 0.1.10"),
    "empty": (b"", "it is empty, 0 bytes"),
    "web page": (b"\n<!DOCTYPE html><html><title>Google Drive - Virus scan warning", "it is a web page"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git-lfs pointer"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), r"it begins with b'\x89HDF\r\n\x1a\n"),
}
