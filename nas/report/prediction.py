"""A prediction for people: totals, families, and the costliest kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from nas.quantities import format_bytes, format_count

_SHOWN = 25


def prediction_tables(prediction: Mapping[str, Any]) -> Iterator[Table]:
    """The tables of a prediction: totals, shares by family, kernels, the costliest first."""
    yield _totals(prediction)
    yield _families(prediction)
    yield _kernels(prediction)


def _totals(p: Mapping[str, Any]) -> Table:
    title = escape(f"{p['network']} on {p['target']}")  # a path may hold rich's markup
    table = Table(title=title, title_justify="left", show_header=False)
    shape = " and ".join("x".join(map(str, given)) for given in p["inputs"])
    table.add_row(
        "latency",
        f"{p['latency_ms']:.3f} ms, {p['coverage']:.0%} range {p['low_ms']:.3f} to "
        f"{p['high_ms']:.3f} ms",
    )
    table.add_row("for", f"{shape}, {p['precision']}, {p['runtime']}")
    if p["bound_by"] == "host":
        table.add_row("bound by", f"the host's dispatch; the device takes {p['device_ms']:.3f} ms")
    if p["without_rule"]:
        table.add_row("no rule knows", f"{', '.join(p['without_rule'])}: by bytes and operations")
    if p["energy_mj"] is not None:
        low, value, high = (p[name] for name in ("energy_low_mj", "energy_mj", "energy_high_mj"))
        table.add_row(
            "energy",
            f"{value:.3g} mJ, range {low:.3g} to {high:.3g} mJ, from published power figures alone",
        )
    table.add_row("MACs for one image", format_count(p["macs"]))
    table.add_row("parameters", format_count(p["params"]))
    table.add_row("peak activation memory", format_bytes(p["peak_bytes"]))
    table.add_row("weights as stored", format_bytes(p["weight_bytes"]))
    return table


def _families(p: Mapping[str, Any]) -> Table:
    table = Table("kernel", "launches", "ms", "share")
    sums: dict[str, tuple[int, float]] = {}
    for row in p["kernels"]:
        name = f"{row['op']} {row['scheme']}"
        launches, ms = sums.get(name, (0, 0.0))
        sums[name] = (launches + 1, ms + row["latency_ms"])
    total = p["device_ms"] or 1.0
    for name, (launches, ms) in sorted(sums.items(), key=lambda item: -item[1][1]):
        table.add_row(name, str(launches), f"{ms:.4f}", f"{ms / total:.1%}")
    return table


def _kernels(p: Mapping[str, Any]) -> Table:
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in p["kernels"]:
        own = tuple(value for name, value in row.items() if name != "path")
        alike.setdefault(own, []).append(row)
    groups = sorted(alike.values(), key=lambda rows: -len(rows) * rows[0]["latency_ms"])
    many = len(groups) > _SHOWN
    title = f"the {_SHOWN} costliest of {len(groups)} distinct kernels" if many else "kernels"
    table = Table("first at", "kernel", "m x n x k", "times", "us each", "range", "fused")
    table.title = title
    for rows in groups[:_SHOWN]:
        row = rows[0]
        size = f"{row['m']} x {row['n']} x {row['k']}"
        if row["groups"] > 1:
            size += f", {row['groups']} groups"
        low, value, high = (1e3 * row[name] for name in ("low_ms", "latency_ms", "high_ms"))
        span = f"{low:.2f} – {high:.2f}"
        where, op, count = row["path"], row["op"], str(len(rows))
        table.add_row(where, op, size, count, f"{value:.2f}", span, row["detail"])
    return table
