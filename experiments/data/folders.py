"""Image files in a folder or a zip archive, laid out as EDM's data sets: sorted by path, labels in dataset.json.

Pixels are never converted: palettes, transparency and 16 bits are refused.
"""

import io
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.data.archives import open_member, whole

FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}
LOSSY = {"JPEG", "WebP"}
FILE_BYTES, LABEL_BYTES, PIXELS = 2**26, 2**28, 2**24  # limits of an image file, of dataset.json, of an image
LABELS = "dataset.json"
INSTEAD = {
    "P": "has a palette: save it as RGB",
    "RGBA": "has transparency: composite it onto a background and save it as RGB",
    "LA": "has two channels, of which one is transparency: composite it onto a background and save it as grey (L)",
}


class Folder:
    """The files below a folder, without hidden ones."""

    def __init__(self, path: Path):
        self.path = path
        found = (Path(root, name).relative_to(path) for root, _, names in os.walk(path) for name in names)
        self.names = sorted(name.as_posix() for name in found if not is_hidden(name.parts))

    def size(self, name) -> int:
        return (self.path / name).stat().st_size

    def read(self, name) -> bytes:
        return (self.path / name).read_bytes()


class Archive:
    """The files in a zip archive, without hidden ones."""

    def __init__(self, path: Path):
        self.path = path
        with whole(path):
            self.archive = zipfile.ZipFile(path)
        self.members = {info.filename: info for info in self.archive.infolist() if not info.is_dir()}
        self.names = sorted(name for name in self.members if not is_hidden(Path(name).parts))

    def size(self, name) -> int:
        return self.members[name].file_size

    def read(self, name) -> bytes:
        with open_member(self.archive, self.members[name]) as stream, whole(f"{self.path}: {name!r}"):
            return stream.read()


def is_hidden(parts) -> bool:
    """Whether a path is hidden, or is one that the operating system added."""
    return any(part.startswith(".") and part != ".." or part == "__MACOSX" for part in parts)


class Files:
    """The images of a Folder or an Archive, all of one `shape`: `files(rows)` is uint8 [len(rows), H, W, C]."""

    def __init__(self, place):
        self.place, kinds = place, {name: Path(name).suffix.lower() for name in place.names}
        others = Image.registered_extensions().keys() - FORMATS.keys()
        if other := next((name for name in kinds if kinds[name] in others), None):
            raise ValueError(
                f"{place.path}: {other!r} is of a format that is not read ({', '.join(FORMATS)} are): convert it to "
                "PNG, or take it away"
            )
        self.names = [name for name in kinds if kinds[name] in FORMATS]
        if not self.names:
            some = ", ".join(repr(name) for name in place.names[:5]) or "nothing"
            raise ValueError(
                f"no images ({', '.join(FORMATS)}) in {place.path}, it holds {some}: give the folder, or the zip "
                "archive, that holds them; archives in it must be unpacked"
            )
        self.rule = rule_of({FORMATS[kinds[name]] for name in self.names})
        self.shape = self.read(self.names[0]).shape

    def read(self, name) -> np.ndarray:
        """Reads one image, uint8 [H, W, C]."""
        if (size := self.place.size(name)) > FILE_BYTES:
            raise ValueError(f"{self.place.path}: {name!r} has {size:,} bytes, an image has at most {FILE_BYTES:,}")
        return decode(self.place.read(name), f"{self.place.path}: {name!r}", FORMATS[Path(name).suffix.lower()])

    def __call__(self, rows) -> np.ndarray:
        images = np.empty((len(rows), *self.shape), np.uint8)
        for place, row in zip(images, rows):
            image = self.read(self.names[row])
            if image.shape != self.shape:
                first, this = ("{} x {} x {}".format(*shape) for shape in (self.shape, image.shape))
                raise ValueError(
                    f"{self.place.path}: {self.names[0]!r} is {first} and {self.names[row]!r} is {this} (height, "
                    "width, channels): make them alike first"
                )
            place[...] = image
        return images

    def labels(self) -> np.ndarray | None:
        """The labels in dataset.json, int64 [n]; None if there are none."""
        if LABELS not in self.place.names:
            return None
        where = f"{self.place.path}: {LABELS}"
        if (size := self.place.size(LABELS)) > LABEL_BYTES:
            raise ValueError(f"{where} has {size:,} bytes, at most {LABEL_BYTES:,} are read")
        with whole(where):
            pairs = json.loads(self.place.read(LABELS)).get("labels")
            found = dict(pairs or ())
        values = [found.get(name) for name in self.names]
        missing = [name for name, value in zip(self.names, values) if value is None]
        if len(missing) == len(values):
            return None
        if missing:
            raise ValueError(f"{where} has no label of {missing[0]!r} and others: complete it, or take it away")
        with whole(where):
            values = np.array(values)
        return as_labels(values, len(values), where)


def rule_of(formats: Iterable[str]) -> str:
    """Says how files of these formats give their pixels, for passports."""
    lossy, exact = ", ".join(sorted(LOSSY & set(formats))), ", ".join(sorted(set(formats) - LOSSY))
    parts = [f"as stored ({exact})"] * bool(exact) + [f"decoded from {lossy}"] * bool(lossy)
    return f"uint8 {' and '.join(parts)}"


def as_labels(values: np.ndarray, count: int, where) -> np.ndarray:
    """Labels int64 [n], from integers [n] or one-hot rows [n, K]."""
    if values.ndim == 2 and np.all((values != 0).sum(1) == 1) and np.all(values.max(1) == 1):
        values = values.argmax(1)
    if values.shape != (count,) or values.dtype.kind not in "iu" or values.min() < 0:
        raise ValueError(
            f"{where}: labels of {values.shape} {values.dtype} for {count} images: give each one integer from 0 on, or "
            "a one-hot list"
        )
    return values.astype(np.int64)


def decode(content: bytes, name: str, form: str) -> np.ndarray:
    """Decodes the bytes of an image file into uint8 [H, W, C], C = 1 or 3. form: the format that its name promises."""
    with whole(name), Image.open(io.BytesIO(content), formats=sorted(map(str.upper, set(FORMATS.values())))) as image:
        found, mode, size, frames = image.format, image.mode, image.size, getattr(image, "n_frames", 1)
        raw = str(image.tile[0][3]) if image.tile else mode
        fine = size[0] * size[1] <= PIXELS and mode in ("L", "RGB") and ";" not in raw and frames == 1
        pixels = np.asarray(image) if fine else None
        transparent = "transparency" in image.info  # one transparent colour (tRNS), which the mode does not show
    if size[0] * size[1] > PIXELS:
        raise ValueError(f"{name} has {size[0]} x {size[1]} pixels, at most {PIXELS:,} are read: resize the images")
    if mode not in ("L", "RGB") or ";" in raw:  # a raw mode such as "RGB;16B" does not have 8 bits
        why = INSTEAD.get(
            mode, f"is of mode {raw if mode in ('L', 'RGB') else mode}: save it as RGB or L of 8 bits a channel"
        )
        raise ValueError(f"{name} {why}; read are images of 8 bits a channel, grey or RGB")
    if transparent:
        raise ValueError(f"{name} {INSTEAD['RGBA']}")
    if frames != 1:
        raise ValueError(f"{name} has {frames} frames: save each as an image of its own")
    if found != form.upper():
        raise ValueError(f"{name} holds {found}: name it after its format, which decides how exact its pixels are")
    return pixels[..., None] if pixels.ndim == 2 else pixels
