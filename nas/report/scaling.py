"""A network before and after scaling, as JSON and for people. Documented in `docs/json.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from nas.quantities import format_count
from searchspace.build import flow
from searchspace.shapes import TensorSpec
from searchspace.tree import units

if TYPE_CHECKING:
    from nas.scaling.programme import Point
    from nas.scaling.scale import Done

FORMAT, VERSION = "nas-scaling", 1


def scaling_record(done: Done) -> dict[str, Any]:
    """What was scaled, by what, and to what."""
    answer = done.answer
    factors = answer.after.factors
    wanted = {"macs": done.wanted.macs, "params": done.wanted.params}
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": done.name,
        "space": done.space,
        "rule": done.rule.name,
        "wanted": {**wanted, "high_ms": done.wanted.budget_ms},
        "target": done.target,
        "batch": done.batch,
        "precision": done.precision,
        "scale": answer.after.scale,
        "factors": {
            "depth": factors.depth,
            "width": factors.width,
            "resolution": factors.resolution,
        },
        "before": _design(done, answer.before),
        "after": _design(done, answer.after),
        "beyond": {"scale": answer.beyond.scale, **_costs(answer.beyond)},
        "held": list(answer.after.held),
    }


def _design(done: Done, point: Point) -> dict[str, Any]:
    architecture = done.architecture(point)
    spec = done.spec(point)
    outs: list[TensorSpec] = []
    for _, node in units(point.root):
        spec = flow(node, spec)
        outs.append(spec)
    return {
        "architecture": architecture.text,
        "key": architecture.key,
        "input": list(done.spec(point).shape),
        "depth": len(outs),
        "stages": list(_stages(outs)),
        **_costs(point),
    }


def _stages(outs: Sequence[TensorSpec]) -> Iterator[dict[str, int]]:
    """Blocks in a row that leave equally many features at equally many places."""
    for (places, width), row in groupby(
        (out.elements // out.channels, out.channels) for out in outs
    ):
        yield {"places": places, "width": width, "blocks": sum(1 for _ in row)}


def _costs(point: Point) -> dict[str, Any]:
    costs: dict[str, Any] = {"macs": point.macs, "params": point.params}
    if point.latency is not None:
        costs |= {
            "latency_ms": point.latency.value,
            "low_ms": point.latency.low,
            "high_ms": point.latency.high,
        }
    return costs


def scaling_table(record: Mapping[str, Any]) -> Table:
    """Sizes and costs before and after, and what the rule multiplied them by."""
    before, after, factors = record["before"], record["after"], record["factors"]
    title = escape(f"{record['network']} by {record['rule']}, scale {record['scale']:.4g}")
    columns = ("", "before", "after", "ratio", "by the rule")
    table = Table(
        *columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    rows = [
        ("depth (blocks)", before["depth"], after["depth"], factors["depth"]),
        ("resolution", before["input"][-1], after["input"][-1], factors["resolution"]),
        ("parameters", before["params"], after["params"], None),
        ("MACs", before["macs"], after["macs"], None),
    ]
    for name, old, new, factor in rows:
        form = format_count if factor is None else str
        said = f"{factor:.3f}" if factor is not None else ""
        table.add_row(name, form(old), form(new), f"{new / old:.3f}", said)
        if name == "depth (blocks)":
            table.add_row("  of the stages", _row(before, "blocks"), _row(after, "blocks"))
            table.add_row(
                "  their widths",
                _row(before, "width"),
                _row(after, "width"),
                "",
                f"{factors['width']:.3f}",
            )
    if record["target"] is not None:
        ratio = f"{after['latency_ms'] / before['latency_ms']:.3f}"
        name = f"ms on {escape(record['target'])}"
        table.add_row(name, _latency(before), _latency(after), ratio)
    return table


def scaling_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """What is worth knowing of the result beside its sizes."""
    beyond = record["beyond"]
    text = f"{format_count(beyond['macs'])} MACs, {format_count(beyond['params'])} parameters"
    if "high_ms" in beyond:
        text += f", up to {beyond['high_ms']:.3f} ms"
    yield f"the next larger step, at scale {beyond['scale']:.4g}, is too much: {text}"
    if record["held"]:
        yield f"held, as the space has no other values: {', '.join(record['held'])}"


def _row(design: Mapping[str, Any], name: str) -> str:
    """One figure of all stages."""
    return " ".join(str(stage[name]) for stage in design["stages"])


def _latency(design: Mapping[str, Any]) -> str:
    return f"{design['latency_ms']:.3f} ({design['low_ms']:.3f}–{design['high_ms']:.3f})"
