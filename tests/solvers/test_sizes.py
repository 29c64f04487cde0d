"""Sums at the sizes that users have, on 1 to 8 devices, against float64 in numpy.

A sum over the leading axis of a product with a factor that all samples share is what jaxlib 0.10.2 gets wrong on CPUs,
from some 10,000 numbers on: at 28x28x1 it is right.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.sampling.alignment import align
from experiments.structure import explained
from experiments.support.mesh import make_mesh, place, rounded
from gaussian import Mixture, delta, posterior_mean, teleport
from solvers import SOLVERS, Table, advance, sample, step
from solvers.ems.moments import FACTORS, Plan, gatherer
from solvers.engine import State
from solvers.grid import GRIDS
from solvers.schedule import EDM
from tests.helpers.processes import child

SIZES = ((4, (64, 64, 4)), (8, (64, 64, 3)), (16, (32, 32, 3)), (5, (12288,)))
EPS = float(np.finfo(np.float32).eps)
STATISTICS = {"degenerate": True}  # of dpm_v3, whose coefficients get the shape of the data below, as all others' do


@pytest.mark.thin(10)
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, (size[0], *size[1]))))
def test_sums(size, devices):
    """All checks below, in a process of its own, whose error output is the test's."""
    assert child(check_all, *size, devices=devices) == 0


def check_all(count, shape):
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    for check in (check_step, check_solvers, check_teleport, check_mixtures, check_moments, check_explained):
        check(normal, count, shape)


def over_devices(function, shared, *batched):
    """vmap(function(shared, *one of each)) over arrays [B, ...] that are split over all devices."""
    count, mesh = len(batched[0]), make_mesh()
    size = rounded(count, count, mesh)
    batched = place(mesh, tuple(np.resize(x, (size, *x.shape[1:])) for x in batched), batch=True)
    found = compiled(function, len(batched))(place(mesh, shared), *batched)
    return jax.tree.map(lambda x: np.asarray(x)[:count], found)


@cache
def compiled(function, arrays):
    return jax.jit(jax.vmap(function, (None,) + (0,) * arrays))


def net(x, t):
    """|out| and the slope are at most |x| and 1: bounds of errors pass through it. For jax and numpy."""
    return (np if isinstance(x, np.ndarray) else jnp).tanh(x) / (1 + t)


def recursion(table, rows, x, history=None, noise=()):
    """x after `rows` rows of the table in float64, and what its float32 round-off is below: x [B, *D]."""
    table = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), table)
    history = np.zeros((table.depth, *x.shape)) if history is None else np.moveaxis(history, 1, 0)
    x, past = x.astype(np.float64), list(history.astype(np.float64))
    size, sizes = np.abs(x), [np.abs(m) for m in past]
    for n in range(rows):
        m = table.p[n] * x + table.q[n] * net(x, table.t[n])
        past, sizes = [m, *past[:-1]], [(abs(table.p[n]) + abs(table.q[n])) * size, *sizes[:-1]]
        added = 0 if table.s is None else table.s[n] * noise[n].astype(np.float64)
        x = table.a[n] * x + sum(b * m for b, m in zip(table.b[n], past)) + table.c[n] + added
        size = (
            abs(table.a[n]) * size + sum(abs(b) * s for b, s in zip(table.b[n], sizes)) + abs(table.c[n]) + abs(added)
        )
    return x, 4 * rows * (table.depth + 6) * EPS * size


def assert_within(got, wanted, bound):
    assert np.median(bound) < 0.1 * np.abs(wanted).max()  # else the test could not fail
    assert got.shape == wanted.shape and np.all(np.abs(got - wanted) <= bound)


def check_step(normal, count, shape):
    """The newest prediction first, as Table has it."""
    row = Table(np.float32(1), normal(*shape), np.float32(0.5), normal(*shape), normal(4, *shape), normal(*shape))
    x, history = normal(count, *shape), normal(count, 4, *shape)
    got = over_devices(lambda row, x, history: step(net, State(x, history), row), row, x, history)
    table = jax.tree.map(lambda leaf: np.asarray(leaf)[None], row)
    assert_within(got.x, *recursion(table, 1, x, history))
    np.testing.assert_array_equal(got.history[:, 1:], history[:, :-1])


