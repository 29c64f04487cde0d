"""Statistics on any number of devices are the same to round-off, and take the memory of one block of noise levels."""

import gc
import tracemalloc
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.ems import units as ems_units
from experiments.support.mesh import make_mesh, place
from solvers import npz
from solvers.ems.moments import Plan
from solvers.schedule import EDM
from tests.helpers.places import ROOT
from tests.helpers.processes import child

DIMENSION, HIDDEN = 3, 5


def tiny(params, x, t, label):
    """A network with one hidden layer, that sees log t."""
    first, second = params
    return second @ jnp.tanh(first @ jnp.append(x, jnp.log(t)) + 0.1 * label)


def tiny_plan(rule, **options):
    """Weights are at most 1 / inputs: in the maximum norm the network is a contraction."""
    rng = np.random.default_rng(0)
    shapes = (HIDDEN, DIMENSION + 1), (DIMENSION, HIDDEN)
    params = tuple((rng.uniform(-1, 1, shape) / shape[1]).astype(np.float32) for shape in shapes)
    lam, key = np.linspace(-2, 2, 7), jax.random.key(0)
    return Plan(tiny, params, EDM(), lam, key, prediction="x0", rule=rule, batch=8, **options)


def on_devices(path):
    """The mean products on 1, 2 and 4 devices."""
    rng = np.random.default_rng(1)
    data, labels = rng.uniform(-1, 1, (21, DIMENSION)).astype(np.float32), rng.integers(0, 3, 21).astype(np.int32)
    for rule in ("noised", "trajectory"):
        for count in (1, 2, 4):
            mesh = make_mesh(jax.devices()[:count])
            split = partial(place, mesh, batch=True)
            plan = tiny_plan(rule, groups=count, place=split)
            plan = plan._replace(params=place(mesh, plan.params))
            sums = ems_units.gather_all(plan, data, labels, path / f"{rule}{count}", 8, 3).sums
            npz.write(path / f"{rule}{count}.npz", {"sums": sums / 21, "devices": len(mesh.devices)})


def test_moments_do_not_depend_on_the_number_of_devices(tmp_path, monkeypatch):
    """To float32 round-off: sums are float64, in which products of float32 numbers are exact, so that only what is
    summed, of one point, is rounded: by 2^-24 of its size per operation, in a chain of n = D + H + 10 at most (two
    matrix products, tanh, and what is affine), in which the network, a contraction, amplifies nothing. The mean of a
    product is off by at most twice that times the largest second moment. Along trajectories dx/dlam = y - x with y a
    contraction, so that errors add up over the levels, with weights of UniPC of size 4 at most.
    """
    monkeypatch.chdir(ROOT)
    assert child(on_devices, tmp_path, devices=4) == 0
    for rule, steps in {"noised": 1, "trajectory": 4 * 7}.items():
        one, two, four = (npz.read(tmp_path / f"{rule}{n}.npz", ("sums", "devices")) for n in (1, 2, 4))
        assert [int(x["devices"]) for x in (one, two, four)] == [1, 2, 4]
        largest = np.abs(one["sums"]).max()
        bound = steps * (DIMENSION + HIDDEN + 10) * 2 * 2.0**-24 * (1 + largest)
        assert bound < largest / 21 / 100  # a point that is left out shows
        for other in (two, four):
            np.testing.assert_allclose(other["sums"], one["sums"], rtol=0, atol=bound)


class Bar:
    """In place of Progress: what is alive on the devices whenever a batch is done."""

    def __init__(self, **options):
        self.total, Bar.seen = 0, []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, count):
        Bar.seen.append(alive())


def alive():
    return sum(array.nbytes for array in jax.live_arrays())


@pytest.mark.parametrize("rule", ["noised", "trajectory"])
def test_memory_is_one_block_whatever_the_grid(rule, tmp_path, monkeypatch):
    """On the devices exactly the same for twice the noise levels, or four times the points. On the host, beside the
    points, the sums are all that grows: by 8 levels here (to a quarter: other things of the process come and go).
    """
    monkeypatch.setattr(ems_units, "Progress", Bar)
    device, host, size = [], [], 2000
    for levels, count in ((8, 64), (8, 64), (16, 64), (8, 256)):  # the first compiles for all
        plan = Plan(lambda _, x, t, label: jnp.tanh(x), (), EDM(), np.linspace(-2, 2, levels), jax.random.key(0))
        plan, data = plan._replace(rule=rule, batch=16), np.ones((count, size), np.float32)
        gc.collect()
        before = alive()
        tracemalloc.start()
        ems_units.gather_all(plan, data, np.zeros(count, np.int32), tmp_path / str(len(device)), 32, 4)
        host.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        device.append(max(Bar.seen) - before)
        assert len(Bar.seen) == count // 16 * levels
    assert device[1] == device[2] == device[3] > 4 * 12 * size * 8  # the sums of a block, in float64
    growth = 8 * 12 * size * 8
    assert abs(host[2] - host[1] - growth) < growth / 4 and abs(host[3] - host[1]) < growth / 4
