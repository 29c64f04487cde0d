"""Solvers as tables against the slow sequential loops of reference.py, in float64, over the products of their options.

All combinations of one solver's options at one (schedule, nfe) run as one stack of tables.
"""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import SOLVERS, pad, sample
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPDiscrete
from tests.helpers import mixture, reference, reference_v3

RTOL = 1e-11
DEPTH, STACK = 4, 48
PREDICTIONS = ("eps", "x0", "v", "score", "flow")
# Schedule, first time, grid. Flow starts inside: at alpha = 0 a noise prediction says nothing of x0.
CASES = {
    "edm": (EDM(), None, "lam_uniform"),
    "vp": (VP(), None, "t_quadratic"),
    "vp_discrete": (VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)), None, "t_uniform"),
    "flow": (Flow(), 0.98, "karras"),
}
NFES = (1, 2, 3, 5, 8)
EVERYWHERE = pytest.mark.parametrize(("case", "nfe"), list(product(CASES, NFES)))

pytestmark = pytest.mark.usefixtures("x64")


def options(**choices):
    """Every combination, as keyword arguments, each with a prediction type that changes from one to the next."""
    combinations = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    return [(PREDICTIONS[i % len(PREDICTIONS)], chosen) for i, chosen in enumerate(combinations)]


@jax.jit
def run_tables(case, tables, prediction, x):
    """x0 [tables, batch, *D]. Schedule and prediction type are numbers, so that the whole file shares few programs."""
    coefficients = [lambda t, s=schedule: (s.alpha(t), s.sigma(t)) for schedule, _, _ in CASES.values()]

    def one(table, prediction, x):
        def model(x, t):
            out = mixture.outputs(x, *jax.lax.switch(case, coefficients, t))
            return jnp.stack([out[name] for name in PREDICTIONS])[prediction]

        return sample(model, table, x)[0]

    return jax.vmap(jax.vmap(one, in_axes=(None, None, 0)), in_axes=(0, 0, None))(tables, prediction, x)


def compare(name, case, times, combinations, expected, **fixed):
    """Table-built `name` against expected(eps_model, schedule, times, x, **options), for all combinations."""
    schedule = CASES[case][0]
    x = schedule.sigma(times[0]) * np.random.default_rng(1).normal(size=(2, *mixture.SHAPE))
    tables = [SOLVERS[name](schedule, times, prediction, **fixed, **chosen) for prediction, chosen in combinations]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(pad(table, DEPTH) for table in tables))
    index = np.array([PREDICTIONS.index(prediction) for prediction, _ in combinations])
    # Repeated up to one length for all solvers, again to share programs.
    stacked, index = jax.tree.map(lambda a: np.resize(a, (STACK, *a.shape[1:])), (stacked, index))
    found = np.asarray(run_tables(list(CASES).index(case), stacked, index, x))[: len(tables)]
    for result, (prediction, chosen) in zip(found, combinations, strict=True):
        wanted = expected(mixture.eps_model(schedule), schedule, times, x, **chosen)
        error = np.abs(result - wanted).max() / np.abs(wanted).max()
        assert error < RTOL, f"{name} {chosen} with {prediction} at nfe {len(times) - 1}: relative error {error:.1e}"


def compare_v3(case, times, ems, **fixed):
    l, s, b = (np.ones_like(ems.l), 0 * ems.s, 0 * ems.b) if fixed.get("degenerate") else ems[1:4]
    combinations = options(
        order=(1, 2, 3),
        corrector=(True, False),
        predictor_pseudo=(True, False),
        corrector_pseudo=(True, False),
        lower_order_final=(True, False),
    )

    def expected(eps_model, schedule, times, x, **chosen):
        return reference_v3.v3(eps_model, schedule, times, x, ems.lam, l, s, b, **chosen)

    compare("dpm_v3", case, times, combinations, expected, ems=ems, published=True, **fixed)


def grid_of(case, nfe):
    schedule, t_start, grid = CASES[case]
    return GRIDS[grid](schedule, nfe, t_start)


def smooth_ems(case, times, nodes=120):
    """Smooth statistics that differ at every pixel, in the range that networks show, on a grid of their own."""
    lam = np.linspace(*CASES[case][0].lam(times[[0, -1]]), nodes + 1)
    rng = np.random.default_rng(2)
    u = np.linspace(0, 1, nodes + 1).reshape(-1, *[1] * len(mixture.SHAPE))
    wave = [np.sin(rng.uniform(1, 6, mixture.SHAPE) * u + rng.uniform(0, 6, mixture.SHAPE)) for _ in range(3)]
    return EMS(lam, 0.5 + 0.5 * wave[0], 0.4 * wave[1] - 0.1, 0.3 * wave[2], {"shape": list(mixture.SHAPE)})


@pytest.mark.thin(7)
@EVERYWHERE
def test_unipc(case, nfe):
    combinations = options(
        order=(1, 2, 3),
        variant=("bh1", "bh2"),
        corrector=(True, False),
        form=("x0", "eps"),
        lower_order_final=(True, False),
    )
    compare("unipc", case, grid_of(case, nfe), combinations, reference.unipc)


@pytest.mark.thin(7)
@EVERYWHERE
def test_dpm_v3_between_nodes(case, nfe):
    times = grid_of(case, nfe)
    compare_v3(case, times, smooth_ems(case, times))


def test_dpm_v3_on_nodes():
    """Times on the EMS nodes: the published method itself."""
    times = GRIDS["lam_uniform"](CASES["edm"][0], 8)
    compare_v3("edm", times, smooth_ems("edm", times))


def test_dpm_v3_inside_a_wider_grid():
    """Sampling may cover a part of the range of the EMS."""
    times = np.array([0.83, 0.6, 0.41, 0.2, 0.07, 0.02])
    compare_v3("vp", times, smooth_ems("vp", grid_of("vp", 5)))


def test_dpm_v3_degenerate():
    times = grid_of("flow", 8)
    compare_v3("flow", times, smooth_ems("flow", times), degenerate=True)


@EVERYWHERE
def test_dpmpp(case, nfe):
    combinations = options(order=(1, 2, 3), variant=("dpmsolver", "taylor"), lower_order_final=(True, False))
    compare("dpmpp", case, grid_of(case, nfe), combinations, reference.dpmpp)


@pytest.mark.parametrize("case", CASES)
def test_ipndm(case):
    compare("ipndm", case, grid_of(case, 8), options(order=(1, 2, 3, 4)), reference.ipndm)


@pytest.mark.parametrize("case", CASES)
def test_ddim(case):
    compare("ddim", case, grid_of(case, 5), [(name, {}) for name in PREDICTIONS], reference.ddim)


@pytest.mark.parametrize("case", CASES)
def test_edm_heun(case):
    compare("edm_heun", case, grid_of(case, 4), [(name, {}) for name in PREDICTIONS], reference.edm_heun)


@pytest.mark.parametrize("case", ["edm", "vp", "flow"])
def test_edm_heun_to_zero(case):
    """The interval that ends at sigma = 0 has one row."""
    times = np.append(grid_of(case, 2), 0.0)
    compare("edm_heun", case, times, [(name, {}) for name in PREDICTIONS], reference.edm_heun)
