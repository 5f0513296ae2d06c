"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from nas.quantities import format_bytes, format_count

_SHOWN = 12


def front_table(record: Mapping[str, Any]) -> Table:
    """The Pareto front of a result, thinned to a dozen rows; the chosen design is marked."""
    front: Sequence[Mapping[str, Any]] = record["front"]
    chosen = record["best"]["key"]
    with_data = any("accuracy" in row for row in front)
    table = Table(
        title="Pareto front" + _thinned(len(front)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in (
        "",
        "accuracy" if with_data else "score",
        "ms",
        "range",
        "MACs",
        "params",
        "peak act.",
        "key",
    ):
        table.add_column(name, justify="left" if name in ("", "key") else "right", no_wrap=True)
    for row in _spread(front, chosen):
        table.add_row(
            "→" if row["key"] == chosen else "",
            f"{row['accuracy']:.2%}" if with_data else f"{row['score']:,.1f}",
            f"{row['latency_ms']:.3f}",
            f"{row['low_ms']:.3f}–{row['high_ms']:.3f}",
            format_count(row["macs"]),
            format_count(row["params"]),
            format_bytes(row["peak_bytes"]),
            row["key"],
        )
    return table


def _thinned(rows: int) -> str:
    if rows <= _SHOWN:
        return ""
    return f" ({_SHOWN} of {rows} designs; all are in the run's result.json)"


def _spread(front: Sequence[Mapping[str, Any]], chosen: str) -> list[Mapping[str, Any]]:
    """At most a dozen rows, evenly spread, the ends and the chosen one among them."""
    if len(front) <= _SHOWN:
        return list(front)
    places = {round(i * (len(front) - 1) / (_SHOWN - 1)) for i in range(_SHOWN)}
    return [row for i, row in enumerate(front) if i in places or row["key"] == chosen]
