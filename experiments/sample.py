"""Images with one solver, in blocks that a restart does not sample again.

    python main.py --config=configs/fashion_mnist.py --config.experiment=sample --config.nfe=10

Sample i is the same image whatever the count, the batch and the devices. Writes samples/*.npz (images uint8 NHWC,
indices), grid.png of the first ones and results.json.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments import plots, report, runner
from experiments.build import (
    ConfigError,
    build_frechet,
    build_indices,
    build_nfes,
    build_solver,
)
from experiments.build_model import build_model
from experiments.build_table import build_table, resolve
from experiments.build_teleport import build_jumps
from experiments.data import to_uint8
from experiments.ems import find_ems
from experiments.ems_points import load_data
from experiments.sampler import make_sampler

# with the number of evaluations and the seed: what makes a sample the one it is
IDENTITY = ("solver", "grid", "schedule", "model", "mixture", "guidance", "ems", "teleport")


def run(config, workdir) -> dict:
    workdir, c = Path(workdir), config.sample
    (label, options), nfe = build_solver(config), build_nfes(config)[-1]  # of a benchmark's several, the largest
    network, frechet = build_model(config), build_frechet(config)
    ems = find_ems(config, network, workdir, [(label, options)])
    options = resolve(config, options, nfe, ems)
    table, start = build_table(config, options, nfe, network.prediction, ems), options["teleport"]
    label += f": {options['name']}" if label != options["name"] else ""
    resolved = json.loads(config.to_json_best_effort())
    settings = json.dumps({key: resolved[key] for key in IDENTITY} | {"nfe": nfe, "seed": c.seed})
    blocks = plan(workdir / "samples", len(build_indices(config)), c.block, settings, network.shape)
    report.write_config(workdir / "config.json", config)
    jump = build_jumps(config, network, {0: start})[0]
    count, seconds = sample_blocks(config, network, table, jump, blocks, settings)
    images = np.concatenate([np.load(path)["images"] for path, _, _ in blocks])
    row = {
        "solver": label,
        "nfe": nfe,
        "teleport": start,
        "frechet": frechet(images) if frechet else None,
        "images": len(images),
    }
    row |= {"seconds": seconds, "images_per_second": count / seconds if count else None}
    write(workdir, row, images, None if images.ndim == 4 else load_data(config, network, config.ems.points)[0])
    return row


def sample_blocks(config, network, table, jump, blocks, settings) -> tuple[int, float]:
    """Writes the blocks that are not there yet; how many images that was, and the seconds they took."""
    collect, c, seconds = make_sampler(config, network), config.sample, 0.0
    table, rows = runner.align({0: table})[0]
    missing = [(path, indices) for path, indices, done in blocks if not done]
    count = sum(len(indices) for _, indices in missing)
    with tqdm(total=c.count, initial=c.count - count, desc="sample", unit="image", disable=None) as bar:
        for path, indices in missing:
            samples, taken = collect(table, rows, indices, bar.update, jump=jump)
            report.write_samples(path, stored(samples), indices, settings=settings)
            seconds += taken
    return count, seconds


def stored(samples) -> np.ndarray:
    """Images as uint8 NHWC; other data as they are, float32."""
    return to_uint8(samples) if samples.ndim == 4 else samples


def plan(folder: Path, count: int, block: int, settings: str, shape) -> list[tuple[Path, np.ndarray, bool]]:
    """(path, indices, whether it is there and valid) of each block; ConfigError if the folder is another run's."""
    for path in sorted(folder.glob("*.npz")):
        found = _read(path)
        if found is not None and found.get("settings", settings) != settings:
            raise ConfigError(
                f"{folder} holds samples of other settings (for one, {path.name}): give a new --workdir, or delete it"
            )
    blocks = []
    for start in range(0, count, block):
        indices = np.arange(start, min(start + block, count))
        path = folder / f"{start:06d}.npz"
        found = _read(path)
        done = (
            found is not None
            and found["images"].shape == (len(indices), *shape)
            and np.array_equal(found["indices"], indices)
        )
        blocks.append((path, indices, done))
    return blocks


def _read(path) -> dict | None:
    """The content of a block, or None if there is none, or none that is whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {"images": file["images"], "indices": file["indices"], "settings": str(file["settings"])}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def write(workdir: Path, row, images, data=None) -> None:
    """results.json, grid.png, and the row on the screen; `data` is what points, not images, are drawn over."""
    report.write_json(workdir / "results.json", {"rows": [row]})
    if data is None:
        plots.plot_samples(workdir / "grid.png", images[:100])
    else:
        panel = [("data", data), (row["solver"], images)]
        plots.plot_scatter(workdir / "grid.png", {f"{row['nfe']} network evaluations": panel})
    columns = ("solver", "nfe", "teleport", "frechet", "images", "seconds", "images_per_second")
    print(report.format_table([row], columns))
    if row["frechet"] is not None:
        print(report.frechet_note(row["images"]))
