"""What checking, inspecting and listing kernels shows: tables for people, records for programs.

The records are documented in `docs/json.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from kernels.catalogue import load_operation
from kernels.check import Outcome
from kernels.check_process import Start
from kernels.inspection import Inspected, dtype_name
from kernels.occupancy import LIMITS
from kernels.sass import CLASSES
from nas.gpu_target import GpuTarget

_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
_VERSION = 1


def check_table(start: Start, outcomes: Sequence[Outcome]) -> Table:
    """One row an operation and dtype, and the verdict below."""
    failed = sum(not outcome.passed for outcome in outcomes)
    verdict = f"{failed} of {len(outcomes)} cases fail" if failed else "all cases agree"
    seconds = sum(outcome.seconds for outcome in outcomes)
    versions = f"torch {start.torch_version}, Triton {start.triton_version}"
    table = Table(
        title=f"Triton against plain torch in float64, on {start.device}",
        caption=f"{verdict}; {len(outcomes)} cases, {seconds:.0f} s, {versions}",
        title_justify="left",
        caption_justify="left",
        **_STYLE,
    )
    for name in ("operation", "dtype"):
        table.add_column(name)
    for name in ("cases", "failed", "largest error", "of tolerance", "seconds"):
        table.add_column(name, justify="right")
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.operation, outcome.dtype), []).append(outcome)
    for (operation, dtype), group in sorted(groups.items()):
        table.add_row(
            operation,
            dtype,
            str(len(group)),
            str(sum(not outcome.passed for outcome in group)),
            _error(max(outcome.largest for outcome in group)),
            _share(max(outcome.used for outcome in group)),
            f"{sum(outcome.seconds for outcome in group):.1f}",
        )
    return table


def check_failures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A line for each case that failed: which, why it is there, and what went wrong."""
    for outcome in outcomes:
        if outcome.passed:
            continue
        wrong = [
            f"{e.result} is off by {_error(e.largest)}, {_share(e.used)} of the tolerance"
            if math.isfinite(e.largest)
            else f"{e.result} has NaN or infinity in other places"
            for e in outcome.errors
            if e.used > 1
        ]
        yield (
            f"failed: {outcome.operation}, {outcome.case} ({outcome.why}), {outcome.dtype}: "
            + (outcome.fault or "; ".join(wrong))
        )


def check_record(start: Start, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "format": "nas-kernel-check",
        "version": _VERSION,
        "device": start.device,
        "torch_version": start.torch_version,
        "triton_version": start.triton_version,
        "passed": all(outcome.passed for outcome in outcomes),
        "outcomes": [
            {
                **asdict(outcome),
                "passed": outcome.passed,
                "errors": [
                    {"result": e.result, "largest": _finite(e.largest), "used": _finite(e.used)}
                    for e in outcome.errors
                ],
            }
            for outcome in outcomes
        ],
    }


def inspection_table(found: Sequence[Inspected], target: GpuTarget) -> Table:
    """One column a kernel, and one with the device's limits."""
    first = found[0]
    place = f"{target.name}, {target.architecture}" if target.device else target.architecture
    table = Table(
        title=f"{first.operation} {describe_problem(first)} on {place}",
        caption=f"compiled by Triton {first.kernel.triton_version} (PTX "
        f"{first.kernel.ptx_version}), not run; instructions are a warp's in one iteration of the "
        "innermost loop that multiplies most",
        title_justify="left",
        caption_justify="left",
        **_STYLE,
    )
    table.add_column("")
    for item in found:
        table.add_column(item.role, justify="right")
    table.add_column("limit", justify="right")
    for name, cells, limit in _resource_rows(found, target):
        table.add_row(name, *cells, limit)
    table.add_section()
    for name, cells in _instruction_rows(found):
        table.add_row(name, *cells, "")
    return table


def _resource_rows(
    found: Sequence[Inspected], target: GpuTarget
) -> Iterator[tuple[str, list[str], str]]:
    limits = LIMITS.get(target.architecture)
    kernels = [item.kernel for item in found]
    fits = [kernel.occupancy for kernel in kernels]
    yield "threads a block", [str(kernel.threads) for kernel in kernels], "1024"
    yield "registers a thread", [str(kernel.registers) for kernel in kernels], "255"
    yield "spills (instructions)", [str(kernel.spills) for kernel in kernels], ""
    shared = f"{limits.shared_bytes - 1024:,}" if limits else "not known"
    yield "shared bytes a block", [f"{kernel.shared_bytes:,}" for kernel in kernels], shared
    if limits is not None:
        yield "blocks an SM", [str(fit.blocks) if fit else "" for fit in fits], str(limits.blocks)
        yield "warps an SM", [str(fit.warps) if fit else "" for fit in fits], str(limits.warps)
        yield "occupancy", [f"{fit.share:.0%}" if fit else "" for fit in fits], ""
        yield "limited by", [fit.limit if fit else "" for fit in fits], ""
    if any(item.programs for item in found):
        cells = [f"{item.programs:,}" if item.programs else "" for item in found]
        sms = "" if target.device is None else f"{target.device.sms} SMs"
        yield "blocks launched", cells, sms


