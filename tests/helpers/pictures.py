"""Makes files of images, whole ones and ones that mean harm: arrays in, files of every kind out."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
GREY = COLOUR[..., :1]
CLASSES = np.arange(12) % 10


def encoded(image, form="PNG", **options) -> bytes:
    """The bytes of an image file, of an array or a Pillow image."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def edm_files(images, labels=CLASSES) -> dict:
    """{path: content} as EDM's dataset_tool.py lays them out, three to a folder."""
    names = [f"{i // 3:05d}/img{i:08d}.png" for i in range(len(images))]
    files = {name: encoded(image) for name, image in zip(names, images)}
    pairs = None if labels is None else [[name, label] for name, label in zip(names, np.asarray(labels).tolist())]
    return files | {"dataset.json": json.dumps({"labels": pairs}).encode()}


def folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def archive(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def idx(array) -> bytes:
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()


def cifar(images, labels, length) -> bytes:
    heads = np.asarray(labels, np.uint8)[:, None] if length == 3073 else np.stack([labels * 0, labels], 1)
    return np.concatenate([heads.astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(len(images), -1)], 1).tobytes()


def batches(images, size=5):
    """All images, read as their users read them."""
    rows = np.arange(len(images))
    return np.concatenate([images[rows[start : start + size]] for start in range(0, len(images), size)])


def sixteen_bits() -> bytes:
    """An RGB PNG of 16 bits a channel, which Pillow would silently halve."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(2 * 13))) + chunk(b"IEND", b"")


def encrypted(content: bytes) -> bytes:
    """The archive with the flag of encryption in each header."""
    flagged = bytearray(content)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = flagged.find(mark)
        while at >= 0:
            flagged[at + offset] |= 1
            at = flagged.find(mark, at + 1)
    return bytes(flagged)
