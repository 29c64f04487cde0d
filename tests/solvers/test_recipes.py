"""What becomes of moments, and which options dpm_v3 has when none are given."""

import jax
import numpy as np
import pytest

from configs import toy_gmm
from experiments import build
from experiments.support import errors
from solvers import SOLVERS, recipes
from solvers.ems import DEFAULT, EMS, PLAIN, estimate, estimation, points_wanted, statistics
from solvers.ems.moments import Plan, gatherer
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP

LAM = np.linspace(-3, 4, 29)
MIX = np.random.default_rng(0).normal(size=(6, 6)) / 5


@pytest.fixture(scope="module")
def found():
    """Moments of 60 points of a network that is not linear."""

    def model(_, x, t):
        w = 0.4 / (0.4 + t * t)
        return w * x + (1 - w) * jax.numpy.tanh(MIX.astype(x.dtype) @ x)

    data = np.random.default_rng(1).normal(size=(60, 6)).astype(np.float32)
    return gatherer(Plan(model, (), EDM(), LAM, jax.random.key(0), "x0"))(data, np.arange(60))[0]


def test_plain_is_the_definition_and_each_ingredient_does_what_it_says(found):
    raw, plain = estimation.raw(found, LAM), statistics(found, LAM, recipe=PLAIN)
    np.testing.assert_allclose(plain.s, raw.covariance / raw.variance, rtol=1e-12)
    np.testing.assert_allclose(plain.b, raw.mean_df - plain.s * raw.mean_f, rtol=1e-12, atol=1e-14)
    assert np.abs(plain.s).max() > 0.5
    capped = statistics(found, LAM, recipe=PLAIN._replace(cap=0.5))
    np.testing.assert_array_equal(capped.s, np.clip(plain.s, -0.5, 0.5))
    ridged = statistics(found, LAM, recipe=PLAIN._replace(ridge=0.5))
    mean = raw.variance.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ridged.s, raw.covariance / (raw.variance + 0.5 * mean), rtol=1e-12)
    explained = raw.covariance**2 / (raw.variance * raw.variance_df)
    np.testing.assert_allclose(statistics(found, LAM, recipe=PLAIN._replace(r2=1.0)).s, plain.s * explained, rtol=1e-10)
    shrunk = statistics(found, LAM, recipe=PLAIN._replace(shrink=4.0)).s
    assert np.all(np.abs(shrunk) <= np.abs(plain.s)) and np.any(shrunk == 0) and np.abs(shrunk).max() > 0.4
    for other in (capped, ridged):  # b is always that of its s, so that s E f + b stays E f'
        np.testing.assert_allclose(other.b + other.s * raw.mean_f, raw.mean_df, rtol=1e-12, atol=1e-13)


def test_smoothing_of_the_derivative_of_l(found):
    one, many = estimation.raw(found, LAM), estimation.raw(found, LAM, window=11)
    for node in (0, 3, 14, 28):
        near = slice(max(node - 5, 0), node + 6)
        np.testing.assert_allclose(many.dl[node], one.dl[near].mean(axis=0), rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="window must be odd, from 1 to the 29 noise levels, got 4"):
        statistics(found, LAM, recipe=DEFAULT._replace(window=4))


def test_points_wanted():
    """Four times the points halve the errors."""
    model = lambda x, t: MIX.astype(x.dtype) @ x  # noqa: E731
    data = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    got = estimate(model, EDM(), data, LAM, jax.random.key(0), "x0")
    errors = got.meta["standard_error"]
    wanted = points_wanted(got, 0.01)
    for name in "lsb":
        now = np.sqrt(np.mean(np.square(errors[name])))
        assert np.isclose(wanted[name], 100 * (now / 0.01) ** 2, rtol=0.02, atol=1)


