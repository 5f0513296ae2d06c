"""The check itself: it must see every way in which a kernel can be wrong."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import Tensor

from kernels.catalogue import UnknownOperationError, load_operation, operation_names
from kernels.check import TOLERANCES, Outcome, check_case, plan
from kernels.check_process import CheckProcessError, run_checks
from kernels.operation import Case, Operation

X = torch.tensor([1.0, -2.0, 3.0, 0.5])


def double(x: Tensor) -> Tensor:
    return x * 2


def check(run, *, x: Tensor = X, dtype=torch.float32, plain=double, **case) -> Outcome:
    """Check `run`, which gets `x`, against `plain`."""
    case = Case(name="a", why="", make=lambda g, d, device: {"x": x.to(d)}, **case)
    operation = Operation(
        name="op",
        run=lambda x, backend: run(x),
        plain=plain,
        cases=(case,),
        dtypes=(dtype,),
        gradients=("x",),
        sources=dict,
        letters="N",
    )
    return check_case(operation, case, dtype, "cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_right_passes(dtype):
    outcome = check(double, dtype=dtype)
    assert outcome.passed
    assert [error.result for error in outcome.errors] == ["output", "gradient of x"]
    assert outcome.largest == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_error_past_the_tolerance_is_seen(dtype):
    tolerance = TOLERANCES[dtype]
    allowed = tolerance.relative + tolerance.share
    assert not check(lambda x: x * 2 * (1 + 3 * allowed), dtype=dtype).passed
    small = check(lambda x: x * 2 * (1 + allowed / 3), dtype=dtype)
    assert small.passed
    assert small.used > 0


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2.01


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x * 2 + torch.tensor([0, 0, 0, 1e-3]),
        lambda x: torch.where(x > 2, math.nan, x * 2),
        lambda x: torch.where(x > 2, math.inf, x * 2),
        lambda x: (x * 2)[:3],
        lambda x: (x * 2, x),
        lambda x: (x * 2).detach(),
        _WrongGradient.apply,
    ],
)
def test_what_is_wrong_fails(run):
    assert not check(run).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_extreme_values_must_be_in_their_places(value):
    x = torch.tensor([1.0, value])
    assert check(double, x=x).passed
    assert not check(lambda x: x.nan_to_num() * 2, x=x).passed
    assert not check(lambda x: x.flip(0) * 2, x=x).passed
    assert check(lambda x: -x * 2, x=x).passed is False


def test_overflow_of_a_narrow_dtype_is_as_in_torch():
    assert check(double, x=torch.tensor([40_000.0, 1.0]), dtype=torch.float16).passed


def test_results_that_cancel_are_measured_against_the_scale_given():
    def nearly_zero(x: Tensor) -> Tensor:
        return x - x + 1e-8

    def zero(x: Tensor) -> Tensor:
        return x - x

    assert not check(nearly_zero, plain=zero).passed
    assert check(nearly_zero, plain=zero, scale=1.0).passed


def test_whatever_is_raised_is_a_fault_with_its_reason():
    def fail(x: Tensor) -> Tensor:
        raise KeyError("no such block")

    outcome = check(fail)
    assert not outcome.passed
    assert outcome.fault == "KeyError: 'no such block'"
    assert outcome.largest == math.inf


def test_names_are_those_of_the_catalogue():
    for name in operation_names():
        assert load_operation(name).name == name


@pytest.mark.parametrize("name", operation_names())
def test_operations_describe_themselves_wholly(name):
    operation = load_operation(name)
    names = [case.name for case in operation.cases]
    assert len(set(names)) == len(names)
    assert all(case.why for case in operation.cases)
    assert operation.problems
    for problem in operation.problems:
        assert len(problem.shape) == len(operation.letters.split("x"))
        assert problem.settings.keys() <= operation.settings.keys()
    on_gpu, interpreted = (len(plan(operation, interpreted=i)) for i in (False, True))
    assert on_gpu >= interpreted > 0


def test_an_unknown_operation_lists_the_known():
    with pytest.raises(UnknownOperationError, match=r"one of depthwise_conv, .*got 'conv'"):
        load_operation("conv")


def test_a_process_that_dies_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CheckProcessError, match="code 1 after 0 cases: it said nothing"):
        list(run_checks(["elementwise"]))
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(CheckProcessError, match="code 0 after 0 cases"):
        list(run_checks(["elementwise"]))
