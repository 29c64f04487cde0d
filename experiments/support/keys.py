"""Random numbers by the index of the sample: the same for any batch size, device count and order.

Sample i draws everything from key_i = fold_in(key(seed), i): its initial noise from fold_in(key_i, 0), a random label
from fold_in(key_i, 1), the noise of stochastic solvers from fold_in(key_i, 2).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def noise(seed, index, shape):
    """The initial noise of sample `index`, N(0, 1) of `shape`, float32."""
    key = jax.random.fold_in(key_of(seed, index), 0)
    # The numbers depend on the total length only. CPUs compile one axis two to four times faster.
    return jax.random.normal(key, math.prod(shape), jnp.float32).reshape(shape)


@partial(jax.jit, static_argnames="shape")
def noises(seed, indices, shape):
    return jax.vmap(lambda index: noise(seed, index, shape))(indices)


def initial_noise(seed: int, indices, shape) -> np.ndarray:
    """The initial noise of several samples, [n, *shape]."""
    return np.asarray(noises(seed, np.asarray(indices, np.int32), tuple(shape)))


@partial(jax.jit, static_argnames="classes")
def random_labels(seed, indices, classes: int):
    """A random class for each sample, uniform and independent, int32 [n]."""
    return jax.vmap(lambda index: jax.random.randint(jax.random.fold_in(key_of(seed, index), 1), (), 0, classes))(
        indices
    )


def key_of(seed, index):
    return jax.random.fold_in(jax.random.key(seed), index)
