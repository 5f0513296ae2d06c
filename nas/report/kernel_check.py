"""What checking kernels shows: a table for people, a record for programs (see `docs/json.md`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from kernels.check import Outcome
from kernels.check_process import Start

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
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _error(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "fault"


def _share(value: float) -> str:
    if not math.isfinite(value):
        return "fault"
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"
