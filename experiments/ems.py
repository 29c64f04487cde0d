"""The model's empirical statistics (EMS), once per model: what DPM-Solver-v3 needs.

    python main.py --config=configs/fashion_mnist.py --config.experiment=ems

Writes ems.npz, to be named by `ems.path`, and ems.png. The points are `ems.points` images of the training set, or of
`images` (for a model whose data set is not at hand: samples of its own), each with its own label where the model is
class-conditional (`model.labels`); guidance is left out, as in the paper.
"""

import json
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import gaussian
from experiments import data, plots, report
from experiments.build import ConfigError, build_ems, build_schedule, config_errors, sampling_range
from experiments.build_model import Network, build_labels, build_model
from solvers.ems import estimate
from solvers.ems_file import EMS, load_ems, save_ems


def run(config, workdir) -> EMS:
    workdir = Path(workdir)
    report.write_config(workdir / "config.json", config)
    network = build_model(config, guidance=False)
    ems = compute(config, network)
    save_ems(workdir / "ems.npz", ems)
    plots.plot_ems(workdir / "ems.png", ems.lam, l=ems.l, s=ems.s, b=ems.b)
    print(
        f"EMS of {config.ems.points} points at {len(ems.lam)} noise levels: name them with ems.path={workdir}/ems.npz"
    )
    return ems


def find_ems(config, network: Network, workdir) -> EMS | None:
    """The EMS of `ems.path`; of a mixture without one, estimated now and kept in the workdir for the next time."""
    if config.ems.path or config.model.name != "mixture":
        return build_ems(config, network.shape)
    cache = Path(workdir) / "ems.npz"
    made_from = json.loads(config.mixture.to_json()) | json.loads(config.ems.to_json())
    if cache.exists():
        ems = load_ems(cache)
        if ems.meta.get("made_from") == made_from and ems.meta["schedule"] == repr(build_schedule(config)):
            return ems
    ems = compute(config, network)
    save_ems(cache, ems._replace(meta=ems.meta | {"made_from": made_from}))
    return ems


def compute(config, network: Network) -> EMS:
    c, schedule = config.ems, build_schedule(config)
    lam = [float(schedule.lam(t)) for t in sampling_range(config, schedule)]
    points, labels = load_points(config, network)
    with tqdm(total=c.nodes + 1, desc="ems", unit="noise level", disable=None) as bar, config_errors():
        ems = estimate(
            lambda x, t, label: network.make(network.params, label)(x, t),
            schedule,
            points,
            np.linspace(*lam, c.nodes + 1),
            jax.random.key(config.sample.seed),
            prediction=network.prediction,
            batch=min(c.batch, len(points)),
            progress=lambda done, total: bar.update(done - bar.n),
            condition=labels,
        )
    return ems._replace(meta=ems.meta | {"labels": str(config.model.labels)})


def load_points(config, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """`ems.points` samples of the data, float32 [K, *shape], and their labels [K] as `model.labels` wants them."""
    count, wanted = config.ems.points, str(config.model.labels)
    labels = None
    if config.model.name == "mixture":
        points = np.asarray(gaussian.sample_data(network.params, jax.random.key(config.mixture.seed), count))
        return points, build_labels(config, network, np.arange(count))
    if config.images:
        images = report.read_samples(config.images)
    else:
        images, labels, *_ = data.load(config.data.name, config.data.path)
    if labels is None or wanted == "none":
        labels = build_labels(config, network, np.arange(len(images)))
    elif wanted.isdigit():
        images, labels = images[labels == int(wanted)], labels[labels == int(wanted)]
    if len(images) < count or images.shape[1:] != network.shape:
        raise ConfigError(
            f"ems.points = {count} samples of shape {network.shape} are wanted, there are {len(images)} of "
            f"{images.shape[1:]}: lower ems.points, or give other images"
        )
    return data.to_float(images[:count]), labels[:count].astype(np.int32)
