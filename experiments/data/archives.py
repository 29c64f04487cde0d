"""Reads untrusted zip archives and .npz files in bounded memory: the shape of an array alone, or its rows one by one.

Nothing is extracted to the disk and no pickle is read. Encrypted members are refused, and packings in which a few bytes
can unfold without bound (bzip2, LZMA).
"""

import contextlib
import errno
import math
import zipfile
from typing import NamedTuple

import numpy as np

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def whole(name):
    """Turns any error of a decoder on damaged bytes into a ValueError that names the file; disk errors stay."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: seek before the start
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is truncated or damaged ({reason[:200]}): copy it again, or make it again") from error


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo):
    """A stream of a member's bytes."""
    if info.flag_bits & 1:
        raise ValueError(f"{archive.filename}: {info.filename!r} is encrypted: pack the files without a password")
    if info.compress_type not in PACKINGS:
        kind = zipfile.compressor_names.get(info.compress_type, info.compress_type)
        raise ValueError(f"{archive.filename}: {info.filename!r} is packed by {kind}: store or deflate it")
    with whole(f"{archive.filename}: {info.filename!r}"):
        return archive.open(info)


class Header(NamedTuple):
    """The header of an array. `start`: the offset of its numbers in the member, in bytes."""

    shape: tuple
    dtype: np.dtype
    fortran: bool
    start: int


class Npz:
    """The arrays of an .npz file, by name. Use it in a `with`."""

    def __init__(self, path):
        self.path = path
        with whole(path):
            self.archive = zipfile.ZipFile(path)
        infos = self.archive.infolist()
        self.members = {info.filename[:-4]: info for info in infos if info.filename.endswith(".npy")}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.archive.close()

    def header(self, name) -> Header:
        """The header of this array. ValueError for an array of objects, or a member with too few or too many bytes."""
        with self.open(name) as stream:
            return self.read_header(name, stream)

    def open(self, name):
        """A stream of the array's member."""
        if name not in self.members:
            found = ", ".join(sorted(self.members)[:10]) or "nothing"
            raise ValueError(f"{self.path} has no array {name}, it holds {found}: copy it again, or make it again")
        return open_member(self.archive, self.members[name])

    def read_header(self, name, stream) -> Header:
        """Reads the header from `stream`, which then stands where the numbers begin. Errors: see `header`."""
        with whole(f"{self.path}: {name}"):
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            raise ValueError(f"{self.path}: {name} is an array of objects, which can hold programs: save it as numbers")
        header = Header(shape, dtype, fortran, stream.tell())
        size, needed = self.members[name].file_size, header.start + math.prod(shape) * dtype.itemsize
        if size != needed:
            raise ValueError(
                f"{self.path}: {name} of {shape} {dtype} needs {needed} bytes and has {size}: copy it again"
            )
        return header

    def load(self, name, most: int) -> np.ndarray:
        """The whole array; ValueError if it has more than `most` bytes."""
        header = self.header(name)
        if (size := math.prod(header.shape) * header.dtype.itemsize) > most:
            raise ValueError(f"{self.path}: {name} of {header.shape} has {size:,} bytes, at most {most:,} are read")
        with self.open(name) as stream, whole(f"{self.path}: {name}"):
            return np.lib.format.read_array(stream, allow_pickle=False)


class Stream:
    """Reads rows of an array in an .npz file, in C order: `stream(rows)` is [len(rows), ...].

    The rows of the last call stay in memory, and the next call may ask for them again. For earlier rows the file is
    read again from its start.
    """

    def __init__(self, path, name):
        self.file, self.name, self.kept = Npz(path), f"{path}: {name}", {}
        self.bytes = self.file.open(name)
        self.header = self.file.read_header(name, self.bytes)

    def __call__(self, rows) -> np.ndarray:
        found = np.empty((len(rows), *self.header.shape[1:]), self.header.dtype)
        kept = {}
        with whole(self.name):
            for place, row in zip(found, rows.tolist()):
                known = self.kept.get(row, kept.get(row))
                place[...] = self._read(row, place) if known is None else known
                kept[row] = place
        self.kept = kept
        return found

    def _read(self, row, like) -> np.ndarray:
        start = self.header.start + row * like.nbytes
        if self.bytes.tell() != start:
            self.bytes.seek(start)
        content = self.bytes.read(like.nbytes)
        return np.frombuffer(content, like.dtype).reshape(like.shape)
