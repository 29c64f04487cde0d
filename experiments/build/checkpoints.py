"""Finds and loads the parameters of a network:

a path         a file written here, the folder of a training run, or a publisher's file
an address     the cache, else the publisher's server (fetch.py)
"""

from pathlib import Path

import models
from experiments.data.fetch import fetch
from experiments.support.errors import ConfigError, config_errors
from models.convert.releases import load

ROOT = Path(__file__).resolve().parents[2]


def find(path) -> Path:
    """The path as given if it exists, else relative to the project's folder (the embedded assets).

    An address is downloaded into the cache, once.
    """
    if str(path).startswith(("http://", "https://")):
        with config_errors():
            return fetch(str(path), remedy="give a path in place of the address")
    return Path(path) if Path(path).exists() else ROOT / path


def locate(config, section: str = "model") -> Path:
    """The path of the checkpoint that the section names (`model`, say); downloaded if needed."""
    c = config[section]
    if c.checkpoint:
        path = find(c.checkpoint)
        if not path.exists():
            raise ConfigError(f"no {section}.checkpoint {c.checkpoint}: give a file, or the folder of a training run")
        return path
    if not c.address:
        raise ConfigError(
            f"{section}.checkpoint is empty: give a parameter file (.npz), the folder of a training run, or a "
            "publisher's file"
        )
    remedy = f"give the path of one that you have with --config.{section}.checkpoint="
    with config_errors():
        return fetch(c.address, file=c.file or None, sha256=c.sha256, remedy=remedy)


def load_checkpoint(config, section: str = "model") -> tuple[dict, dict]:
    """Loads that checkpoint from any known form: (params, meta), as models.load_params returns them."""
    path = locate(config, section)
    with config_errors():
        written_here = (path / "params.npz").is_file() if path.is_dir() else path.suffix == ".npz"
        return models.load_params(path) if written_here else load(path, config[section].release)
