"""Sums of products over the points of a batch, without loss of digits of float32 numbers.

    float64       where the device has it: a product of two float32 numbers has 48 bits and is exact          (1)
    compensated   pairs (high, low) of float32 numbers, for a TPU, whose float64 is emulated or missing:
                  a b = p + e and s + p = r + t without error (Dekker 1971; Knuth, TAOCP 4.2.2), e and t go to low   (2)

An error of (2) is below 2^-47 of the sum of magnitudes per point, of (1) 2^-53: both are far below the 2^-24 of the
terms, which are the model's. Products of (2) must be in the range of float32: above 3e38 they are not finite, below
1e-30 digits are lost.
"""

from functools import partial, reduce
from operator import mul

import jax
import jax.numpy as jnp
import numpy as np

RULES = ("float64", "compensated")


def summation(factors, rule="auto"):
    """(add(sums, values, weight) -> sums, total(sums) -> float64 [groups, S, *D] on the host); sums begin as None.

    values: arrays [groups, b, *D]; factors: S tuples of one or two indices of values, whose product is a term; weight
    [groups, b]: False for points that do not count. rule: float64 | compensated | auto (compensated on TPUs only).
    """
    if rule == "auto":
        rule = "compensated" if jax.default_backend() == "tpu" else "float64"
    if rule not in RULES:
        raise ValueError(f"unknown sums {rule!r}: choose one of {', '.join(RULES)}, or auto, which suits all devices")
    if rule == "compensated":
        return lambda sums, values, weight: _add_pairs(factors, sums, values, weight), _total_of_pairs
    return lambda sums, values, weight: _add(factors, sums, values, weight), np.asarray


def _counted(values, weight):
    shape = weight.shape + (1,) * (values[0].ndim - 2)
    return [jnp.where(weight.reshape(shape), x, 0) for x in values]


def _add(factors, sums, values, weight):
    """Adds by rule (1), whatever the precision of the model."""
    with jax.enable_x64(True):
        return _sum(factors, values, weight) if sums is None else _sum(factors, values, weight) + sums


@partial(jax.jit, static_argnums=0)
def _sum(factors, values, weight):
    values = [x.astype(jnp.float64) for x in _counted(values, weight)]
    return jnp.stack([reduce(mul, [values[i] for i in of]).sum(axis=1) for of in factors], axis=1)


@partial(jax.jit, static_argnums=0)
def _add_pairs(factors, sums, values, weight):
    """Adds by rule (2), point by point; sums: (high, low), each [groups, S, *D]."""
    points = [jnp.moveaxis(x.astype(jnp.float32), 1, 0) for x in _counted(values, weight)]
    if sums is None:
        zero = jnp.zeros_like(jnp.stack([points[0][0]] * len(factors), axis=1))
        sums = zero, zero

    def visit(sums, point):
        high, low = sums
        pairs = [_product(*(point[i] for i in of)) for of in factors]
        p, e = (jnp.stack(parts, axis=1) for parts in zip(*pairs))
        high, t = _two_sum(high, p)
        return _two_sum(high, low + (t + e)), None

    return jax.lax.scan(visit, sums, points)[0]


def _total_of_pairs(sums):
    high, low = (np.asarray(x, np.float64) for x in sums)
    return high + low


def _two_sum(a, b):
    """The rounded a + b, and its rounding error."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _product(a, b=None):
    """The rounded a b, and its rounding error; without b: a and 0."""
    if b is None:
        return a, jnp.zeros_like(a)
    (a, a_low), (b, b_low) = _halves(a), _halves(b)
    # Every product that enters a sum is exact: a compiler that merges the two operations into one changes nothing.
    p, first = _two_sum(a * b, a * b_low)
    p, second = _two_sum(p, a_low * b)
    return p, (first + second) + a_low * b_low


def _halves(x):
    """The first 12 bits of x, and the rest. By a mask: a compiler may change a splitting by multiplication."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & np.uint32(0xFFFFF000)
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return high, x - high
