"""Tables: order conditions, reductions, exactness, one trace, refusals."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid, quad, solve_ivp

from solvers import SOLVERS, init_noise, pad, sample
from solvers.ems import EMS
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow, VPDiscrete
from tests.helpers.mixture import SHAPE, grid_of, model, start

SD = VPDiscrete(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
SCHEDULES = [EDM(), VP(), SD, Flow()]
# every multistep builder with all its options, and the smoothness its full-order rows integrate exactly
EXACT = [
    ("ddim", {}, "x0", 1),
    ("dpmpp", {"order": 1}, "x0", 1),
    ("dpmpp", {"order": 2, "variant": "taylor"}, "x0", 2),
    ("unipc", {"order": 1, "corrector": False}, "x0", 1),
    ("unipc", {"order": 3, "corrector": False}, "x0", 3),
    ("unipc", {"order": 3, "corrector": False, "form": "eps"}, "eps", 3),
    ("unipc", {"order": 3, "corrector": False, "variant": "bh1"}, "x0", 3),
    *(
        (name, {"order": p, "variant": "exact"}, form, p)
        for name, form in (("dpmpp", "x0"), ("dpm_solver", "eps"))
        for p in (1, 2, 3)
    ),
    ("dpm_solver", {"order": 2, "variant": "taylor"}, "eps", 2),
    *(
        ("unipc", {"order": p, "corrector": False, "variant": v}, "x0", p)
        for p in (2, 3)
        for v in ("vary_coeff", "exact")
    ),
]
ORDER = [
    ("ddim", {}, 1),
    ("dpmpp", {"order": 2}, 2),
    ("dpmpp", {"order": 2, "variant": "taylor"}, 2),
    ("dpmpp", {"order": 3}, 2),  # as published: a factor 2 is missing
    *(
        ("unipc", {"order": p, "variant": v, "form": f}, p)
        for p in (1, 2, 3)
        for v in ("bh1", "bh2")
        for f in ("x0", "eps")
    ),
    *((name, {"order": p, "variant": "exact"}, p) for name in ("dpmpp", "dpm_solver", "unipc") for p in (2, 3)),
    ("dpm_solver", {"order": 2}, 2),
    ("dpm_solver", {"order": 2, "variant": "taylor"}, 2),
    ("dpm_solver", {"order": 3}, 2),  # the same factor 2
    *((name, {"order": p}, p) for name in ("deis", "lms") for p in (1, 2, 3, 4)),
    ("ipndm", {"order": 3}, 2),  # weights of equal steps, on steps that are not
    *(("dpm_v3", {"order": p, "degenerate": True}, p) for p in (1, 2, 3)),
]


def solve(schedule, x, t, t_end):
    """The diffusion ODE by an adaptive method: x [*SHAPE] at t, wanted at the times t_end [k] (decreasing)."""
    eps = jax.jit(model(schedule, "eps"))

    def slope(lam, x):
        t = schedule.t_of_lam(lam)
        alpha = schedule.alpha(t)
        return -np.exp(-lam) * np.asarray(eps(jnp.asarray(x.reshape(SHAPE) * alpha), t)).ravel()

    lam = schedule.lam(np.asarray(t_end))
    got = solve_ivp(
        slope, (schedule.lam(t), lam[-1]), x.ravel() / schedule.alpha(t), "DOP853", lam, rtol=1e-12, atol=1e-13
    )
    return got.y.T.reshape(-1, *SHAPE) * schedule.alpha(np.asarray(t_end)).reshape(-1, 1, 1)


def integrand(j, h, sign, r):
    """Of the j-th condition: the exponential of the x0 form (sign -1) or of the eps form (1), times a power."""
    return np.exp(sign * (h - r)) * (r / h) ** j


@pytest.mark.parametrize(("name", "options", "form", "order"), EXACT)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_order_conditions_of_full_order_rows(schedule, name, options, form, order):
    """A row of order p integrates polynomials of degree below p exactly: against numerical quadrature."""
    t = grid_of(schedule, 6)
    full = {} if name == "ddim" else {"lower_order_final": False}
    table = SOLVERS[name](schedule, t, prediction=form, **full, **options)
    lam, alpha, sigma = schedule.lam(t), schedule.alpha(t), schedule.sigma(t)
    for n in range(order - 1, 6):
        h = lam[n + 1] - lam[n]
        sign, scale = (-1, alpha[n + 1]) if form == "x0" else (1, -sigma[n + 1])
        for j in range(order):
            nodes = lam[n - np.arange(order)] - lam[n]
            exact = scale * quad(partial(integrand, j, h, sign), 0, h, epsabs=0, epsrel=1e-13)[0]
            np.testing.assert_allclose(
                table.b[n, :order] @ (nodes / h) ** j, exact, rtol=1e-12, atol=1e-12 * abs(scale)
            )


@pytest.mark.thin(2)
@pytest.mark.parametrize(("name", "options", "order"), ORDER)
def test_local_truncation_order(name, options, order, x64):
    """The last row of `order` rows, started from exact states: its error falls as h^(order + 1)."""
    schedule, errors, steps = VP(), [], [0.01, 0.005]
    lam0 = 0.3
    rows = options.get("order", 1)
    net = model(schedule, "eps")
    for h in steps:
        lam = lam0 + h * np.arange(rows + 1)
        t = schedule.t_of_lam(lam)
        lof = {} if name in ("ddim", "ipndm", "deis", "lms") else {"lower_order_final": False}
        extra = {"corrector": False} if name in ("unipc", "dpm_v3") else {}
        table = SOLVERS[name](schedule, t, **options, **lof, **extra)
        x_start = solve(schedule, start(schedule)[1], start(schedule)[0], t[:1])[0]
        exact = np.concatenate([x_start[None], solve(schedule, x_start, t[0], t[1:])])
        m = [table.p[n] * exact[n] + table.q[n] * np.asarray(net(jnp.asarray(exact[n]), t[n])) for n in range(rows)]
        got = table.a[-1] * exact[-2] + sum(b * x for b, x in zip(table.b[-1], m[::-1], strict=True)) + table.c[-1]
        errors.append(np.abs(got - exact[-1]).max())
    slope = np.log2(errors[0] / errors[1])
    assert abs(slope - (order + 1)) < 0.2, (errors, slope)


def same(first, second, tolerance=0.0):
    depth = max(first.depth, second.depth)
    for x, y in zip(pad(first, depth), pad(second, depth), strict=True):
        if x is not None:
            np.testing.assert_allclose(x, y, rtol=0, atol=tolerance)


REDUCTIONS = {
    "DPM-Solver++(1) is DDIM": (("dpmpp", {"order": 1}), ("ddim", {})),
    "UniP-1 is DDIM": (("unipc", {"order": 1, "corrector": False}), ("ddim", {})),
    "UniP-2 with bh2 is DPM-Solver++(2M)": (("unipc", {"order": 2, "corrector": False}), ("dpmpp", {"order": 2})),
    "UniP-3 does not depend on B(h) in full-order rows": (
        ("unipc", {"order": 3, "corrector": False, "variant": "bh1"}),
        ("unipc", {"order": 3, "corrector": False}),
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("label", REDUCTIONS)
def test_reductions(schedule, label):
    (name, options), (other, other_options) = REDUCTIONS[label]
    t = grid_of(schedule, 7)
    first = SOLVERS[name](schedule, t, **options)
    second = SOLVERS[other](schedule, t, **other_options)
    if "full-order" in label:
        first, second = (jax.tree.map(lambda x: x[2:5], table) for table in (first, second))
    same(first, second, 1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_ipndm_of_order_1_is_ddim(schedule, x64):
    """One stores eps and the other x0, so the tables differ but not what they do."""
    x, t = jnp.asarray(start(schedule)[1]), grid_of(schedule, 7)
    net = model(schedule, "eps")
    first, second = (
        sample(net, SOLVERS[name](schedule, t, **o), x)[0] for name, o in (("ipndm", {"order": 1}), ("ddim", {}))
    )
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("order", "other"),
    [
        (1, ("ddim", {})),
        (2, ("dpmpp", {"order": 2, "variant": "taylor"})),
        (3, ("unipc", {"order": 3, "corrector": False})),
    ],
)
def test_published_degenerate_v3_nears_its_relatives(order, other):
    """l = 1, s = b = 0 is data prediction (f = -x0). Published trapezoids near the relative's weights as G^-2."""
    schedule, t = EDM(), GRIDS["lam_uniform"](EDM(), 6)
    wanted = SOLVERS[other[0]](schedule, t, **other[1])
    options, errors = {"degenerate": True, "published": True}, []
    for nodes in (120, 240):
        lam = np.linspace(schedule.lam(80.0), schedule.lam(0.002), nodes + 1)
        ems = EMS(lam, *np.zeros((3, nodes + 1)), {})
        table = SOLVERS["dpm_v3"](schedule, t, ems=ems, order=order, corrector=False, **options)
        rows = slice(order - 1, 7 - order)
        errors.append(np.abs(table.b[rows] + wanted.b[rows]).max())
        np.testing.assert_allclose(table.a, wanted.a, rtol=1e-12)
    assert errors[0] < 5e-3 and abs(errors[0] / errors[1] - 4) < 0.1


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_order_conditions_of_v3(schedule, order):
    """With any statistics, a row of order p is exact where g is a polynomial of degree below p; integrals by scipy's
    trapezoids on the nodes of the statistics and the sampling times together, as the published method has them."""
    t = grid_of(schedule, 6)
    at = schedule.lam(t)
    nodes = np.linspace(at[0], at[-1], 40)
    l, s, b = 0.5 + 0.4 * np.tanh(-nodes), 0.3 * np.sin(nodes), 0.2 * np.cos(2 * nodes)
    table = SOLVERS["dpm_v3"](
        schedule, t, ems=EMS(nodes, l, s, b, {}), order=order, corrector=False, lower_order_final=False, published=True
    )
    lam = np.union1d(nodes, at)
    integral = partial(cumulative_trapezoid, x=lam, initial=0)
    l, s, b = (np.interp(lam, nodes, x) for x in (l, s, b))
    alpha = schedule.alpha(t)
    for n in range(order - 1, 6):
        known, now, end = (np.searchsorted(lam, at[i]) for i in (n - np.arange(order), n, n + 1))
        L, S = (integral(x) - integral(x)[now] for x in (l, s))
        B = integral(np.exp(-S) * b)
        B -= B[now]
        for j in range(order):
            g = ((lam - lam[now]) / (lam[end] - lam[now])) ** j
            step = integral(np.exp(L + S) * (g + B))
            exact = -alpha[n + 1] * np.exp(-L[end]) * (step[end] - step[now])
            f = (np.exp(S) * (g + B))[known]
            scale = np.abs(table.b[n, :order] * f).max() + abs(exact)
            np.testing.assert_allclose(table.b[n, :order] @ f + table.c[n], exact, rtol=0, atol=1e-12 * scale)


