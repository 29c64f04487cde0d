"""The integrals of DPM-Solver-v3 against adaptive quadrature and closed forms, and what becomes exact with them."""

from math import factorial

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import make_interp_spline

from solvers import SOLVERS
from solvers.ems import EMS, integrals
from solvers.grid import GRIDS
from solvers.schedule import EDM, VP, Flow

DEGREE = {"linear": 1, "spline": 3}
SCHEDULES = [EDM(), VP(), Flow()]


def statistics(shape=(), nodes=9, seed=0):
    """Random smooth l, s, b on an uneven grid over lam from -2 to 3, in the range that networks show."""
    rng = np.random.default_rng(seed)
    lam = np.linspace(-2, 3, nodes) + np.append(0, np.append(rng.uniform(-0.1, 0.1, nodes - 2), 0))
    wave = lambda: np.sin(np.multiply.outer(lam, rng.uniform(0.3, 1.5, shape)) + rng.uniform(0, 6, shape))  # noqa: E731
    return EMS(lam, 0.5 + 0.5 * wave(), 1.5 * wave(), wave(), {})


def brute_force(ems, start, end, kind, count):
    """l, L, S, B, w, C of one step of scalar statistics, by adaptive quadrature between the kinks."""
    l, s, b = (make_interp_spline(ems.lam, y, DEGREE[kind]) for y in ems[1:4])
    L, S = (lambda lam, of=of: of(lam) - of(start) for of in (l.antiderivative(), s.antiderivative()))
    B, w, C = 0.0, np.zeros(count), 0.0
    ends = np.array([start, *ems.lam[(ems.lam > start) & (ems.lam < end)], end])

    def integral(f, left, right):
        return quad(f, left, right, epsabs=1e-14, epsrel=1e-13)[0]

    def E(lam):
        return np.exp(L(lam) + S(lam))

    for left, right in zip(ends[:-1], ends[1:], strict=True):
        since = lambda lam, left=left, B=B: B + integral(lambda x: np.exp(-S(x)) * b(x), left, lam)  # noqa: E731
        C += integral(lambda lam, since=since: E(lam) * since(lam), left, right)
        w += [integral(lambda x, k=k: E(x) * ((x - start) / (end - start)) ** k, left, right) for k in range(count)]
        B = since(right)
    return l(start), L(end), S(end), B, w, C


@pytest.mark.parametrize("kind", DEGREE)
@pytest.mark.parametrize("seed", range(3))
def test_integrals_are_those_of_adaptive_quadrature(kind, seed):
    """Times between nodes, several in one cell, and on a node; the quadrature is asked for 13 digits."""
    ems = statistics(seed=seed)
    lam = np.array([-2.0, -1.93, -1.9, 0.1, ems.lam[5], 2.9])
    found = integrals.integrate(ems, lam, 4, kind, published=False)
    for n in range(5):
        for got, wanted in zip(found, brute_force(ems, lam[n], lam[n + 1], kind, 4), strict=True):
            np.testing.assert_allclose(got[n], wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("z", [1.0, 2.0, 4.0, 8.0])
def test_the_error_of_a_cell_is_that_of_the_docstring(z):
    """One cell with l = z / d: w_0 = d (e^z - 1) / z. Gauss' rule has the bound times e^x at some x in [0, z]."""
    m, d = integrals.POINTS, integrals.WIDEST
    ems = EMS(np.array([0.0, d]), np.full(2, z / d), np.zeros(2), np.zeros(2), {})
    error = abs(integrals.integrate(ems, ems.lam, 1, "linear", published=False).w[0, 0] / d - np.expm1(z) / z)
    bound = factorial(m) ** 4 / ((2 * m + 1) * factorial(2 * m) ** 3) * z ** (2 * m)
    round_off = 8 * np.finfo(float).eps * np.expm1(z) / z
    assert bound - round_off <= error <= bound * np.exp(z) + round_off
    assert z > 1 or bound < np.finfo(float).eps


def test_published_integrals_are_trapezoids():
    ems = statistics()
    lam = np.array([-1.3, 0.4, 2.2])
    found = integrals.integrate(ems, lam, 2, "spline", published=True)
    for n in range(2):
        x = np.union1d(lam[n : n + 2], ems.lam[(ems.lam > lam[n]) & (ems.lam < lam[n + 1])])
        l, s, b = (np.interp(x, ems.lam, y) for y in ems[1:4])
        running = lambda y, x=x: np.append(0, np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2))  # noqa: E731
        L, S = running(l), running(s)
        B, E = running(np.exp(-S) * b), np.exp(L + S)
        w = [running(E * ((x - x[0]) / (x[-1] - x[0])) ** k)[-1] for k in range(2)]
        for got, wanted in zip(found, (l[0], L[-1], S[-1], B[-1], w, running(E * B)[-1]), strict=True):
            np.testing.assert_allclose(got[n], wanted, rtol=1e-13)


