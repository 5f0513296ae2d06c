"""Run an operation's cases: the Triton version against the plain one, output and every gradient.

The plain version gets the same inputs in float64. There is one tolerance a dtype, for all
operations. Runs on a CUDA device, or on the CPU where TRITON_INTERPRET=1 was set before Triton was
imported.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.operation import Arguments, Case, Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """An error may reach `relative` · |value| + `share` · (largest |value|) + `absolute`."""

    relative: float
    """Share of the value itself."""
    share: float
    """Share of the largest value of the tensor, as a sum is rounded by its largest terms."""
    absolute: float = 0.0
    """In units of the value, for integers."""


TOLERANCES: dict[torch.dtype, Tolerance] = {
    torch.float64: Tolerance(relative=1e-12, share=1e-13),
    torch.float32: Tolerance(relative=1e-5, share=4e-6),
    torch.float16: Tolerance(relative=2e-3, share=1e-3),
    torch.bfloat16: Tolerance(relative=1.6e-2, share=8e-3),
    torch.float8_e4m3fn: Tolerance(relative=6.25e-2, share=1e-2),
    torch.float8_e5m2: Tolerance(relative=1.25e-1, share=2e-2),
    # A value half-way between two integers may fall to either.
    torch.int8: Tolerance(relative=0.0, share=0.0, absolute=1.0),
    torch.int32: Tolerance(relative=0.0, share=0.0),
}
"""By the dtype of a result or that of its case, whichever is coarser."""

_WIDENED = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """How far one result is from the plain version's."""

    result: str
    """`output` (or `output 0`, ...) or `gradient of x`."""
    largest: float
    """Largest error as a share of the largest value; infinite if NaN or infinity are misplaced."""
    used: float
    """Largest share of the tolerance that any element takes: at most 1 passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One case in one dtype."""

    operation: str
    """Name in the catalogue."""
    case: str
    """The case's name."""
    why: str
    """What the case is awkward for."""
    dtype: str
    """Such as `float16`."""
    errors: tuple[Error, ...]
    """One for each result; empty if there was a fault."""
    fault: str | None
    """Type and message of the exception, if one was raised."""
    seconds: float
    """Wall time of both versions."""

    @property
    def passed(self) -> bool:
        """Whether every result is within its tolerance."""
        return self.fault is None and all(error.used <= 1 for error in self.errors)

    @property
    def largest(self) -> float:
        """The largest error of any result; infinite after a fault."""
        return max((e.largest for e in self.errors), default=math.inf if self.fault else 0.0)

    @property
    def used(self) -> float:
        """The largest share of a tolerance; infinite after a fault."""
        return max((error.used for error in self.errors), default=math.inf if self.fault else 0.0)


def plan(operation: Operation, *, interpreted: bool) -> list[tuple[Case, torch.dtype]]:
    """List what is run: every dtype of a case on a GPU, those it names in the interpreter."""
    pairs = []
    for case in operation.cases:
        dtypes = operation.dtypes if case.dtypes is None else case.dtypes
        if interpreted:
            dtypes = dtypes[:1] if case.interpreted is None else case.interpreted
        pairs += [(case, dtype) for dtype in dtypes]
    return pairs


def check_case(
    operation: Operation, case: Case, dtype: torch.dtype, device: torch.device | str
) -> Outcome:
    """Run one case in one dtype on a device.

    Whatever either version raises becomes the outcome's fault.
    """
    start = time.perf_counter()
    errors: tuple[Error, ...] = ()
    fault = None
    try:
        errors = tuple(_errors(operation, case, dtype, torch.device(device)))
    except Exception as error:  # noqa: BLE001 - a kernel under test may raise anything
        fault = f"{type(error).__name__}: {error}"
    return Outcome(
        operation=operation.name,
        case=case.name,
        why=case.why,
        dtype=str(dtype).removeprefix("torch."),
        errors=errors,
        fault=fault,
        seconds=time.perf_counter() - start,
    )


def _errors(
    operation: Operation, case: Case, dtype: torch.dtype, device: torch.device
) -> Iterator[Error]:
    arguments = case.make(torch.Generator().manual_seed(0), dtype, device)
    names = operation.gradients if case.gradients else ()
    wide = {name: _widen(value) for name, value in arguments.items()}
    wanted = _results(operation.plain, wide, names, {})
    got = _results(operation.run, arguments, names, {"backend": "triton"})
    if wanted.keys() != got.keys():
        raise AssertionError(f"results must be {list(wanted)}; Triton's are {list(got)}")
    for name in wanted:
        yield _compare(name, got[name], wanted[name], dtype, case.scale)


def _widen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_widen(item) for item in value)
    if isinstance(value, Tensor) and value.dtype in _WIDENED:
        return value.to(torch.float64)
    return value


def _results(
    function: Callable[..., Any], arguments: Arguments, names: tuple[str, ...], more: Arguments
) -> dict[str, Tensor]:
    """Return outputs and gradients by name, for a fixed gradient of the outputs."""
    leaves = {
        name: arguments[name].detach().requires_grad_()
        for name in names
        if isinstance(arguments.get(name), Tensor) and arguments[name].is_floating_point()
    }
    outputs = function(**(arguments | leaves | more))
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    results = {
        "output" if len(outputs) == 1 else f"output {place}": output.detach()
        for place, output in enumerate(outputs)
    }
    # A leaf may belong to a view; what it is a view of has no part in the graph.
    if leaves:
        generator = torch.Generator().manual_seed(1)
        reached = [output for output in outputs if output.requires_grad]
        if not reached:
            raise AssertionError(f"no output depends on {', '.join(leaves)} differentiably")
        grads = torch.autograd.grad(
            reached, list(leaves.values()), [_gradient_of(y, generator) for y in reached]
        )
        results |= {f"gradient of {n}": g for n, g in zip(leaves, grads, strict=True)}
    return results


def _gradient_of(output: Tensor, generator: torch.Generator) -> Tensor:
    """Draw values that every dtype holds exactly."""
    drawn = torch.randn(output.shape, generator=generator).mul(8).round().div(8)
    return drawn.to(output.device, output.dtype)


def _compare(name: str, got: Tensor, wanted: Tensor, dtype: torch.dtype, scale: float) -> Error:
    if got.shape != wanted.shape:
        raise AssertionError(
            f"{name} must have the shape {list(wanted.shape)}; Triton's is {list(got.shape)}"
        )
    tolerance = max(TOLERANCES[got.dtype], TOLERANCES[dtype], key=lambda t: t.relative + t.share)
    # What the narrow dtype cannot hold overflows in torch as well.
    narrow = wanted.to(got.dtype).double()
    wanted = torch.where(narrow.isinf(), narrow, wanted.double())
    got = got.double()
    finite = wanted.isfinite()
    same = torch.equal(got.isfinite(), finite) and torch.equal(
        got[~finite].nan_to_num(nan=0.5), wanted[~finite].nan_to_num(nan=0.5)
    )
    if not same:
        return Error(result=name, largest=math.inf, used=math.inf)
    got, wanted = got[finite], wanted[finite]
    if wanted.numel() == 0:
        return Error(result=name, largest=0.0, used=0.0)
    scale = max(scale, float(wanted.abs().max()))
    error = (got - wanted).abs()
    allowed = tolerance.relative * wanted.abs() + tolerance.share * scale + tolerance.absolute
    used = torch.where(error > 0, error / allowed, 0.0)
    return Error(
        result=name,
        largest=float(error.max()) / scale if scale else float(error.max()),
        used=float(used.max()),
    )
