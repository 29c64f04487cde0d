"""From a config and its network to the function that every experiment draws samples with."""

from experiments import runner
from experiments.build import initial_scale
from experiments.build_model import build_labels


def make_sampler(config, network, mesh=None):
    """collect(table, rows, indices, on_batch=..., seed=sample.seed, jump=None) -> (samples [n, *shape], seconds).

    As runner.collect, with the labels, batches and noise of the config; compiled once for all seeds and tables of
    equal shape. mesh: all devices, or those given.
    """
    mesh = mesh or runner.make_mesh()
    draw = runner.make_draw(network.make, network.shape, initial_scale(config), network.basis is not None)
    params = runner.place(mesh, network.params)

    def collect(table, rows, indices, on_batch=lambda count: None, seed=config.sample.seed, jump=None):
        fixed = {"indices": indices, "labels": build_labels(config, network, indices), "batch": config.sample.batch}
        return runner.collect(draw, params, table, rows, on_batch, seed=seed, jump=jump, mesh=mesh, **fixed)

    return collect
