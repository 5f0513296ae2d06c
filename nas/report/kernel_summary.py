"""What each operation takes of a GPU, as Markdown: one row an operation and target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernels.inspection import Inspected
from kernels.sass import mix
from nas.gpu_target import GpuTarget
from nas.report.kernel_resources import describe_problem

_HEAD = (
    *("operation", "on", "kernels", "registers", "spills", "shared KiB", "occupancy"),
    *("tensor cores", "multiply-adds"),
)


def summary_markdown(found: Sequence[Sequence[Inspected]], targets: Sequence[GpuTarget]) -> str:
    """Ranges over all kernels of an operation, and below a line for each kernel that spills.

    Args:
        found: For each target its kernels.
        targets: Where they would run.
    """
    lines = [f"| {' | '.join(_HEAD)} |", "|---|---|" + "---:|" * (len(_HEAD) - 2)]
    kernels = [item for items in found for item in items]
    for operation in dict.fromkeys(item.operation for item in kernels):
        for target, items in zip(targets, found, strict=True):
            own = [item for item in items if item.operation == operation]
            cells = _cells(own) if own else ["-"] * (len(_HEAD) - 2)
            lines.append(f"| `{operation}` | {target.name} | {' | '.join(cells)} |")
    versions = sorted({item.kernel.triton_version for item in kernels})
    names = " and ".join(target.name for target in targets)
    lines += ["", f"{len(kernels)} kernels for {names}, compiled by Triton {', '.join(versions)}."]
    spilled = [item for item in kernels if item.kernel.spills]
    lines.append("None spills." if not spilled else "These spill:\n")
    lines += [
        f"- `{item.operation}` {describe_problem(item)}, {item.role}, {item.kernel.architecture}: "
        f"{item.kernel.spills} instructions, of which {_spills_in_loop(item)} in its main loop"
        for item in spilled
    ]
    return "\n".join(lines)


def _cells(items: Sequence[Inspected]) -> list[str]:
    kernels = [item.kernel for item in items]
    fits = [kernel.occupancy for kernel in kernels]
    shares = [fit.share for fit in fits if fit is not None]
    return [
        str(len(items)),
        _span(kernel.registers for kernel in kernels),
        str(sum(kernel.spills for kernel in kernels)),
        _span(-(-kernel.shared_bytes // 1024) for kernel in kernels),
        _percents(shares) if len(shares) == len(fits) else "not known",
        _percents(_share(item, "tensor core") for item in items),
        _percents(_share(item, "multiply-add") for item in items),
    ]


def _share(item: Inspected, name: str) -> float:
    """Share of a class among the instructions of the main loop, or of all where there is none."""
    loop = item.kernel.main_loop
    counts = loop.mix if loop else mix(item.kernel.instructions)
    return counts.get(name, 0) / max(1, sum(counts.values()))


def _spills_in_loop(item: Inspected) -> int:
    loop = item.kernel.main_loop
    return loop.mix.get("spill", 0) if loop else 0


def _percents(shares: Iterable[float]) -> str:
    return f"{_span(round(100 * share) for share in shares)} %"


def _span(values: Iterable[int]) -> str:
    """The least and the largest, or the one that all are."""
    ordered = sorted(values)
    ends = dict.fromkeys((ordered[0], ordered[-1]))
    return "-".join(f"{value:,}" for value in ends)
