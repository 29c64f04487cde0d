"""Any number of images with one solver, in blocks: stopped at any moment and started again, it goes on where it was.

    python main.py --config=configs/fashion_mnist.py --config.experiment=sample --config.nfe=10 \\
        --config.sample.count=50000

Sample i is the same image whatever the count, the batch, the devices and the processes. Writes samples/*.npz (images
uint8 NHWC, indices, labels, features; see blocks.py), statistics.npz (mean and covariance of features, mean and
variance of pixels), grid.png of the first images and results.json. More samples, or other `sample.scored`, add to
what is there. Several processes, of which the first writes: see `distributed` in configs/default.py.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from experiments import metrics, plots, report, runner
from experiments.blocks import SHOWN, Block, Blocks, sums_of
from experiments.build import ConfigError, build_frechet, build_indices, build_nfes, build_solver, find
from experiments.build_model import build_labels, build_model
from experiments.build_table import build_table, resolve
from experiments.build_teleport import build_jumps
from experiments.data import to_uint8
from experiments.ems import find_ems, identity
from experiments.ems_points import load_data
from experiments.processes import stop_if_told, together
from experiments.sampler import make_generator
from experiments.tally import tallies
from solvers.ems_file import fingerprint
from solvers.npz import write as write_npz


def run(config, workdir) -> list[dict]:
    workdir, first = Path(workdir), jax.process_index() == 0
    counts = build_counts(config)
    (label, options), nfe = build_solver(config), build_nfes(config)[-1]  # of a benchmark's several, the largest
    network, frechet = build_model(config), build_frechet(config)
    ems = find_ems(config, network, workdir, [(label, options)])
    options = resolve(config, options, nfe, ems)
    table, start = build_table(config, options, nfe, network.prediction, ems), options["teleport"]
    jump = build_jumps(config, network, {0: start})[0]
    blocks, missing = None, np.zeros(counts[-1], bool)
    with together():
        if first:  # of several processes, it alone reads and writes samples
            settings = settings_of(config, network, options, nfe, ems)
            blocks = Blocks(workdir, settings, network.shape, config.sample.keep)
            missing[blocks.missing(counts[-1])] = True
            report.write_config(workdir / "config.json", config)
    missing = np.flatnonzero(multihost_utils.broadcast_one_to_all(missing))
    seconds = sample_blocks(config, network, frechet, (table, jump), missing, blocks)
    name = label if label == options["name"] else f"{label}: {options['name']}"
    row = {"solver": name, "nfe": nfe, "teleport": start, "seconds": seconds}
    row["images_per_second"] = len(missing) / seconds if len(missing) else None
    rows = []
    with together():
        if first:
            rows = score(blocks, counts, frechet, row, workdir)
            write(workdir, rows, blocks, config, network)
    return rows


def build_counts(config) -> list[int]:
    """The numbers of samples that are scored: the first so many; at last, of all that are wanted."""
    count = len(build_indices(config))
    scored = config.sample.scored
    counts = {count, *((scored,) if isinstance(scored, int) else scored)}
    if min(counts) < 1 or max(counts) > count:
        raise ConfigError(f"sample.scored must be from 1 to sample.count = {count}, got {scored}")
    return sorted(counts)


def settings_of(config, network, options, nfe, ems) -> dict:
    """What makes a sample the one it is, as plain values; files by their content, wherever they lie."""
    gaussian = config.teleport.gaussian if options["teleport"] is not None else ""
    used = {name: getattr(ems, name) for name in ("lam", *"lsb")} if options["name"] == "dpm_v3" else None
    about = {"seed": config.sample.seed, "dtype": config.model.dtype, "labels": str(config.model.labels), "nfe": nfe}
    about |= {"solver": options, "grid": config.grid.to_dict(), "ems": used and fingerprint(used)}
    about["gaussian"] = gaussian and hashlib.sha256(find(gaussian).read_bytes()).hexdigest()[:16]
    return identity(config, network) | about


def sample_blocks(config, network, frechet, solver, missing, blocks) -> float:
    """Draws the samples `missing` into `blocks`, None on all processes but the first; the seconds without compilation.

    While a block is written, the devices go on.
    """
    if not len(missing):
        return 0.0
    (table, jump), count = solver, config.sample.count
    table, rows = runner.align({0: table})[0]
    finish, hash_of = make_finish(network.shape, frechet), network_hash(frechet)
    draw = partial(make_generator(config, network), table, indices=missing, jump=jump, finish=finish)
    parts = np.split(missing, 1 + np.flatnonzero(np.diff(missing // config.sample.block) | (np.diff(missing) > 1)))
    next(draw(rows=0))  # no row runs: compiles
    begin = time.perf_counter()
    shown = {"desc": "sample", "unit": "image", "disable": None if blocks else True}
    with tqdm(total=count, initial=count - len(missing), **shown) as bar, behind(blocks and blocks.write) as submit:
        whole = regroup(counted(draw(rows=rows), bar), [len(part) for part in parts])
        for number, (indices, images, features) in enumerate(whole):
            with together():
                if blocks:
                    labels = build_labels(config, network, indices)
                    submit(Block(indices, labels, images, features, np.array(hash_of), sums_of(images)))
            stop_if_told(number)
    return time.perf_counter() - begin


def make_finish(shape, frechet):
    """finish(samples) -> (images, features) on the devices: uint8 where samples are images, float32 else."""

    @jax.jit
    def images_of(samples):
        return to_uint8(samples) if len(shape) == 3 else samples

    def finish(samples):
        images = images_of(samples)
        empty = np.empty((len(images), 0), np.float32)
        return images, empty if frechet is None else metrics.on_device(*frechet.classifier, images)

    return finish


def network_hash(frechet) -> str:
    return fingerprint(frechet.classifier[1]) if frechet else ""


def counted(batches, bar) -> Iterator[tuple]:
    """(indices, images, features) of batches, as the bar counts them."""
    for indices, found in batches:
        bar.update(len(indices))
        yield indices.astype(np.int64), *found


def regroup(batches: Iterable, sizes) -> Iterator[tuple]:
    """The same rows in tuples of arrays of `sizes`, from tuples of arrays of any."""
    batches, rest = iter(batches), ()
    for size in sizes:
        while not rest or len(rest[0]) < size:
            more = next(batches)
            rest = tuple(np.concatenate(pair) for pair in zip(rest, more)) if rest else more
        yield tuple(array[:size] for array in rest)
        rest = tuple(array[size:] for array in rest)


@contextmanager
def behind(write):
    """Gives submit(item): write(item) in a thread, one at a time. An error of it comes with the next item or the end.

    What is being written is finished before the block is left, whatever ends it.
    """
    with ThreadPoolExecutor(1) as pool:
        last = []

        def submit(item):
            while last:
                last.pop().result()
            last.append(pool.submit(write, item))

        yield submit
        while last:
            last.pop().result()


def score(blocks, counts, frechet, row, workdir) -> list[dict]:
    """A row for each of `counts`; statistics.npz of all samples."""
    found = tallies(blocks, counts, frechet, network_hash(frechet))
    write_npz(workdir / "statistics.npz", found[counts[-1]].arrays())
    rows = []
    for count in counts:
        features = found[count].features
        distance = frechet.distance(features) if features and count > 1 else None
        rows.append(row | {"frechet": distance, "images": count})
    return rows


def write(workdir: Path, rows, blocks, config, network) -> None:
    """results.json, grid.png, and the rows on the screen; points, not images, are drawn over the data."""
    report.write_json(workdir / "results.json", {"rows": rows, "settings": blocks.settings})
    if len(network.shape) == 3:
        plots.plot_samples(workdir / "grid.png", first_images(blocks, SHOWN))
    else:
        panel = [("data", load_data(config, network, config.ems.points)[0])]
        panel.append((rows[-1]["solver"], first_images(blocks, 10_000)))
        plots.plot_scatter(workdir / "grid.png", {f"{rows[-1]['nfe']} network evaluations": panel})
    columns = ("solver", "nfe", "teleport", "frechet", "images", "seconds", "images_per_second")
    print(report.format_table(rows, columns, compare=False))
    if rows[-1]["frechet"] is not None:
        print(report.frechet_note(rows[-1]["images"]))


def first_images(blocks, count: int) -> np.ndarray:
    parts = []
    for block in blocks:
        parts.append(block.images)
        if sum(map(len, parts)) >= count:
            break
    return np.concatenate(parts)[:count]
