"""Pickles of plain values and arrays are what the standard library reads."""

import pickle

import numpy as np
import pytest

from experiments.metrics.pickled import pickled

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("value", [{}, "", "é" * 300, 0, -1, 2**63 - 1, -(2**63), {"a": {"b": 1, 2: "c"}, "d": {}}])
def test_pickled_values(value):
    assert pickle.loads(pickled(value)) == value


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "u1", "i8"])
@pytest.mark.parametrize("shape", [(), (0,), (300,), (2, 3, 4)])
def test_pickled_arrays(dtype, shape):
    array = RNG.integers(0, 100, shape).astype(dtype)
    for either in (array, np.asfortranarray(array)):
        found = pickle.loads(pickled({"a": either}))["a"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("<") and found.flags.writeable


def test_others_are_not_pickled():
    for value in (None, True, 1.5, b"", [1], np.array([{}])):
        with pytest.raises(TypeError, match="is not written to a pickle"):
            pickled(value)
