"""Slow sequential samplers in float64 numpy: the published loops, written to be read and to be trusted.

A state, a list of past evaluations, if/else, one loop over the times. The tables of `solvers` are compared with these;
DPM-Solver-v3 has a file of its own, reference_v3.py.

    eps_model(x, t) -> eps     any shape of x, including a leading batch axis
    schedule                   an object with alpha(t), sigma(t), lam(t)
    times                      decreasing [N+1]
    x                          the state at times[0]; every sampler returns the state at times[-1]
"""

import math

import numpy as np


def coefficients(schedule, times):
    """alpha, sigma and lam at all times."""
    times = np.asarray(times, np.float64)
    return (np.asarray(f(times), np.float64) for f in (schedule.alpha, schedule.sigma, schedule.lam))


def step_order(step, steps, order, lower_order_final):
    """Order of step 1..steps: warm-up from 1, and down to 1 again at the end if asked."""
    return min(step, order, steps + 1 - step) if lower_order_final else min(step, order)


def ddim(eps_model, schedule, times, x):
    """The first-order exponential integrator (arXiv 2010.02502, eta = 0)."""
    times = np.asarray(times, np.float64)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    for i in range(len(times) - 1):
        eps = eps_model(x, times[i])
        x0 = (x - sigma[i] * eps) / alpha[i]
        x = alpha[i + 1] * x0 + sigma[i + 1] * eps
    return x


def dpmpp(eps_model, schedule, times, x, order=3, variant="dpmsolver", lower_order_final=True):
    """Multistep DPM-Solver++ (arXiv 2211.01095). Order 3 as published, D2 half of what it stands for."""
    alpha, sigma, lam = coefficients(schedule, times)
    steps, past = len(times) - 1, []
    for i in range(1, steps + 1):
        s, t = i - 1, i
        past.append((x - sigma[s] * eps_model(x, times[s])) / alpha[s])
        h = lam[t] - lam[s]
        phi1 = math.expm1(-h)
        p = step_order(i, steps, order, lower_order_final)
        new = sigma[t] / sigma[s] * x - alpha[t] * phi1 * past[-1]
        if p >= 2:
            r0 = (lam[s] - lam[s - 1]) / h
            d0 = (past[-1] - past[-2]) / r0
        if p == 2 and variant == "dpmsolver":
            new = new - 0.5 * alpha[t] * phi1 * d0
        elif p == 2:
            new = new + alpha[t] * (phi1 / h + 1) * d0
        elif p == 3:
            r1 = (lam[s - 1] - lam[s - 2]) / h
            d1 = (past[-2] - past[-3]) / r1
            phi2 = phi1 / h + 1
            phi3 = phi2 / h - 0.5
            first = d0 + r0 / (r0 + r1) * (d0 - d1)
            second = (d0 - d1) / (r0 + r1)
            new = new + alpha[t] * phi2 * first - alpha[t] * phi3 * second
        x = new
    return x


def _unipc_weights(rks, hh, scale):
    """rho with sum_j rho_j rks_j^(n-1) = n! phi_{n+1}(hh) hh / scale, n = 1..len(rks) (arXiv 2302.04867)."""
    h_phi = math.expm1(hh) / hh - 1
    matrix, right, factorial = [], [], 1
    for n in range(1, len(rks) + 1):
        matrix.append([r ** (n - 1) for r in rks])
        right.append(h_phi * factorial / scale)
        factorial *= n + 1
        h_phi = h_phi / hh - 1 / factorial
    return np.linalg.solve(np.array(matrix), np.array(right))


def unipc(eps_model, schedule, times, x, order=3, variant="bh2", corrector=True, form="x0", lower_order_final=True):
    """UniPC, B(h) = h or e^h - 1 (arXiv 2302.04867): evaluations stay at predicted points, no corrector at the end."""
    alpha, sigma, lam = coefficients(schedule, times)
    data = form == "x0"
    steps = len(times) - 1

    def evaluate(state, i):
        eps = eps_model(state, times[i])
        return (state - sigma[i] * eps) / alpha[i] if data else eps

    past = [evaluate(x, 0)]
    for i in range(1, steps + 1):
        s, t = i - 1, i
        p = step_order(i, steps, order, lower_order_final)
        h = lam[t] - lam[s]
        hh = -h if data else h
        scale = hh if variant == "bh1" else math.expm1(hh)
        outer, ratio = (alpha[t], sigma[t] / sigma[s]) if data else (sigma[t], alpha[t] / alpha[s])
        base = ratio * x - outer * math.expm1(hh) * past[-1]
        rks = [(lam[s - j] - lam[s]) / h for j in range(1, p)]
        slopes = [(past[-1 - j] - past[-1]) / rks[j - 1] for j in range(1, p)]
        if p == 1:
            rho = []
        elif p == 2:
            rho = [0.5]
        else:
            rho = _unipc_weights(rks, hh, scale)
        x = base - outer * scale * sum((r * d for r, d in zip(rho, slopes, strict=True)), np.zeros_like(base))
        if i == steps:
            return x
        new = evaluate(x, t)
        if corrector:
            rho = [0.5] if p == 1 else _unipc_weights([*rks, 1.0], hh, scale)
            x = base - outer * scale * sum(r * d for r, d in zip(rho, [*slopes, new - past[-1]], strict=True))
        past.append(new)
    return x


def ipndm(eps_model, schedule, times, x, order=4):
    """iPNDM (arXiv 2204.13902): constant Adams-Bashforth coefficients in x/alpha, sigma/alpha; warm-up from order 1."""
    alpha, sigma, _ = coefficients(schedule, times)
    past = []
    for i in range(len(times) - 1):
        past.append(eps_model(x, times[i]))
        p = min(i + 1, order)
        if p == 1:
            slope = past[-1]
        elif p == 2:
            slope = (3 * past[-1] - past[-2]) / 2
        elif p == 3:
            slope = (23 * past[-1] - 16 * past[-2] + 5 * past[-3]) / 12
        else:
            slope = (55 * past[-1] - 59 * past[-2] + 37 * past[-3] - 9 * past[-4]) / 24
        x = alpha[i + 1] * (x / alpha[i] + (sigma[i + 1] / alpha[i + 1] - sigma[i] / alpha[i]) * slope)
    return x


def edm_heun(eps_model, schedule, times, x):
    """Algorithm 2 without churn (arXiv 2206.00364), in x/alpha, sigma/alpha; Euler in an interval down to sigma = 0."""
    times = np.asarray(times, np.float64)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    for i in range(len(times) - 1):
        step = sigma[i + 1] / alpha[i + 1] - sigma[i] / alpha[i]
        start, slope = x / alpha[i], eps_model(x, times[i])
        x = alpha[i + 1] * (start + step * slope)
        if sigma[i + 1] > 0:
            x = alpha[i + 1] * (start + step * (slope + eps_model(x, times[i + 1])) / 2)
    return x
