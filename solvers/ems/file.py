"""Files of empirical model statistics (EMS): one .npz of our own, or a folder in the published layout."""

import json
from pathlib import Path

from solvers import npz
from solvers.ems.data import EMS, make_ems
from solvers.ems.published import load_published, save_published


def save_ems(path, ems: EMS, schedule=None) -> Path:
    """Writes the EMS to `path` and returns the path of what was written.

    A path that ends in .npz becomes one file (lam float64; l, s, b float32; meta as JSON). Any other path is a folder,
    in which a folder of the published layout is made; that needs the schedule. A file is whole or absent. OSError if
    the disk is full.
    """
    path = Path(path)
    if path.suffix == ".npz":
        arrays = {name: getattr(ems, name).astype("float32") for name in "lsb"}
        npz.write(path, {"lam": ems.lam, "meta": json.dumps(ems.meta), **arrays})
        return path
    if schedule is None:
        raise ValueError(f"{path} is no .npz: name one, or give the schedule for a folder in the published layout")
    return save_published(path, ems, schedule)


def load_ems(path, schedule=None) -> EMS:
    """Reads what `save_ems` wrote, or a folder in the published layout, whose nodes the schedule places in lam.

    ValueError naming the file if it is missing, truncated, foreign or inconsistent; code in it is never executed.
    """
    path = Path(path)
    if path.is_dir():
        if schedule is None:
            raise ValueError(f"{path} is a folder: give the schedule that places its nodes, or name an .npz file")
        return load_published(path, schedule)
    try:
        file = npz.read(path, ("lam", *"lsb", "meta"))
    except FileNotFoundError:
        raise ValueError(f"no EMS file at {path}: compute one with --config.experiment=ems") from None
    try:
        meta = dict(json.loads(str(file.pop("meta"))))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the notes in {path} are no JSON of an EMS file ({error}): compute the EMS again") from error
    return make_ems(path, **file, meta=meta)
