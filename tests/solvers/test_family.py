"""What holds for every solver, on every schedule and grid: drawn at random by hypothesis, and at the end points."""

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs import default
from experiments import build
from experiments.support.errors import ConfigError
from gaussian import spectrum
from solvers import SOLVERS, denoise_to_zero, pad
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPCosine, VPDiscrete, zero_terminal_snr

ALPHAS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
SCHEDULES = {"edm": EDM(), "vp": VP(), "vp_cosine": VPCosine(), "vp_discrete": VPDiscrete(ALPHAS), "flow": Flow()}
VARIANCES = np.array([1e-3, 0.1, 1.0])
STATISTICS = EMS(np.linspace(-12, 12, 49), *np.array([1.0, 0.0, 0.0])[:, None] * np.ones(49), {})  # data prediction

OPTIONS = {
    "ddim": {},
    "dpm_solver": {"order": (1, 2, 3), "variant": ("dpmsolver", "taylor", "exact"), "lower_order_final": (True, False)},
    "dpmpp": {"order": (1, 2, 3), "variant": ("dpmsolver", "taylor", "exact"), "lower_order_final": (True, False)},
    "unipc": {
        "order": (1, 2, 3),
        "variant": ("bh1", "bh2", "vary_coeff", "exact"),
        "corrector": (True, False),
        "half": (None, "paper", "code"),
        "form": ("x0", "eps"),
        "lower_order_final": (True, False),
    },
    "deis": {"order": (1, 2, 3, 4), "variant": ("tab", "rhoab")},
    "ipndm": {"order": (1, 2, 3, 4), "variant": ("equal", "variable")},
    "lms": {"order": (1, 2, 3, 4)},
    "plms": {"order": (1, 2, 3, 4)},
    "dpm_solver_singlestep": {"order": (1, 2, 3), "variant": ("dpmsolver", "taylor")},
    "dpmpp_singlestep": {"order": (1, 2, 3), "variant": ("dpmsolver", "taylor")},
    "heun": {"coordinates": ("sigma", "t")},
    "edm_heun": {},
    "dpm_v3": {
        "order": (1, 2, 3),
        "corrector": (True, False),
        "half": (None, "paper", "code"),
        "predictor_pseudo": (True, False),
        "corrector_pseudo": (True, False),
        "lower_order_final": (True, False),
        "interpolation": ("linear", "spline"),
        "published": (True, False),
    },
    "ddpm": {"eta": (0.0, 0.5, 1.0)},
    "sde_dpmpp_2m": {"order": (1, 2)},
    "edm_stochastic": {"s_churn": (0.0, 10.0)},
}


def build_table(config, options, nfe, prediction):
    return build.make_tables(config, build.schedule(config), prediction, guided=False).build(options, nfe, STATISTICS)


def test_every_solver_is_drawn():
    assert set(OPTIONS) == set(SOLVERS)


@st.composite
def solvers(draw):
    name = draw(st.sampled_from(sorted(OPTIONS)))
    return {"name": name} | {key: draw(st.sampled_from(values)) for key, values in OPTIONS[name].items()}


def config_of(schedule, grid="lam_uniform"):
    """Starts at 0.98 t_max, where every schedule has a finite lam."""
    c = default.get_config()
    c.schedule.name, c.grid.name = schedule, grid
    c.grid.t_start, c.grid.t_end = 0.98 * SCHEDULES[schedule].t_max, SCHEDULES[schedule].t_min
    return c


schedules, grids = st.sampled_from(sorted(SCHEDULES)), st.sampled_from([name for name in GRIDS if name != "given"])
predictions = st.sampled_from(["eps", "x0", "v", "score", "flow"])


# all that is refused: budgets below a first step, a second step to sigma = 0, and churn beyond the grid
REFUSALS = re.compile(
    r"raise nfe|at least one evaluation, got|ends at sigma = 0: set|churn raises t=.*: use s_max up to"
)


@settings(max_examples=400, deadline=None)
@given(solvers(), schedules, grids, predictions, st.integers(1, 14), st.booleans())
def test_tables_are_finite_and_spend_what_they_should(options, schedule, grid, prediction, nfe, denoise):
    config = config_of(schedule, grid)
    try:
        table = build_table(config, options | {"denoise_to_zero": denoise}, nfe, prediction)
    except ConfigError as error:
        assert REFUSALS.search(str(error)), error
        return
    assert table.nfe == nfe and table.t[0] == config.grid.t_start
    assert all(column is None or np.isfinite(column).all() for column in table)
    assert np.all(np.diff(table.t) <= 0) or table.s is not None  # churn raises t


@settings(max_examples=30, deadline=None)
@given(solvers(), schedules, st.sampled_from(["lam_uniform", "karras"]))
def test_gaussian_data_are_exact_in_the_limit(options, schedule, grid):
    """Every solver's gain of each mode, noise included, tends to the exact one (gaussian/modes.py)."""
    assume(options["name"] != "edm_stochastic")  # its churn falls with the number of steps: tested on its own

    def error(options, nfe):
        table = build_table(config_of(schedule, grid), options, nfe, "v")
        found = spectrum(table, SCHEDULES[schedule], VARIANCES, "v", SCHEDULES[schedule].t_min)
        return np.abs(found.error).max()

    coarse, fine = error(options, 100), error(options, 400)
    # of first order at least: a quarter, with room for the terms that follow, or what DDIM has (at 100, errors of both
    # signs may cancel); and 1e-3 for what the trapezoids of the published v3 leave over on 49 nodes of statistics
    assert fine < max(0.35 * coarse, error({"name": "ddim"}, 400)) + 1e-3, (coarse, fine)