def check_solvers(normal, count, shape):
    grid, key = GRIDS["lam_uniform"](EDM(), 6, t_start=3.0, t_end=0.1), jax.random.key(0)
    tables = {
        name: in_shape(build(EDM(), grid, **(STATISTICS if name == "dpm_v3" else {}), prediction="x0"), normal, shape)
        for name, build in SOLVERS.items()
    }
    x = 3 * normal(count, *shape)
    one = lambda index: jax.random.fold_in(key, index)  # noqa: E731
    run = lambda case, x, index: advance(net, case[0], x, case[1], one(index))  # noqa: E731
    indices = np.arange(count)
    for name, case in align(tables).items():
        wanted = recursion(*case, x, noise=noises(case[1], indices, one, shape))
        assert_within(over_devices(run, case, x, indices), *wanted)
        if name in ("unipc", "sde_dpmpp_2m"):
            table = tables[name].astype(np.float32)
            last, states = over_devices(lambda table, x, i: sample(net, table, x, one(i)), table, x, indices)
            assert_within(last, *wanted)
            np.testing.assert_array_equal(states[:, -1], last)


def in_shape(table, normal, shape):
    """The table with coefficients of the shape of the data, different in each place."""
    vary = lambda leaf: leaf.reshape(*leaf.shape, *(1,) * len(shape)) * (1 + 0.1 * normal(*shape))  # noqa: E731
    return table._replace(**{name: vary(getattr(table, name)) for name in "pabc"})


def noises(rows, indices, one, shape):
    draw = lambda index, n: jax.random.normal(jax.random.fold_in(one(index), n), shape)  # noqa: E731
    return np.asarray(jax.vmap(jax.vmap(draw, (0, None)), (None, 0))(indices, np.arange(rows)))


def low_rank(normal, shape, components=3, rank=8):
    """Means that are apart by some units, variances from 0.1 to 2."""
    size = int(np.prod(shape))
    basis = np.stack([np.linalg.qr(normal(size, rank))[0] for _ in range(components)])
    variances = np.tile(np.linspace(2, 0.3, rank), (components, 1))
    weights, floor = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.3])
    return Mixture(weights, 0.1 * normal(components, size).astype(np.float64), basis, variances, floor, shape)


def check_teleport(normal, count, shape):
    mixture, x, component = low_rank(normal, shape), 10 * normal(count, *shape), np.arange(count) % 3
    got = over_devices(lambda jump, x, k: jump(x, k), teleport(mixture, EDM(), 10.0, 0.5), x, component)
    d = x.reshape(count, -1) - mixture.means[component]
    basis, variances, floor = (a[component] for a in (mixture.basis, mixture.variances, mixture.floor))
    gain, rest = (np.sqrt((v + 0.5**2) / (v + 10.0**2)) for v in (variances, floor[:, None]))
    y = np.einsum("ndr,nd->nr", basis, d)
    wanted = mixture.means[component] + rest * d + np.einsum("ndr,nr->nd", basis, (gain - rest) * y)
    size = np.linalg.norm(d, axis=1)[:, None] * np.abs(basis).max()  # of the terms of y
    assert_within(got.reshape(count, -1), wanted, 16 * EPS * (np.abs(wanted) + size) + np.zeros_like(wanted))


def denoised(mixture, x, sigma):
    """E[x0 | x] in float64, and what float32 may get wrong: mostly the components' probabilities, from distances."""
    flat, size = x.reshape(len(x), -1).astype(np.float64), int(np.prod(mixture.shape))
    rank, logits, found = mixture.basis.shape[2], [], []
    for weight, mean, basis, variances, floor in zip(*mixture[:5]):
        d = flat - mean
        y = d @ basis
        rest = d - y @ basis.T
        spread, noisy = variances + sigma**2, floor + sigma**2
        distance = (y**2 / spread).sum(1) + (rest**2).sum(1) / noisy
        logits.append(np.log(weight) - 0.5 * (np.log(spread).sum() + (size - rank) * np.log(noisy) + distance))
        found.append(mean + (y * variances / spread) @ basis.T + floor / noisy * rest)
    logits, found = np.array(logits), np.array(found)
    likely = np.exp(logits - logits.max(axis=0))
    likely = (likely / likely.sum(axis=0))[:, :, None]
    apart = np.abs(found - (mean := (likely * found).sum(axis=0))).max(axis=0)
    wrong = 8 * EPS * np.square(np.abs(flat) + 1).sum(axis=1)[:, None] / sigma**2
    return mean.reshape(x.shape), (wrong * apart + 64 * EPS * (np.abs(mean) + 1)).reshape(x.shape)


