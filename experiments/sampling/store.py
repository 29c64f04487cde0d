"""The blocks of a run. On restart, the files show which samples are missing.

Blocks that are damaged or have other settings are moved to set_aside/, with a printed line, and drawn again.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.data import blocks
from experiments.data.blocks import Block
from experiments.support.errors import ConfigError

KEPT = ("npz", "png", "none")


def check_keep(keep: str, shape) -> None:
    """Raises ConfigError unless samples of `shape` can be kept in this form."""
    if keep not in KEPT:
        raise ConfigError(f"sample.keep must be one of {', '.join(KEPT)}, got {keep!r}")
    if keep == "png" and not (len(shape) == 3 and shape[-1] in (1, 3)):
        raise ConfigError(f"sample.keep=png is for images of 1 or 3 channels, samples are {shape}: set it to npz")


class Blocks:
    """The blocks in a workdir with these `settings` (plain values by name); `shape`: of a sample.

    ConfigError if most blocks there have other settings: then the folder belongs to another run.
    """

    def __init__(self, workdir, settings: dict, shape, keep: str = "npz"):
        self.folder, self.keep, self.found = Path(workdir) / "samples", keep, {}
        self.settings = json.loads(json.dumps(settings, sort_keys=True))  # the form that files give back
        check_keep(keep, shape)
        aside, kept = self._look(tuple(shape))
        for path, reason in aside.items():
            self._set_aside(path, reason)
        for path in self.found:
            if keep not in (kept[path], "none"):
                self.write(blocks.read_block(path)[0])

    def _look(self, shape) -> tuple[dict, dict]:
        """Fills `found`; returns {path: why it is useless}, {path: its `keep`}. Changes nothing on the disk."""
        aside, foreign, kept = {}, {}, {}
        for path in sorted(self.folder.glob("*.npz")):
            if not blocks.NAME.fullmatch(path.name):
                raise ConfigError(f"{path} is not of `sample`: give another --workdir than that of another experiment")
            try:
                block, of, form = blocks.read_block(path)
            except ValueError as error:
                aside[path] = str(error)
                continue
            if of != self.settings:
                foreign[path] = differences(of, self.settings)
                continue
            kept[path] = form
            if reason := self._useless(path, block, shape):
                aside[path] = f"{path} {reason}"
            else:
                self.found[path] = block.indices
        if len(foreign) > len(kept):
            path, reason = next(iter(foreign.items()))
            raise ConfigError(
                f"{self.folder} holds samples of other settings ({path.name}, for one: {reason}): "
                "give another --workdir, or the settings of that run"
            )
        return aside | {path: f"{path} is of other settings ({reason})" for path, reason in foreign.items()}, kept

    def _useless(self, path, block, shape) -> str:
        """Why a whole block with the right settings is useless; empty if it is useful."""
        twice = np.intersect1d(block.indices, self._known())
        if len(twice):
            return f"holds sample {twice[0]}, which another file has too"
        if path != blocks.block_path(self.folder, block):
            return f"holds other samples than it is named after, {blocks.block_path(self.folder, block).stem}"
        if self.keep != "none" and not block.has_images():
            return "was drawn without keeping its images (sample.keep=none)"
        return "" if block.images.shape[1:] == shape else f"has samples of {block.images.shape[1:]}, not {shape}"

    def _set_aside(self, path, reason):
        place = self.folder.parent / "set_aside" / path.name
        while place.exists():
            place = place.with_name(f"again-{place.name}")
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
        print(f"{reason}: {path.name} is now {place}, and its samples are drawn again")

    def _known(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.int64), *self.found.values()])

    def missing(self, count: int) -> np.ndarray:
        """The indices below `count` that are in no block, in order."""
        return np.setdiff1d(np.arange(count), self._known())

    def write(self, block: Block) -> None:
        """Writes a block, whole or not at all (blocks.write_block)."""
        self.found[blocks.write_block(self.folder, block, self.settings, self.keep)] = block.indices

    def __iter__(self) -> Iterator[Block]:
        """Yields all blocks in the order of their indices, one in memory at a time."""
        for path in sorted(self.found, key=lambda path: self.found[path][0]):
            yield blocks.read_block(path)[0]


def differences(there: dict, here: dict) -> str:
    """The differences between two settings as text, with both values."""
    return "; ".join(
        f"{key} {there.get(key)} there, {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    )