def test_coordinates_are_independent(monkeypatch):
    """All at once, two at a time, and each alone."""
    ems, lam = statistics((2, 3)), np.array([-2.0, 0.0, 3.0])
    whole = integrals.integrate(ems, lam, 3, "spline", published=False)
    assert whole.w.shape == (2, 3, 2, 3) and whole.C.shape == (2, 2, 3)
    monkeypatch.setattr(integrals, "COORDINATES", 2)
    parts = integrals.integrate(ems, lam, 3, "spline", published=False)
    one = EMS(ems.lam, *(y[:, 1, 2] for y in ems[1:4]), {})
    alone = integrals.integrate(one, lam, 3, "spline", published=False)
    for x, y, z in zip(whole, parts, alone, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-13)
        np.testing.assert_allclose(x[..., 1, 2], z, rtol=1e-13)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("kind", DEGREE)
def test_nodes_next_to_times_are_those_times(kind, published):
    """Moved from the times by rounding, a node makes no cell of its own, and results move as little."""
    ems, change = statistics((3,)), np.zeros(9)
    lam = ems.lam[[0, 3, 5, 8]]
    wanted = integrals.integrate(ems, lam, 3, kind, published)
    for size in (1e-16, 1e-14, -1e-14, 1e-12, -1e-12):
        change[[3, 5]] = size
        moved = ems._replace(lam=ems.lam + change)
        assert len(integrals._cells(moved.lam, lam[0], lam[1])) == 4
        for x, y in zip(integrals.integrate(moved, lam, 3, kind, published), wanted, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("n", [1, 3, 12])
@pytest.mark.parametrize(
    ("order", "name", "options"),
    [
        (1, "ddim", {}),
        (2, "dpmpp", {"order": 2, "variant": "taylor"}),
        (3, "unipc", {"order": 3, "variant": "exact", "corrector": False}),
    ],
)
def test_degenerate_v3_is_its_relatives(schedule, n, order, name, options):
    """l = 1, s = b = 0 is data prediction, f = -x0: with no grid of statistics, to the round-off of some 30 cells."""
    t = GRIDS["karras"](schedule, n, 0.98 * schedule.t_max)
    wanted = SOLVERS[name](schedule, t, **options)
    table = SOLVERS["dpm_v3"](schedule, t, order=order, corrector=False, degenerate=True)
    np.testing.assert_allclose(table.a, wanted.a, rtol=1e-12)
    np.testing.assert_allclose(table.b, -wanted.b, rtol=0, atol=1e-12 * np.abs(wanted.b).max())
    np.testing.assert_allclose(table.p, -wanted.p, rtol=1e-12)
    np.testing.assert_array_equal(table.c, 0)


def test_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="interpolation must be one of linear, spline, got 'cubic'"):
        SOLVERS["dpm_v3"](EDM(), [2.0, 1.0], degenerate=True, interpolation="cubic")