def gaussian_ems(schedule, mean, variance, nodes):
    """The EMS of N(mean, diag(variance)): l = 1 - variance / (variance + e^{-2 lam}), s = 0, b = -l' mean."""
    lam = np.linspace(schedule.lam(schedule.t_max), schedule.lam(schedule.t_min), nodes + 1)
    noise = np.exp(-2 * lam)[:, None]
    dl = -2 * noise * variance / (variance + noise) ** 2
    return EMS(lam, noise / (variance + noise), 0 * dl, -dl * mean, {"schedule": repr(schedule)})


@pytest.mark.thin(5)
@pytest.mark.parametrize("schedule", [EDM(), VP()], ids=repr)
@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"order": 1, "corrector": False},
        {"order": 3, "corrector": True},
        {"order": 2, "corrector_pseudo": True},
        {"order": 3, "predictor_pseudo": True},
    ],
    ids=str,
)
def test_v3_with_ideal_ems_is_exact_on_a_diagonal_gaussian(schedule, options, published, x64):
    """Up to the integrals: for any number of steps the error falls as G^-2 with trapezoids, G^-4 with splines."""
    nodes, most, fall = ((480, 960), 1e-3, 3.6) if published else ((60, 120), 1e-5, 14.0)
    mean, variance = np.linspace(-1, 1, 5), np.geomspace(0.01, 1, 5)
    ends = np.array([schedule.t_max, schedule.t_min])
    (alpha, alpha_end), (sigma, sigma_end) = schedule.alpha(ends), schedule.sigma(ends)
    x = sigma * np.random.default_rng(1).normal(size=5)
    gain = np.sqrt((alpha_end**2 * variance + sigma_end**2) / (alpha**2 * variance + sigma**2))
    exact = alpha_end * mean + gain * (x - alpha * mean)

    def net(x, t):
        a, s = schedule.alpha(t), schedule.sigma(t)
        return s * (x - a * mean) / (a**2 * variance + s**2)

    for n in (1, 2, 5, 12):
        errors = []
        for count in nodes:
            table = SOLVERS["dpm_v3"](
                schedule,
                GRIDS["lam_uniform"](schedule, n),
                ems=gaussian_ems(schedule, mean, variance, count),
                published=published,
                **options,
            )
            errors.append(np.abs(np.asarray(sample(net, table, jnp.asarray(x))[0]) - exact).max())
        assert errors[1] < most and fall < errors[0] / errors[1], (n, errors)