def check_mixtures(normal, count, shape):
    points = delta(0.1 * normal(7, *shape))
    for mixture in (low_rank(normal, shape), points, points._replace(floor=np.full(7, 0.3))):
        x = mixture.means[np.arange(count) % 3].reshape(count, *shape).astype(np.float32) + 2 * normal(count, *shape)
        got = over_devices(lambda mixture, x: posterior_mean(mixture, x, 1.0, 2.0), mixture, x)
        wanted, bound = denoised(mixture, x, 2.0)
        assert got.shape == wanted.shape and np.all(np.abs(got - wanted) <= bound)


def check_explained(normal, count, shape):
    """The network is the mixture; its Gaussian's first component is what explains it."""
    mixture, images = low_rank(normal, shape), 0.3 * normal(count, *shape)
    other = Mixture(np.ones(1), *(leaf[:1] for leaf in mixture[1:5]), shape)
    points = explained.make_points(images, (0.5, 2.0), EDM())
    denoise = explained.closed_form(posterior_mean)
    mine, theirs = (explained.outputs(denoise, m, points, batch=count) for m in (mixture, other))
    rows = explained.compare(points, mine, theirs, "first")
    for sigma, own, row in zip(points.sigmas, mine, rows):
        z = np.stack([jax.random.normal(jax.random.fold_in(jax.random.key(0), i), shape) for i in range(count)])
        x = images + np.float32(sigma) * z
        (whole, bound), (first, bound_first) = (denoised(m, x, sigma) for m in (mixture, other))
        assert np.all(np.abs(own - whole) <= bound)
        square = lambda v: np.square(v).reshape(count, -1).sum(axis=1)  # noqa: E731
        share = (1 - square(whole - first) / square(whole)).mean()
        slack = 4 * np.sqrt(square(bound + bound_first) / square(whole)).max()
        assert abs(row["denoiser"] - share) <= slack * (1 + np.sqrt(abs(1 - share)))


def check_moments(normal, count, shape):
    """Of a model with a diagonal Jacobian, which any probes have exactly."""
    weight, lam = 1 + 0.1 * normal(*shape), np.array([-1.0, 0.0, 0.5])
    data, key, mesh = normal(count + 3, *shape), jax.random.key(1), make_mesh()
    model = lambda weight, x, t: weight * jnp.tanh(x / (1 + t))  # noqa: E731
    plan = Plan(model, place(mesh, weight), EDM(), lam, key, "x0", probes=3, batch=count, groups=mesh.devices.size)
    found, _ = gatherer(plan._replace(place=partial(place, mesh, batch=True)))(data, np.arange(len(data)))
    assert_moments(found.sums, weight.astype(np.float64), lam, data, key)


def assert_moments(sums, weight, lam, data, key):
    draw = lambda i: jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, i), 0), data.shape[1:])  # noqa: E731
    z = np.asarray(jax.vmap(draw)(np.arange(len(data))), np.float64)
    for own, t in zip(sums, np.exp(-lam)):
        x, wide = data + t * z, 1 + t
        y, slope = weight * np.tanh(x / wide), weight / np.cosh(x / wide) ** 2
        dy = slope / wide * (y - x) + slope * x / wide**2 * t  # dx/dlam = y - x, dt/dlam = -t
        values = x, y, dy, slope / wide, np.zeros_like(x)
        sizes = np.abs(data) + np.abs(t * z), np.abs(y), 3 * (np.abs(x) + np.abs(y) + 1), np.abs(weight) + 1, 0 * x
        for got, of in zip(own, FACTORS):
            wanted, size = (np.prod([v[i] for i in of], axis=0).sum(axis=0) for v in (values, sizes))
            assert np.all(np.abs(got - wanted) <= 64 * EPS * size)
