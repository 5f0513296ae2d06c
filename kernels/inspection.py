"""What an operation's kernels take on a GPU that is not here, for a shape and settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import torch

from kernels.aot import CompiledKernel, KernelSource, capability_of, compile_kernel, key_of
from kernels.operation import Operation, Problem, Settings

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
    "int8": torch.int8,
}
"""Dtypes of an operation's input, by the names that people type."""


class InspectionError(ValueError):
    """A shape, a dtype or a setting does not fit the operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One kernel of an operation, compiled for a problem."""

    operation: str
    """Name in the catalogue."""
    problem: Problem
    """What it was compiled for, with all settings."""
    role: str
    """Which of the operation's kernels it is, such as `forward`."""
    kernel: CompiledKernel
    """What it takes."""
    programs: int | None
    """Blocks that a launch for the problem would start; None if the operation does not say."""


def dtype_name(dtype: torch.dtype) -> str:
    """Return the short name of a dtype: `fp16`."""
    names = {value: name for name, value in DTYPES.items()}
    return names.get(dtype, str(dtype).removeprefix("torch."))


def problem_of(
    operation: Operation,
    *,
    dtype: torch.dtype | None = None,
    shape: Sequence[int] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Problem:
    """Complete a problem: what is not given is as in the first problem that the operation lists.

    Args:
        operation: The operation.
        dtype: Of its input.
        shape: In the order of `operation.letters`.
        texts: Settings as people type them.

    Raises:
        InspectionError: If a setting is unknown or no value of its kind, a size is below 1, or
            the dtype is not served.
    """
    first = operation.problems[0]
    shape = first.shape if shape is None else tuple(shape)
    if len(shape) != len(first.shape) or min(shape) < 1:
        raise InspectionError(
            f"a shape of {operation.name} must be {operation.letters}, sizes of at least 1; got "
            f"{'x'.join(map(str, shape))}"
        )
    settings = {**operation.settings, **(first.settings if not texts else {})}
    for name, text in (texts or {}).items():
        settings[name] = _setting(operation, name, text)
    if dtype is None:
        dtype = first.dtype
    served = dict.fromkeys((*operation.dtypes, *(problem.dtype for problem in operation.problems)))
    if dtype not in served:
        raise InspectionError(
            f"the input of {operation.name} must be {', '.join(map(dtype_name, served))}; got "
            f"{dtype_name(dtype)}"
        )
    return Problem(dtype=dtype, shape=shape, settings=settings)


def _setting(operation: Operation, name: str, text: str) -> int | bool | str:
    if name not in operation.settings:
        known = ", ".join(operation.settings) or "none"
        raise InspectionError(f"settings of {operation.name} are: {known}; got {name!r}")
    default = operation.settings[name]
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text in ("true", "false"):
            return text == "true"
        raise InspectionError(f"{name} must be true or false; got {text!r}")
    try:
        return int(text)
    except ValueError:
        raise InspectionError(f"{name} must be an integer; got {text!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kernel that is to be compiled for a problem."""

    operation: str
    """Name in the catalogue."""
    problem: Problem
    """What it is compiled for, with all settings."""
    role: str
    """Which of the operation's kernels it is, such as `forward`."""
    source: KernelSource
    """The kernel."""
    architecture: str
    """Such as `sm_80`."""


def jobs_of(operation: Operation, problem: Problem, architecture: str) -> list[Job]:
    """List every kernel of an operation for a problem.

    Args:
        operation: The operation.
        problem: Shape, dtype and settings; settings that it leaves out are the operation's.
        architecture: Such as `sm_80`.

    Raises:
        InspectionError: If the operation refuses the problem.
        ValueError: If the architecture is not one.
    """
    capability = capability_of(architecture)
    settings: Settings = {**operation.settings, **problem.settings}
    problem = Problem(dtype=problem.dtype, shape=problem.shape, settings=settings)
    try:
        sources = operation.sources(
            capability=capability, dtype=problem.dtype, shape=problem.shape, **settings
        )
    except ValueError as error:
        raise InspectionError(f"{operation.name}: {error}") from error
    return [
        Job(
            operation=operation.name,
            problem=problem,
            role=role,
            source=source,
            architecture=architecture,
        )
        for role, source in sources.items()
    ]


def all_jobs(operation: Operation, architecture: str) -> list[Job]:
    """List the kernels of every problem of an operation; none if the architecture lacks its
    arithmetic, as those before sm_89 lack fp8."""
    if capability_of(architecture) < operation.capability:
        return []
    return [
        job for problem in operation.problems for job in jobs_of(operation, problem, architecture)
    ]


def inspect(operation: Operation, problem: Problem, architecture: str) -> list[Inspected]:
    """Compile every kernel of an operation for a problem.

    Args:
        operation: The operation.
        problem: Shape, dtype and settings; settings that it leaves out are the operation's.
        architecture: Such as `sm_80`.

    Raises:
        InspectionError: If the operation refuses the problem.
        AheadOfTimeError: If the compilation fails.
        ValueError: If the architecture is not one.
    """
    jobs = jobs_of(operation, problem, architecture)
    return [_inspected(job, compile_kernel(job.source, architecture)) for job in jobs]


def compile_jobs(
    jobs: Sequence[Job], *, workers: int | None = None
) -> Iterator[tuple[int, Inspected]]:
    """Compile many kernels, each distinct one once, and yield them as they are ready.

    Half of a compilation runs in the assembler and the disassembler, which are processes of their
    own, so that threads use several cores.

    Args:
        jobs: What to compile.
        workers: Threads; None: one a core that this process may use.

    Yields:
        The position of a job and its kernel.

    Raises:
        AheadOfTimeError: If a compilation fails; what was compiled before is kept on disk.
    """
    same: dict[str, list[int]] = {}
    for position, job in enumerate(jobs):
        same.setdefault(key_of(job.source, job.architecture), []).append(position)
    pool = ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)))
    try:
        running = {
            pool.submit(compile_kernel, jobs[first].source, jobs[first].architecture): positions
            for positions in same.values()
            for first in positions[:1]
        }
        for done in as_completed(running):
            kernel = done.result()
            for position in running[done]:
                yield position, _inspected(jobs[position], kernel)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _inspected(job: Job, kernel: CompiledKernel) -> Inspected:
    return Inspected(
        operation=job.operation,
        problem=job.problem,
        role=job.role,
        kernel=kernel,
        programs=job.source.programs,
    )
