"""Times kernels against torch on one device, and holds what they reach against its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from hwprofile.clock import Timer, Timing
from hwprofile.local import shipped_device
from hwprofile.machine import Machine
from kernels.bench_problem import BenchProblem
from kernels.catalogue import load_operation

BASELINE = "eager"
"""What speeds are told against: torch in eager mode, which runs cuDNN and cuBLAS on a GPU."""
_SECONDS = 0.15
_CPU_FLOPS = 5e9
"""On a CPU larger problems are left out: one call would take seconds."""
_FORMATS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class BenchError(ValueError):
    """Nothing can be timed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a device could do at best."""

    gbps: float
    """Bytes from and to memory, in 10^9 a second."""
    tflops: dict[str, float]
    """Operations by format, in 10^12 a second; `fp32` is without tensor cores."""
    source: str
    """Where the figures are from, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One problem in one precision, run by one provider."""

    operation: str
    """Name in the catalogue."""
    problem: str
    """Name of the problem."""
    dtype: str
    """Such as `float16`."""
    provider: str
    """`triton`, `eager`, `compile` or one of the problem's own rivals."""
    timing: Timing | None
    """How long it took; None after a fault."""
    fault: str = ""
    """Why it could not be run."""
    flops: int
    """Operations that the problem needs."""
    bytes: int
    """Bytes that it must move at least."""
    attainable_ms: float
    """The least time that the device's limits allow."""

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops / self.bytes

    @property
    def efficiency(self) -> float | None:
        """Share of what is attainable, by the median; None after a fault."""
        return None if self.timing is None else self.attainable_ms / self.timing.q50_ms


def limits_of(machine: Machine, device: torch.device, timer: Timer) -> Limits:
    """A device's published limits; measured ones where nothing is published here.

    Measured are a copy of 128 MiB and square products, so that they are what torch reaches, not
    what the device could.
    """
    if machine.kind == "cuda":
        found = shipped_device(machine)
        if found is not None:
            return Limits(gbps=found.dram_gbps, tflops=dict(found.peak_tflops), source=found.source)
    return _measured(device, timer)


def _measured(device: torch.device, timer: Timer) -> Limits:
    source = torch.ones(128 << 20, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    side = 1024 if device.type == "cpu" else 8192
    formats = _FORMATS if device.type == "cuda" else {torch.float32: "fp32"}
    calls: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source)}
    for dtype, name in formats.items():
        x = torch.randn(side, side, device=device).to(dtype)
        calls[name] = partial(torch.matmul, x, x)
    times = {name: timing.min_ms for name, timing in timer.time(calls, _SECONDS).items()}
    return Limits(
        gbps=2 * source.numel() / times["copy"] * 1e-6,
        tflops={name: 2 * side**3 / times[name] * 1e-9 for name in formats.values()},
        source=f"measured here: a copy of 128 MiB, products of {side} x {side}",
    )


def work(problems: Sequence[BenchProblem], machine: Machine) -> list[tuple[BenchProblem, str]]:
    """Problems with the name of each precision that they are run in on a machine.

    On a CPU: float32, problems of up to 5 GFLOP, and none that is quantized.
    """
    if machine.kind == "cuda":
        return [(p, _name(dtype)) for p in problems for dtype in p.dtypes]
    return [(p, "float32") for p in problems if p.flops <= _CPU_FLOPS and not p.quantized]


def bench(
    tasks: Sequence[tuple[BenchProblem, str]],
    machine: Machine,
    device: torch.device,
    timer: Timer,
    limits: Limits,
    *,
    compiled: bool = True,
) -> Iterator[list[Result]]:
    """Time every provider on every task; those of a task turn by turn.

    Args:
        tasks: from `work`.
        machine: this one; the Triton kernels run on a GPU alone.
        device: of this machine.
        timer: for it.
        limits: what results are held against.
        compiled: whether `torch.compile` is a provider.

    Yields:
        The results of each task.
    """
    with torch.inference_mode():
        for problem, name in tasks:
            yield _task(problem, name, machine, device, timer, limits, compiled)


def _task(
    problem: BenchProblem,
    name: str,
    machine: Machine,
    device: torch.device,
    timer: Timer,
    limits: Limits,
    compiled: bool,
) -> list[Result]:
    dtype: torch.dtype = getattr(torch, name)
    arguments = problem.inputs(dtype, device)
    calls: dict[str, Callable[[], object]] = {}
    if machine.kind == "cuda":
        calls["triton"] = partial(
            load_operation(problem.operation).run, **arguments, backend="triton"
        )
    given = problem.torch_inputs(arguments)
    calls[BASELINE] = partial(problem.by_torch, **given)
    if compiled:
        torch._dynamo.reset()  # else the third shape would be compiled for any shape
        calls["compile"] = partial(torch.compile(problem.by_torch), **given)
    calls |= {name: partial(call, **arguments) for name, call in problem.others.items()}
    faults = {provider: _tried(call) for provider, call in calls.items()}
    sound = {provider: call for provider, call in calls.items() if not faults[provider]}
    timings = timer.time(sound, _SECONDS)
    moved = problem.moved(dtype)
    least = attainable_ms(problem, name, limits)
    return [
        Result(
            operation=problem.operation,
            problem=problem.name,
            dtype=name,
            provider=provider,
            timing=timings.get(provider),
            fault=faults[provider],
            flops=problem.flops,
            bytes=moved,
            attainable_ms=least,
        )
        for provider in calls
    ]


def attainable_ms(problem: BenchProblem, dtype: str, limits: Limits) -> float:
    """The least time that memory and arithmetic allow: the roofline."""
    torch_dtype: torch.dtype = getattr(torch, dtype)
    form = problem.rate or (_FORMATS[torch_dtype] if problem.cores else "fp32")
    peak = limits.tflops.get(form) or max(limits.tflops.values())
    streamed = problem.moved(torch_dtype) / limits.gbps * 1e-6
    return max(streamed, problem.flops / peak * 1e-9)


def _tried(call: Callable[[], Any]) -> str:
    """Run once; what it raises, in one line."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - a provider under test may raise anything
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
