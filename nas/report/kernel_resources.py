"""What kernels take of a GPU: tables for people, records for programs (see `docs/json.md`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from kernels.catalogue import load_operation
from kernels.inspection import Inspected, dtype_name
from kernels.occupancy import LIMITS
from kernels.sass import CLASSES, mix
from nas.gpu_target import GpuTarget

_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
_VERSION = 1


def inspection_table(found: Sequence[Inspected], target: GpuTarget) -> Table:
    """One column a kernel, and one with the device's limits."""
    first = found[0]
    place = f"{target.name}, {target.architecture}" if target.device else target.architecture
    table = Table(
        title=f"{first.operation} {describe_problem(first)} on {place}",
        caption=f"compiled by Triton {first.kernel.triton_version} (PTX "
        f"{first.kernel.ptx_version}), not run. An iteration is one of the innermost loop that "
        "multiplies most, a warp's instructions in it",
        title_justify="left",
        caption_justify="left",
        **_STYLE,
    )
    table.add_column("", no_wrap=True)
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
    yield "spills", [str(kernel.spills) for kernel in kernels], ""
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
    counts = [
        loop.instructions if loop else item.kernel.instructions
        for loop, item in zip(loops, found, strict=True)
    ]
    mixes = [mix(instructions) for instructions in counts]
    yield "instructions of", ["an iteration" if loop else "the whole code" for loop in loops]
    yield "instructions", [str(sum(sums.values())) for sums in mixes]
    for name in (name for name in (*CLASSES, "other") if any(name in sums for sums in mixes)):
        cells = [
            f"{sums[name]} ({_percent(sums[name] / sum(sums.values()))})" if name in sums else ""
            for sums in mixes
        ]
        yield f"  {name}", cells
    if any(loops):
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
    """One row a kernel; for each target registers, spills, shared bytes and occupancy."""
    names = ", ".join(target.name for target in targets)
    version = next((kernels[0].kernel.triton_version for kernels in found if kernels), "")
    table = Table(
        title=f"registers a thread, spills, shared bytes a block and occupancy on {names}",
        caption=f"compiled by Triton {version}, not run; a dash: the target lacks the dtype",
        title_justify="left",
        caption_justify="left",
        **_STYLE,
    )
    table.add_column("kernel")
    for target in targets:
        for name in (f"{target.name}\nregs", "\nspills", "\nshared", "\noccup."):
            table.add_column(name, justify="right", no_wrap=True)
    shown = _shown_settings(found)
    problems: dict[str, dict[str, dict[int, Inspected]]] = {}
    for place, kernels in enumerate(found):
        for item in kernels:
            problem = f"{item.operation} {describe_problem(item, shown[item.operation])}"
            problems.setdefault(problem, {}).setdefault(item.role, {})[place] = item
    for problem, roles in problems.items():
        table.add_row(problem, style="bold")
        for role, by_target in roles.items():
            cells = [_resource_cells(by_target.get(place)) for place in range(len(targets))]
            table.add_row(f"  {role}", *(cell for four in cells for cell in four))
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
    """Shape, dtype and settings in a line: `1x96x56x56 fp16, kernel 7, stride 1`.

    Without `shown` it leaves out settings that are off: 0, False or none.
    """
    given = item.problem.settings
    if shown is None:
        shown = [name for name, value in given.items() if value not in (0, "none")]
    settings = [f"{name} {given[name]}" for name in shown]
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


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"
