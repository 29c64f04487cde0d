"""From a config and its network to the functions that every experiment draws samples with."""

import numpy as np
from jax.sharding import Mesh

from experiments.build.network import build_labels
from experiments.build.schedules import build_schedule, initial_scale
from experiments.sampling import draw as runner
from experiments.support.errors import config_errors
from experiments.support.mesh import first_devices, make_mesh, place


def make_sampler(config, network, mesh=None):
    """collect(table, rows, indices, on_batch=..., seed=sample.seed, jump=None) -> (samples [n, *shape], seconds).

    As runner.collect, with the labels, batches and noise of the config; compiled once for all seeds and tables of
    equal shape. mesh: the first `sample.devices`, or those given.
    """
    return _bind(runner.collect, config, network, mesh)


def make_generator(config, network, mesh=None):
    """generate(table, rows, indices, seed=sample.seed, jump=None, finish=...): the same of runner.generate."""
    return _bind(runner.generate, config, network, mesh)


def build_mesh(config) -> Mesh:
    """The first `sample.devices`."""
    with config_errors():
        return make_mesh(first_devices(config.sample.devices))


def _bind(take, config, network, mesh):
    mesh = mesh or build_mesh(config)
    draw = runner.make_draw(network.make, network.shape, initial_scale(config), network.basis is not None)
    params, schedule = place(mesh, network.params), build_schedule(config)
    fixed = {"batch": config.sample.batch, "mesh": mesh}
    fixed["level"] = lambda t: f"sigma / alpha = {np.exp(-schedule.lam(np.float64(t))):.4g}"

    def bound(table, rows, indices, *on_batch, seed=config.sample.seed, **more):
        more |= fixed | {"indices": indices, "labels": build_labels(config, network, indices, seed), "seed": seed}
        return take(draw, params, table, rows, *on_batch, **more)

    return bound