def test_edm_heun_is_algorithm_1_of_edm(x64):
    t, net = np.array([80.0, 10.0, 1.0, 0.1, 0.0]), model(EDM(), "x0")
    x = wanted = jnp.asarray(80 * np.random.default_rng(0).normal(size=SHAPE))
    for now, after in itertools.pairwise(t):
        slope = (wanted - net(wanted, now)) / now
        ahead = wanted + (after - now) * slope
        if after > 0:
            ahead = wanted + (after - now) * (slope + (ahead - net(ahead, after)) / after) / 2
        wanted = ahead
    table = SOLVERS["edm_heun"](EDM(), t, prediction="x0")
    assert table.nfe == 7
    np.testing.assert_allclose(sample(net, table, x)[0], wanted, rtol=0, atol=1e-12)


@pytest.mark.thin(4)
@pytest.mark.parametrize("name", sorted(set(SOLVERS) - {"ddpm", "sde_dpmpp_2m", "edm_stochastic"}))
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_convergence_to_the_exact_solution(schedule, name, x64):
    """Every solver, every schedule: 64 evaluations are nearer to the ODE's solution than 16, and near."""
    t, x = start(schedule)
    exact = solve(schedule, x, t, [schedule.t_min])[0]
    net, errors = model(schedule, "v"), []
    for rows in (16, 64):
        grid = grid_of(schedule, rows // 2 if "heun" in name else rows)
        table = SOLVERS[name](schedule, grid, prediction="v", **({"degenerate": True} if name == "dpm_v3" else {}))
        errors.append(np.abs(sample(net, table, jnp.asarray(x))[0] - exact).max())
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.1, errors


@pytest.mark.parametrize("name", ["ddim", "dpmpp", "unipc"])
def test_infinite_ends_of_rectified_flow(name, x64):
    """From pure noise (alpha = 0) to data (sigma = 0): every step finite, and the exact Gaussian in the limit."""
    mean, variance = np.array([0.5, -1.0]), np.array([0.1, 1.0])

    def net(x, t):  # the velocity of N(mean, variance)
        residual = (x - (1 - t) * mean) / ((1 - t) ** 2 * variance + t**2)
        return (t - (1 - t) * variance) * residual - mean

    x = np.random.default_rng(0).normal(size=2)
    exact, errors = mean + np.sqrt(variance) * x, []
    for n in (16, 64):
        table = SOLVERS[name](Flow(), np.linspace(1, 0, n + 1), prediction="flow")
        errors.append(np.abs(sample(net, table, jnp.asarray(x))[0] - exact).max())
    assert errors[1] < 0.5 * errors[0] < 0.1, errors


def test_misspelt_and_impossible_options():
    t = GRIDS["lam_uniform"](EDM(), 5)
    for name, builder in SOLVERS.items():
        with pytest.raises(TypeError, match=name):
            builder(EDM(), t, ordr=2)
    for name, wrong, message in (
        ("dpmpp", {"order": 4}, "order must be 1 to 3, got 4"),
        ("dpmpp", {"variant": "bh1"}, "dpmsolver, taylor"),
        ("unipc", {"variant": "bh3"}, "bh1, bh2"),
        ("unipc", {"form": "v"}, "x0, eps"),
        ("ipndm", {"order": 0}, "1 to 4"),
        ("dpm_v3", {}, "needs the statistics"),
        ("ddim", {"prediction": "noise"}, "choose one of"),
    ):
        with pytest.raises(ValueError, match=message):
            SOLVERS[name](EDM(), t, **wrong)


def test_v3_refuses_the_ems_of_another_schedule_and_range():
    ems = EMS(np.linspace(-2, 2, 9), *np.zeros((3, 9, 4)), {"schedule": "VP(beta_min=0.1, beta_max=20.0)"})
    with pytest.raises(ValueError, match=r"schedule VP\(.*sampling uses EDM"):
        SOLVERS["dpm_v3"](EDM(), [4.0, 1.0], ems=ems)
    with pytest.raises(ValueError, match=r"from -2.0000 to 2.0000, the time grid runs from .* to 6.21"):
        SOLVERS["dpm_v3"](EDM(), [4.0, 0.002], ems=ems._replace(meta={}))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_initial_noise_has_the_deviation_of_the_start(schedule):
    """Within six standard errors; that of a deviation of n numbers is 1 / sqrt(2 n) of it."""
    for t_start in (None, 0.5 * schedule.t_max):
        x = np.asarray(init_noise(schedule, (100, 50, 2), jax.random.key(0), t_start), np.float64)
        wanted = schedule.sigma(schedule.t_max if t_start is None else t_start)
        assert x.shape == (100, 50, 2) and abs(x.std() / wanted - 1) < 6 / np.sqrt(2 * x.size)
    assert init_noise(schedule, (3,), jax.random.key(0)).dtype == jnp.float32
