"""Where the points of the model's statistics (EMS) come from: `ems.rule`, see experiments/ems/estimate.py."""

from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import gaussian
from experiments.build.bases import coordinates
from experiments.build.network import Network, build_labels
from experiments.build.schedules import build_schedule, initial_scale, is_guided
from experiments.build.tables import build_table
from experiments.data import datasets, pixels
from experiments.data.blocks import read_images
from experiments.metrics.threads import one_thread
from experiments.sampling.sampler import make_sampler
from experiments.support import keys
from experiments.support.errors import ConfigError, check_known
from experiments.support.mesh import make_mesh
from solvers import npz
from solvers.fingerprint import fingerprint

RULES = ("auto", "noised", "samples", "trajectory")
SAMPLE_NFE = 30  # of the rule `samples`


def rule_of(config) -> str:
    """`ems.rule`, with what `auto` stands for."""
    check_known(RULES, config.ems.rule, "ems.rule")
    if config.ems.rule == "auto":
        return "trajectory" if is_guided(config) else "noised"
    return config.ems.rule


def load_points(config, network: Network, identity: dict, workdir: Path) -> tuple[np.ndarray, np.ndarray]:
    """float32 [K, *shape], and labels [K]: clean samples, or for trajectories states at the first noise level.

    In the coordinates of the network, which may be another basis than pixels.
    """
    count, indices = config.ems.points, np.arange(config.ems.points)
    rule, labels = rule_of(config), build_labels(config, network, indices)
    if rule == "noised":
        points, labels = load_data(config, network, count)
    elif rule == "trajectory":
        points = initial_scale(config) * keys.initial_noise(config.ems.seed, indices, network.shape)
    else:
        points = draw_samples(config, network, identity, labels, workdir / "points.npz")
    return points if network.basis is None else coordinates(network.basis, points), labels


def draw_samples(config, network: Network, identity, labels, path: Path) -> np.ndarray:
    """Samples of the model, by UniPC of order 3; kept in `path`, since they cost as much as several noise levels."""
    made = fingerprint(identity | {"count": len(labels), "seed": config.ems.seed, "nfe": SAMPLE_NFE})
    try:
        file = npz.read(path, ("points", "made"))
        if str(file["made"]) == made:
            return file["points"]
    except FileNotFoundError:
        pass
    except ValueError as error:
        print(f"{error}: they are drawn again now")
    table = build_table(config, {"name": "unipc", "grid": {"name": "lam_uniform"}}, SAMPLE_NFE, network.prediction)
    collect, indices = make_sampler(config, network, make_mesh(jax.local_devices())), np.arange(len(labels))
    with tqdm(total=len(labels), desc="samples for the EMS", unit="sample", disable=None) as bar:
        points, _ = collect(table.astype(np.float32), table.nfe, indices, bar.update, seed=config.ems.seed)
    npz.write(path, {"points": points, "made": made})
    return points


def closed_form(config, network: Network) -> Network:
    """The exact denoiser of the Gaussian of the data set, of each class where the model is conditional, in pixels."""
    if network.basis is not None or is_guided(config) or config.model.name == "mixture":
        raise ConfigError("ems.model=gaussian is for a network in pixels without guidance: set ems.model=network")
    images, labels, *_ = datasets.load(config.data.name, config.data.path)
    labels = np.zeros(len(images), int) if str(config.model.labels) == "none" else labels
    with one_thread(images[0].size):
        fits = jax.tree.map(np.float32, gaussian.fit_classes(pixels.to_float(images), labels))
    schedule = build_schedule(config)

    def make(mixture, label):
        return gaussian.denoiser(gaussian.component(mixture, label), schedule)

    return network._replace(params=fits, make=make, prediction="x0")


def load_data(config, network: Network, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` samples of the data, float32 [K, *shape], and their labels [K] as `model.labels` wants them."""
    wanted, labels = str(config.model.labels), None
    if config.model.name == "mixture":
        mixture = network.params if network.basis is None else network.params["network"]
        draw = jax.jit(gaussian.sample_data, static_argnums=2)  # eagerly it is twenty programs
        points = np.asarray(draw(mixture, jax.random.key(config.mixture.seed), count))
        return points, build_labels(config, network, np.arange(count))
    if config.images:
        images = read_images(config.images)
    else:
        images, labels, *_ = datasets.load(config.data.name, config.data.path)
    if labels is None or wanted == "none":
        labels = build_labels(config, network, np.arange(len(images)))
    elif wanted.isdigit():
        images, labels = images[labels == int(wanted)], labels[labels == int(wanted)]
    if len(images) < count or images.shape[1:] != network.shape:
        raise ConfigError(
            f"ems.points = {count} samples of shape {network.shape} are wanted, there are {len(images)} of "
            f"{images.shape[1:]}: lower ems.points, or give other images"
        )
    return pixels.to_float(images[:count]), labels[:count].astype(np.int32)
