"""Every solver against numbers of the official implementations, in float64 on a Gaussian mixture of 192 dimensions.

data/official.npz holds, of each case (schedule, method, grid, nfe), 12 coordinates of the end of four samples; the
mixture; and the statistics that the official DPM-Solver-v3 used with EDM.
"""

import json

import numpy as np
import pytest

from experiments.checks import oracle as official
from experiments.checks import parity, runners
from experiments.checks.solving import official_samples
from solvers.ems import EMS
from tests.helpers.places import FIXTURES

with np.load(FIXTURES / "official.npz", allow_pickle=False) as file:
    DATA = dict(file)
INDEX = json.loads(str(DATA["index"]))
CASES = [official.Case(*case, row) for row, case in enumerate(INDEX["cases"])]
ORACLE = official.Oracle(None, INDEX["methods"], CASES, DATA)
STATISTICS = EMS(*(DATA[name] for name in ("lam", "l", "s", "b")), {})


@pytest.fixture(scope="module")
def errors():
    tables = {case: runners.build(ORACLE, case, ems=lambda *_: STATISTICS) for case in CASES}
    for case, table in tables.items():
        assert table.nfe == case.calls, case
    expected = dict(zip(CASES, DATA["values"], strict=True))
    return {
        case: parity.difference(got.ravel()[DATA["coordinates"]], expected[case])
        for case, got in official_samples(ORACLE, tables)
    }


@pytest.mark.parametrize("method", INDEX["methods"])
def test_official_numbers(errors, method):
    found = {case: error for case, error in errors.items() if case.method == method}
    assert found
    tolerance = parity.QUADRATURE.get(method, parity.TOLERANCE)
    assert {case: error for case, error in found.items() if not error <= tolerance} == {}


def test_a_case_that_is_off_fails(errors):
    """The comparison sees a wrong method: the corrected third order is not the published one."""
    case = next(c for c in CASES if c.method == "dpmpp_3m" and c.nfe == 10)
    other = ORACLE._replace(methods={"dpmpp_3m": {"runner": "run_dpm", "args": {"order": 3, "solver_type": "exact"}}})
    ((_, got),) = official_samples(other, {case: runners.build(other, case)})
    assert parity.difference(got.ravel()[DATA["coordinates"]], DATA["values"][CASES.index(case)]) > 1e-4
