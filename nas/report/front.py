"""The solver's front and the designs that it ranks, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from nas.quantities import format_count
from nas.report.certificate import NAMES, amount


def points_table(front: Mapping[str, Any]) -> Table:
    """The points of a front, the tightest limit first."""
    name = front["name"]
    title = f"Front of score against {NAMES[name]}, solved in {front['seconds']:.0f} s"
    table = _table(title, "limit", "used", "score", "at most", "gap", "key")
    for point in front["points"]:
        limit = amount(name, point["limit"])
        if point["score"] is None:
            bound = "no design" if point["bound"] is None else f"{point['bound']:,.1f}"
            table.add_row(limit, "", "none found", bound, "", "")
            continue
        table.add_row(
            limit,
            amount(name, point["used"]),
            f"{point['score']:,.1f}",
            f"{point['bound']:,.1f}",
            f"{point['gap']:.2%}",
            point["key"],
        )
    return table


def ranked_table(record: Mapping[str, Any]) -> Table:
    """The best designs that differ, the best first."""
    table = _table(
        "The best designs that differ",
        "",
        "score",
        "at most",
        "gap",
        "ms",
        "MACs",
        "params",
        "key",
    )
    for place, row in enumerate(record["ranked"], start=1):
        table.add_row(
            str(place),
            f"{row['score']:,.1f}",
            f"{row['bound']:,.1f}",
            f"{row['gap']:.2%}",
            f"{row['high_ms']:.3f}",
            format_count(row["macs"]),
            format_count(row["params"]),
            row["key"],
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name == "key" else "right", no_wrap=True)
    return table
