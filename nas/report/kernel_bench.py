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
    """One row a problem and provider; what the device could do, and the versions, below."""
    rates = ", ".join(f"{name} {rate:.4g}" for name, rate in limits.tflops.items())
    versions = f"torch {machine.torch}" + (f", Triton {machine.triton}" if machine.triton else "")
    threads = f", {machine.threads} threads" if machine.threads else ""
    warm = "" if machine.kind == "cuda" else "; inputs may lie in the caches, so above 100 % occurs"
    table = Table(
        title=bench_title(machine),
        caption=f"limits: {limits.gbps:.4g} GB/s; TFLOPS {rates} ({limits.source})\n"
        f"attainable: the larger of bytes and operations at those{warm}\n{versions}{threads}",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("operation", "problem", "dtype", "by"):
        table.add_column(name, no_wrap=name != "problem")
    for name in ("ms", "20–80 %", "GB/s", "TFLOPS", "attainable", f"vs {BASELINE}"):
        table.add_column(name, justify="right", no_wrap=True)
    before: tuple[str, ...] = ()
    speeds = _speeds(results)
    for result, speed in zip(results, speeds, strict=True):
        key = (result.operation, result.problem, result.dtype)
        shown = tuple("" if key == before else part for part in key)
        table.add_row(*shown, result.provider, *_figures(result, speed))
        before = key
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
        return ("fault", "", "", "", "", "")
    timing = result.timing
    return (
        f"{timing.q50_ms:.4g}",
        f"{timing.q20_ms:.3g}–{timing.q80_ms:.3g}",
        f"{_rate(result, result.bytes, 1e-6) or 0:.3g}",
        f"{_rate(result, result.flops, 1e-9) or 0:.3g}",
        f"{result.efficiency or 0:.1%}",
        "" if result.provider == BASELINE or speed is None else f"{speed:.2f}×",
    )
