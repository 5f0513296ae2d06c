"""Every case of every operation in Triton's interpreter, against the plain version.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1. For one
operation: `TRITON_INTERPRET=1 python -m pytest tests/kernels/catalogue_interpreted.py -k NAME`.
"""

from __future__ import annotations

import pytest

from kernels.activation_triton import INTERPRETED
from kernels.catalogue import load_operation, operation_names
from kernels.check import check_case, plan

RUNS = [
    pytest.param(operation, case, dtype, id=f"{name}-{case.name}-{dtype}".replace("torch.", ""))
    for name in operation_names()
    for operation in [load_operation(name)]
    for case, dtype in plan(operation, interpreted=True)
]


def test_the_interpreter_is_on():
    assert INTERPRETED


@pytest.mark.parametrize(("operation", "case", "dtype"), RUNS)
def test_triton_agrees_with_plain(operation, case, dtype):
    outcome = check_case(operation, case, dtype, "cpu")
    assert outcome.fault is None
    assert outcome.passed, outcome.errors
    assert outcome.errors
