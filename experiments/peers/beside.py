"""This project's sampling beside that of others, in turns and in one run: overhead per step, and a whole network.

    python main.py --config=configs/peers.py

1. Overhead, at several shapes of the state: the time of a whole sampling with a cheap network (a 3x3 convolution; two
   thin dense layers for samples that are no images), less that of as many calls of the same network alone, per step.
   - Here: DPM-Solver++(2M), UniPC-3 and DPM-Solver-v3 (with random numbers for statistics), `solvers.sample` under
     jax.jit on one device. Others: diffusers' schedulers, k-diffusion, and the official code of DPM-Solver-v3
     (`peers.dpm_v3`, in float32), each with the prediction that costs it least.
   - On a CPU the measure is CPU time, of all threads of the process. PyTorch has one thread: a second one takes no work
     away, but waits busily. Ours takes as many as XLA likes, so that wall time favours it. On a GPU: wall time.
   - `copy`: a plain copy of what the solver must move per step, K + 4 states for scalar tables of depth K, and K + 3
     coefficients of the data shape once per batch for DPM-Solver-v3 (2 K + 7 states in a batch of one), half of it
     read and half of it written.
   - first: the first sampling, compilation included (`compilation_cache` counts). build: table or constructor.
     Memory of the build, and of one sampling beside noise and table: the most that is resident at once beyond what was
     before (Linux; to 0.3 MB). Instead for samplings here XLA's account of the program, in which nothing is hidden by
     memory that the process kept, and for PyTorch's on a GPU its allocator's.
   - difference: of the samples from ours, over the largest, for the same method on the same times.
2. Network: EDM's CIFAR-10 DDPM++ and DPM-Solver++(2M) with `peers.nfe` evaluations, against the original
   (`peers.edm`) in PyTorch, see peers/network.py. On a GPU also in bfloat16, where float32 means TF32 on both sides.

Ratios are of neighbours in time; numbers are medians, in brackets are the quartiles. What is missing is said, and left
out. jax takes three quarters of a GPU's memory: XLA_PYTHON_CLIENT_PREALLOCATE=false leaves a small one to both.
Writes results.json, results.csv and peers.png.
"""

import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import jax

from configs.sections import Peers
from experiments import build
from experiments.data.files import write_json
from experiments.data.progress import Progress
from experiments.peers.case import make_case
from experiments.peers.network import Contest, compare
from experiments.peers.overhead import overheads
from experiments.peers.summary import COLUMNS, plot, text
from experiments.support.errors import ConfigError
from experiments.support.scores import write_csv

NEEDED = {  # what a checkout must have, and where it is
    "dpm_v3": ("codebases/edm/samplers/dpm_solver_v3.py", "github.com/thu-ml/DPM-Solver-v3"),
    "edm": ("training/networks.py", "github.com/NVlabs/edm"),
}
PACKAGES = ("jax", "jaxlib", "numpy", "torch", "diffusers", "k-diffusion")


def run(config, workdir) -> list[dict]:
    workdir, own = Path(workdir), build.settings(config.peers, Peers)
    shapes, rows = check(own), []
    with Progress(total=len(shapes) + 1, desc="peers", unit="part") as bar:
        for shape in shapes:
            rows += overheads(make_case(shape, own.steps, own.nodes), own.repeats, own.dpm_v3)
            bar.update()
        rows += compare(Contest(own), own.network_repeats)
        bar.update()
    device = jax.devices()[0]
    about = {"versions": versions(own), "device": device.device_kind, "platform": device.platform}
    about |= {"devices": len(jax.devices())}
    about |= {key: getattr(own, key) for key in ("steps", "repeats", "network_repeats")}
    write_json(workdir / "results.json", {"rows": rows} | about)
    write_csv(workdir / "results.csv", rows, COLUMNS)
    plot(workdir / "peers.png", rows, "cpu" if device.platform == "cpu" else "wall")
    print(text(rows, about))
    return rows


def check(own: Peers) -> list[tuple]:
    """The shapes of states; ConfigError for keys that do not go together, and for folders that are no checkouts."""
    if own.nodes < own.steps or own.nodes % own.steps:
        raise ConfigError(f"peers.nodes must be a multiple of peers.steps = {own.steps}, got {own.nodes}: change one")
    if own.channels % 32:
        raise ConfigError(f"peers.channels must be a multiple of 32, got {own.channels}: 128 is the full width")
    for key, (file, address) in NEEDED.items():
        folder = getattr(own, key)
        if folder and not (Path(folder) / file).is_file():
            what = f"peers.{key} must be a checkout of {address}"
            raise ConfigError(f"{what}, {folder} has no {file}: name its folder, or leave it empty")
    return [shape_of(part) for part in own.shapes.split(",")]


def shape_of(part: str) -> tuple:
    """(64, 32, 32, 3) of 64x32x32x3."""
    if not re.fullmatch(r"\s*[1-9]\d*(x[1-9]\d*)+\s*", part):
        raise ConfigError(
            f"peers.shapes must name shapes like 64x32x32x3, samples first, got {part.strip()!r}: "
            "separate them by commas"
        )
    return tuple(map(int, part.split("x")))


def versions(own: Peers) -> dict:
    """The versions of packages that are installed, and the commits of checkouts."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    for key in NEEDED:
        if getattr(own, key):
            found[NEEDED[key][1]] = commit(getattr(own, key))
    return found


def commit(folder) -> str:
    """The commit of a checkout; "commit unknown" where git or its folder is missing."""
    if not shutil.which("git") or not (Path(folder) / ".git").exists():
        return "commit unknown"
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "commit unknown"