UNUSED = [
    ("unipc", {"corrector": False}, "half", ("paper", None)),
    ("unipc", {"corrector": False, "order": 1}, "variant", ("bh1", "bh2", "vary_coeff", "exact")),
    ("dpmpp", {"order": 1}, "variant", ("dpmsolver", "taylor", "exact")),
    ("dpmpp", {"order": 1}, "lower_order_final", (True, False)),
    ("dpm_solver", {"order": 1}, "variant", ("dpmsolver", "taylor", "exact")),
    ("ipndm", {"order": 1}, "variant", ("equal", "variable")),
    ("deis", {"order": 1}, "variant", ("tab", "rhoab")),
    ("dpm_v3", {"corrector": False}, "half", ("paper", None)),
    ("dpm_v3", {"corrector": False}, "corrector_pseudo", (True, False)),
    ("dpm_v3", {"order": 1}, "predictor_pseudo", (True, False)),
    ("dpm_v3", {"order": 2}, "predictor_pseudo", (True, False)),
    ("dpm_v3", {"published": True}, "interpolation", ("linear", "spline")),
    ("dpmpp_singlestep", {"order": 1}, "variant", ("dpmsolver", "taylor")),
]


@pytest.mark.parametrize(("name", "options", "unused", "values"), UNUSED, ids=str)
@given(schedules, grids, st.integers(1, 9))
@settings(max_examples=10, deadline=None)
def test_unused_options_change_nothing(name, options, unused, values, schedule, grid, nfe):
    first, *others = (
        build_table(config_of(schedule, grid), {"name": name, unused: value} | options, nfe, "eps") for value in values
    )
    for other in others:
        depth = max(first.depth, other.depth)
        for x, y in zip(pad(first, depth)[:6], pad(other, depth)[:6], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


MULTISTEP = ["ddim", "dpm_solver", "dpmpp", "unipc", "deis", "ipndm", "lms", "plms"]
ZERO_SNR = VPDiscrete(zero_terminal_snr(ALPHAS))


@pytest.mark.parametrize("name", MULTISTEP)
@pytest.mark.parametrize(("schedule", "t_end"), [(Flow(), 0.0), (ZERO_SNR, 1e-3)], ids=["flow", "zero terminal SNR"])
def test_from_pure_noise_to_data(name, schedule, t_end):
    """From alpha = 0, for rectified flow to sigma = 0: finite from one step on, exact in the limit."""
    errors = []
    for n in (1, 2, 3, 100, 400):
        table = SOLVERS[name](schedule, np.linspace(1, t_end, n + 1), prediction="v")
        assert all(column is None or np.isfinite(column).all() for column in table)
        errors.append(np.abs(spectrum(table, schedule, VARIANCES, "v", t_end).error).max())
    assert errors[-1] < 0.5 * errors[-2] and errors[-1] < 0.1, errors


def test_a_network_of_noise_at_pure_noise_is_refused():
    for name in MULTISTEP:
        with pytest.raises(ValueError, match="does not determine 'x0' at alpha=0.*smaller t_start"):
            SOLVERS[name](Flow(), [1.0, 0.5, 0.1], prediction="eps")


def test_zero_terminal_snr_is_a_schedule():
    lam = np.linspace(-8, 3, 30)
    np.testing.assert_allclose(ZERO_SNR.lam(ZERO_SNR.t_of_lam(lam)), lam, rtol=0, atol=1e-9)
    assert ZERO_SNR.lam(1.0) == -np.inf and ZERO_SNR.t_of_lam(-np.inf) == 1
    np.testing.assert_allclose(ZERO_SNR.alpha(np.arange(1, 1001) / 1000) ** 2, zero_terminal_snr(ALPHAS), atol=1e-15)
    np.testing.assert_allclose(zero_terminal_snr(ALPHAS)[0], ALPHAS[0], rtol=1e-15)


def test_denoise_to_zero_is_ddims_step_to_sigma_0():
    """On EDM, whose sigma reaches 0 at t = 0."""
    t = GRIDS["lam_uniform"](EDM(), 5)
    for prediction in ("eps", "x0"):
        first = denoise_to_zero(SOLVERS["ddim"](EDM(), t, prediction), EDM(), t[-1], prediction)
        second = SOLVERS["ddim"](EDM(), np.append(t, 0.0), prediction)
        assert first.nfe == second.nfe == 6
        for x, y in zip(first[:6], second[:6], strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - {"dpm_v3"}))
@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([80.0, 5.0, 5.0, 1.0], "decrease strictly, got 5 and then 5 .*drop duplicates"),
        ([1.0, 5.0], "decrease strictly.*sort them from noise to data"),
        ([80.0], "at least two times"),
        ([80.0, np.nan], "finite"),
    ],
)
def test_impossible_times_are_refused_by_every_solver(name, times, message):
    with pytest.raises(ValueError, match=message):
        SOLVERS[name](EDM(), times)


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - {"dpm_v3"}))
@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_steps_with_any_order(name, n):
    """More order than steps is what a warm-up is: the order falls to what there is."""
    most = max(OPTIONS[name].get("order", (1,)))
    options = {"order": most} if most > 1 else {}
    table = SOLVERS[name](EDM(), GRIDS["lam_uniform"](EDM(), n), **options)
    assert np.isfinite(table.b).all()
    if table.nfe == 1 and table.s is None:
        ddim = SOLVERS["ddim"](EDM(), GRIDS["lam_uniform"](EDM(), 1))
        gains = [spectrum(one, EDM(), VARIANCES, "eps", 0.002).gain for one in (table, ddim)]
        np.testing.assert_allclose(*gains, rtol=1e-9)  # 80 / 0.002 units of round-off, and a margin
