"""Which predictions held, as a table and as JSON (`docs/json.md`)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from nas.verify import Task, Verified

FORMAT, VERSION = "nas-verification", 1


def verification(task: Task, rows: Sequence[Verified]) -> dict[str, Any]:
    """All of it as one record.

    Args:
        task: what was measured.
        rows: the networks, in the order of the front; at least one.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": str(task.folder),
        **task.conditions,
        "input": list(task.spec.shape),
        "coverage": task.target.coverage,
        "networks": [_network(row) for row in rows],
        "left_out": list(task.left_out),
        "inside": sum(row.inside for row in rows) / len(rows),
        "median_error": statistics.median(abs(row.error) for row in rows),
        "kendall_tau": kendall_tau(
            [row.predicted.value for row in rows], [row.measured_ms for row in rows]
        ),
    }


def verification_table(record: dict[str, Any]) -> Table:
    """One line a network, from the fastest predicted on, and what they say together."""
    machine = record["machine"]
    threads = f", {machine['threads']} threads" if machine["threads"] else ""
    table = Table(
        title=f"Predicted for {record['target']} ({record['runtime']}, {record['precision']}, "
        f"batch {record['batch']}), measured on {machine['device']}{threads}, "
        f"torch {machine['torch']}; ms",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=_said(record),
        caption_justify="left",
    )
    for name in ("predicted", "range", "measured", "least", "quiet", "inside", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("key", no_wrap=True, max_width=12)
    for row in sorted(record["networks"], key=lambda row: row["latency_ms"]):
        table.add_row(
            f"{row['latency_ms']:.4g}",
            f"{row['low_ms']:.4g}–{row['high_ms']:.4g}",
            f"{row['measured_ms']:.4g}",
            f"{row['timing']['min_ms']:.4g}",
            f"{row['timing']['q20_ms']:.4g}",
            "yes" if row["inside"] else "no",
            f"{row['error']:+.1%}",
            row["key"],
        )
    return table


def kendall_tau(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Kendall's rank correlation (tau-b); None where either is constant."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    from scipy.stats import kendalltau  # a second of import

    return float(kendalltau(x, y).statistic)


def _network(row: Verified) -> dict[str, Any]:
    return {
        "key": row.key,
        "latency_ms": row.predicted.value,
        "low_ms": row.predicted.low,
        "high_ms": row.predicted.high,
        "measured_ms": row.measured_ms,
        "inside": row.inside,
        "error": row.error,
        "timing": asdict(row.timing),
    }


def _said(record: dict[str, Any]) -> str:
    count = len(record["networks"])
    tau = record["kendall_tau"]
    parts = [
        f"{record['inside']:.0%} of {count} inside a range made for {record['coverage']:.0%}",
        f"median error {record['median_error']:.1%}",
        "Kendall tau " + ("needs two networks that differ" if tau is None else f"{tau:.2f}"),
    ]
    if record["left_out"]:
        parts.append(f"{len(record['left_out'])} left out: quantized, which no module here runs")
    return (
        "; ".join(parts) + ".\n"
        "Measured is the median; quiet is what a fifth of the samples stay below."
    )
