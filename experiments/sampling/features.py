"""Computes features of any images, in blocks on the disk. After a stop at any moment, a new start goes on."""

from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from experiments.data.blocks import Block, sums_of
from experiments.data.images import Images
from experiments.data.progress import Progress
from experiments.metrics.spaces import Space
from experiments.sampling.store import Blocks
from experiments.sampling.writing import behind, counted, regroup, sizes_of
from experiments.support.mesh import make_mesh, place, stream
from experiments.support.signals import patiently, stop_if_told
from solvers.fingerprint import fingerprint


class Rows:
    """The images at `rows`, read a batch at a time, as `stream` needs them."""

    def __init__(self, images: Images, rows: np.ndarray):
        self.images, self.rows = images, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        return self.images[self.rows[at]]


def gather(images: Images, source: str, space: Space, workdir, batch: int, block: int) -> Blocks:
    """Writes blocks in `workdir` with the features of all images; blocks that exist are not computed again.

    source: the stamp or the fingerprint of the images; blocks with another one belong to other images.
    """
    settings = {"source": source, "images": len(images), **space.about(), "uint8": images.rule}
    blocks = Blocks(workdir, settings, images.shape, "none")
    missing = blocks.missing(len(images))
    labels = np.zeros(len(images), np.int64) if images.labels is None else images.labels
    hash_of = np.array(space.network)
    bar = Progress(total=len(images), initial=len(images) - len(missing), desc=space.name, unit="image")
    with bar, patiently(), behind(blocks.write) as submit:
        batches = counted(_features(images, missing, space, batch), bar.update)
        for number, (part, pixels, rows) in enumerate(regroup(batches, sizes_of(missing, block))):
            submit(Block(part, labels[part], pixels, rows, hash_of, sums_of(pixels)))
            stop_if_told(number)
    return blocks


def _features(images, missing, space, batch) -> Iterable[tuple]:
    """Yields (rows, (pixels, features)) batch after batch, computed on all devices."""
    mesh = make_mesh(jax.local_devices())
    space = space._replace(params=place(mesh, space.params))
    work = (Rows(images, missing),)
    for part, found in stream(lambda pixels: (pixels, space.on_device(pixels)), work, batch=batch, mesh=mesh):
        if not np.isfinite(found[1]).all():
            which = f"{missing[part][0]} to {missing[part][-1]}"
            raise FloatingPointError(f"features of images {which} are not finite: fetch the network's file again")
        yield missing[part], found


def stamp(source) -> str:
    """A fingerprint of the names, sizes and times of the files at a path; the files are not read."""
    path = Path(source)
    files = sorted(inside for inside in path.rglob("*") if inside.is_file()) if path.is_dir() else [path]
    stats = ((file.relative_to(path), file.stat()) for file in files)
    return fingerprint("\n".join(f"{name} {found.st_size} {found.st_mtime_ns}" for name, found in stats))
