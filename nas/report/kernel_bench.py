"""What `nas kernels bench` found, as a table and as JSON (`docs/json.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from hwprofile.bench import BASELINE, Limits, Result
from hwprofile.machine import Machine

_VERSION = 1


def bench_title(machine: Machine) -> str:
    """What was compared, and where; a CPU is said to be one."""
    if machine.kind == "cuda":
        return f"Triton kernels against torch on {machine.device}"
    return f"torch against torch.compile on a CPU ({machine.device}); no kernels were run"


def bench_table(results: Sequence[Result], machine: Machine, limits: Limits) -> Table:
    """A line for each provider of a problem; what the device could do, and the versions, below."""
    rates = ", ".join(f"{name} {rate:.4g}" for name, rate in limits.tflops.items())
    versions = f"torch {machine.torch}" + (f", Triton {machine.triton}" if machine.triton else "")
    threads = f", {machine.threads} threads" if machine.threads else ""
    warm = "" if machine.kind == "cuda" else "; inputs may lie in the caches, so above 100 % occurs"
    table = Table(
        title=bench_title(machine),
        caption=f"limits: {limits.gbps:.4g} GB/s; TFLOPS {rates} ({limits.source})\n"
        f"of limit: the larger of bytes and operations at those, over the median time{warm}\n"
        f"{versions}{threads}",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("problem", min_width=24)
    table.add_column("by", no_wrap=True)
    for name in ("ms", "GB/s", "TFLOPS", "of limit", f"vs {BASELINE}"):
        table.add_column(name, justify="right", no_wrap=True)
    speeds = _speeds(results)
    groups: dict[str, list[tuple[str, ...]]] = {}
    for result, speed in zip(results, speeds, strict=True):
        problem = f"{result.operation}, {result.dtype}\n{result.problem}"
        row = (result.provider, *_figures(result, speed))
        groups.setdefault(problem, []).append(row)
    for problem, rows in groups.items():
        # One row of several lines: what they have in common wraps beside all of them.
        table.add_row(problem, *("\n".join(cells) for cells in zip(*rows, strict=True)))
    return table


def bench_faults(results: Sequence[Result]) -> list[str]:
    """A line for each that could not be run."""
    return [
        f"not run: {r.operation}, {r.problem}, {r.dtype}, {r.provider}: {r.fault}"
        for r in results
        if r.fault
    ]


def bench_record(
    results: Sequence[Result], machine: Machine, limits: Limits, facts: dict[str, Any]
) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "format": "nas-kernel-bench",
        "version": _VERSION,
        "machine": asdict(machine),
        "limits": asdict(limits),
        **facts,
        "results": [
            {
                **asdict(result),
                "intensity": result.intensity,
                "efficiency": result.efficiency,
                "gbps": _rate(result, result.bytes, 1e-6),
                "tflops": _rate(result, result.flops, 1e-9),
                "speed": speed,
            }
            for result, speed in zip(results, _speeds(results), strict=True)
        ],
    }


def _speeds(results: Sequence[Result]) -> list[float | None]:
    """How many times as fast as the baseline, by medians."""
    base = {
        (r.operation, r.problem, r.dtype): r.timing.q50_ms
        for r in results
        if r.provider == BASELINE and r.timing
    }
    return [
        base[key] / r.timing.q50_ms
        if r.timing and (key := (r.operation, r.problem, r.dtype)) in base
        else None
        for r in results
    ]


def _rate(result: Result, amount: int, scale: float) -> float | None:
    return None if result.timing is None else amount / result.timing.q50_ms * scale


def _figures(result: Result, speed: float | None) -> tuple[str, ...]:
    if result.timing is None:
        return ("fault", "", "", "", "")
    timing = result.timing
    return (
        _short(timing.q50_ms),
        _short(_rate(result, result.bytes, 1e-6) or 0),
        _short(_rate(result, result.flops, 1e-9) or 0),
        f"{result.efficiency or 0:.1%}",
        "" if result.provider == BASELINE or speed is None else f"{speed:.2f}×",
    )


def _short(value: float) -> str:
    """Three digits, no exponent before ten thousand."""
    return f"{value:.0f}" if 1000 <= value < 10_000 else f"{value:.3g}"
