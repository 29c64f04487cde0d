"""What a run of `sample` left, to be read only."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.sampling.store import NAME, Block, read
from solvers import npz


class Finished:
    """The blocks in a run's workdir: `count` samples of `settings`, with features of the networks `networks` (hashes).

    ValueError if samples are missing between others, or are of several settings.
    """

    def __init__(self, workdir):
        self.files = sorted(Path(workdir).glob("samples/*.npz"), key=lambda file: int(file.stem.split("-")[0]))
        found = [npz.read(file, ("indices", "settings", "network")) for file in self.files]
        self.settings, *others = {str(arrays["settings"]) for arrays in found}
        indices = np.concatenate([arrays["indices"] for arrays in found])
        if others or not np.array_equal(indices, np.arange(len(indices))):
            what = "samples of several settings" if others else f"{len(indices)} samples that are not the first so many"
            raise ValueError(f"{workdir} has {what}: give that run's command again, which mends and finishes it")
        self.settings, self.count = json.loads(self.settings), len(indices)
        self.networks = {str(arrays["network"]) for arrays in found}

    def __iter__(self) -> Iterator[Block]:
        """In the order of indices; in memory is one at a time."""
        for file in self.files:
            yield read(file)[0]


def finished(workdir) -> Finished | None:
    """The run in this folder; None for anything else."""
    files = sorted(Path(workdir).glob("samples/*.npz"))
    return Finished(workdir) if files and all(NAME.fullmatch(file.name) for file in files) else None