def _instruction_rows(found: Sequence[Inspected]) -> Iterator[tuple[str, list[str]]]:
    loops = [item.kernel.main_loop for item in found]
    mixes = [loop.mix if loop else {} for loop in loops]
    yield "instructions an iteration", [str(loop.size) if loop else "no loop" for loop in loops]
    for name in (name for name in (*CLASSES, "other") if any(name in mix for mix in mixes)):
        yield (
            f"  {name}",
            [
                f"{mix[name]} ({_share(mix[name] / loop.size)})" if loop and name in mix else ""
                for mix, loop in zip(mixes, loops, strict=True)
            ],
        )
    yield "bytes loaded a thread", [str(loop.loaded_bytes) if loop else "" for loop in loops]


def inspection_record(found: Sequence[Inspected], target: GpuTarget) -> dict[str, Any]:
    """Everything, for `--json`."""
    first = found[0]
    return {
        "format": "nas-kernel-inspection",
        "version": _VERSION,
        "operation": first.operation,
        "target": target.name,
        "architecture": target.architecture,
        "dtype": dtype_name(first.problem.dtype),
        "shape": list(first.problem.shape),
        "settings": dict(first.problem.settings),
        "limits": asdict(LIMITS[target.architecture]) if target.architecture in LIMITS else None,
        "sms": target.device.sms if target.device else None,
        "kernels": [_kernel_record(item) for item in found],
    }


def resource_table(found: Sequence[Sequence[Inspected]], targets: Sequence[GpuTarget]) -> Table:
    """One row a kernel and problem; for each target registers, spills, shared bytes, occupancy."""
    names = ", ".join(target.name for target in targets)
    version = next((kernels[0].kernel.triton_version for kernels in found if kernels), "")
    table = Table(
        title=f"registers, spills, shared memory and occupancy on {names}",
        caption=f"compiled by Triton {version}, not run; a dash: the target lacks the dtype",
        title_justify="left",
        caption_justify="left",
        **_STYLE,
    )
    table.add_column("operation")
    table.add_column("problem")
    table.add_column("kernel")
    for target in targets:
        table.add_column(f"{target.name}\nregisters", justify="right")
        table.add_column("\nspills", justify="right")
        table.add_column("\nshared", justify="right")
        table.add_column("\noccupancy", justify="right")
    shown = _shown_settings(found)
    rows: dict[tuple[str, str, str], dict[int, Inspected]] = {}
    for place, kernels in enumerate(found):
        for item in kernels:
            problem = describe_problem(item, shown[item.operation])
            rows.setdefault((item.operation, problem, item.role), {})[place] = item
    above = ("", "")
    for (operation, problem, role), by_target in rows.items():
        names = (operation if operation != above[0] else "", problem)
        cells = [
            cell
            for place in range(len(targets))
            for cell in _resource_cells(by_target.get(place))
        ]
        table.add_row(*(names if (operation, problem) != above else ("", "")), role, *cells)
        above = (operation, problem)
    return table


def _shown_settings(found: Sequence[Sequence[Inspected]]) -> dict[str, tuple[str, ...]]:
    """By operation, the settings that tell its problems apart or are not the defaults."""
    values: dict[str, dict[str, set[object]]] = {}
    for item in (item for kernels in found for item in kernels):
        defaults = load_operation(item.operation).settings
        own = values.setdefault(item.operation, {name: {defaults[name]} for name in defaults})
        for name, value in item.problem.settings.items():
            own[name].add(value)
    return {
        operation: tuple(name for name, seen in own.items() if len(seen) > 1)
        for operation, own in values.items()
    }


def _resource_cells(item: Inspected | None) -> tuple[str, str, str, str]:
    if item is None:
        return "-", "-", "-", "-"
    kernel, fit = item.kernel, item.kernel.occupancy
    share = f"{fit.share:.0%}" if fit else "not known"
    return str(kernel.registers), str(kernel.spills), f"{kernel.shared_bytes:,}", share


def resource_record(
    found: Sequence[Sequence[Inspected]], targets: Sequence[GpuTarget]
) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "format": "nas-kernel-table",
        "version": _VERSION,
        "kernels": [
            {
                "target": target.name,
                "operation": item.operation,
                "dtype": dtype_name(item.problem.dtype),
                "shape": list(item.problem.shape),
                "settings": dict(item.problem.settings),
                **_kernel_record(item),
            }
            for target, kernels in zip(targets, found, strict=True)
            for item in kernels
        ],
    }


def describe_problem(item: Inspected, shown: Sequence[str] | None = None) -> str:
    """Shape, dtype and settings (None: all) in a line: `1x96x56x56 fp16, kernel 7, stride 1`."""
    given = item.problem.settings
    settings = [f"{name} {given[name]}" for name in (given if shown is None else shown)]
    shape = "x".join(map(str, item.problem.shape))
    return ", ".join([f"{shape} {dtype_name(item.problem.dtype)}", *settings])


def _kernel_record(item: Inspected) -> dict[str, Any]:
    kernel, loop = item.kernel, item.kernel.main_loop
    return {
        "role": item.role,
        **{name: value for name, value in asdict(kernel).items() if name != "loops"},
        "instructions": dict(kernel.instructions),
        "programs": item.programs,
        "occupancy": asdict(kernel.occupancy) if kernel.occupancy else None,
        "iteration": None
        if loop is None
        else {
            "size": loop.size,
            "mix": loop.mix,
            "loaded_bytes": loop.loaded_bytes,
            "instructions": dict(loop.instructions),
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _error(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "fault"


def _share(value: float) -> str:
    if not math.isfinite(value):
        return "fault"
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"