def constant_ems(guidance, value=0.3):
    one = np.ones((2, 1)) * np.ones(3)
    meta = {"identity": {"guidance": guidance}}
    return EMS(np.array([-6.0, 6.0]), 0.9 * one, value * one, 0.1 * one, meta)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_without_options_the_recipe_is_taken(guidance):
    grid, given = GRIDS["lam_uniform"](VP(), 6, 1.0, 1e-3), constant_ems(guidance)
    options = recipes.pick(recipes.DPM_V3, guidance, 6)
    for x, y in zip(
        SOLVERS["dpm_v3"](VP(), grid, ems=given), SOLVERS["dpm_v3"](VP(), grid, ems=given, **options), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    published = SOLVERS["dpm_v3"](VP(), grid, ems=given, **recipes.PUBLISHED)
    for x, y in zip(SOLVERS["dpm_v3"](VP(), grid, ems=given, order=3), published, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("order", [1, 2])
def test_without_statistics_the_weights_of_2m_are_2m(order):
    """l = 1, s = b = 0 is data prediction: "dpmsolver" is DPM-Solver++(2M) as published, "taylor" its other form."""
    grid = GRIDS["karras"](EDM(), 7)
    for variant in ("dpmsolver", "taylor"):
        mine = SOLVERS["dpm_v3"](EDM(), grid, order=order, variant=variant, corrector=False, degenerate=True)
        theirs = SOLVERS["dpmpp"](EDM(), grid, order=order, variant=variant)
        compare(mine, theirs)


def compare(mine, theirs):
    """Tables on f = u - y and on y: the same x of the same network, here eps = tanh x, within round-off."""
    ends = []
    for table in (mine, theirs):
        x, history = np.array([50.0, -20.0]), []
        for n in range(table.nfe):
            history.insert(0, table.p[n] * x + table.q[n] * np.tanh(x))
            x = table.a[n] * x + sum(w * m for w, m in zip(table.b[n], history)) + table.c[n]
        ends.append(x)
    np.testing.assert_allclose(*ends, rtol=1e-11)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant"):
        SOLVERS["dpm_v3"](EDM(), GRIDS["karras"](EDM(), 5), degenerate=True, variant="midpoint")


def tables_of(config, guided=False):
    return build.make_tables(config, build.schedule(config), "x0", guided)


@pytest.mark.parametrize("scale", [0.0, 1.0, 7.5])
@pytest.mark.parametrize("nfe", [1, 5, 8, 20])
def test_auto_is_the_recipe_of_its_budget(scale, nfe):
    config = toy_gmm.get_config("smoke")
    config.guidance.scale = scale
    lam = np.linspace(-4.5, 6.3, 5)
    given = EMS(lam, *np.random.default_rng(0).normal(size=(3, 5, 2)), {})
    for known, path in ((given, ""), (None, ""), (given, "a.npz"), (None, "a.npz")):
        config.teleport.gaussian = path
        jumps = bool(path) and scale == 1.0
        entry = recipes.pick(recipes.AUTO[known is not None, jumps], scale, nfe)
        assert known is not None or entry["name"] != "dpm_v3"
        assert ("teleport" in entry) == jumps
        tables = tables_of(config, guided=scale != 1.0)
        got, expected = (tables.build(options, nfe, known) for options in ({"name": "auto"}, entry))
        assert got.nfe == nfe and (got.t[0] < 80) == jumps
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_array_equal(x, y)


def test_auto_teleports_only_from_enough_noise_and_to_where_it_is_told():
    config = toy_gmm.get_config("smoke")
    config.teleport.gaussian = "a.npz"
    config.grid.t_start = 9.0
    assert tables_of(config).build({"name": "auto"}, 6).t[0] == 9
    config.grid.t_start, config.teleport.sigma = 80.0, 3.0
    for name in ("auto", "teleport"):
        assert abs(tables_of(config).build({"name": name}, 6).t[0] - 3) < 1e-12
    with pytest.raises(errors.ConfigError, match="solver auto chooses its own order: leave that out"):
        tables_of(config).build({"name": "auto", "order": 2}, 6)


def test_every_recipe_begins_at_one_evaluation():
    for table in (recipes.DPM_V3, *recipes.AUTO.values()):
        assert min(table) == 1.0 and all(min(entries) == 1 for entries in table.values())
