"""A picture as SVG: text, boxes, frames and wires, in light and dark surroundings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

from nas.report.diagram.cells import HEADER, LINE, NAME_PX, PAD, TITLE_PX, VALUE_PX, is_dot
from nas.report.diagram.columns import Frame, Picture, Rect, arranged
from nas.report.diagram.insides import opened
from nas.report.diagram.labels import (
    changes_shape,
    count_text,
    node_title,
    text_width,
    value_lines,
)
from nas.report.diagram.nesting import groups_of, parameters_of
from nas.report.diagram.palette import HUES, Hue, hue_of
from nas.report.diagram.style import style_sheet
from nas.report.diagram.wires import Point, Wire, wires

_MARGIN, _TITLE, _LEGEND, _ROUND = 24.0, 46.0, 22.0, 5.0
_OVER = 16.0
"""Room above and below the columns, for the edges from one to the next."""
_FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def svg(graph: nx.DiGraph, title: str) -> str:
    """The picture of a graph that `searchspace.graph.graph` made.

    Args:
        graph: what is drawn; folded or not.
        title: above the picture.

    Returns:
        The text of an SVG file; the same for the same graph.
    """
    graph = opened(graph)
    picture = arranged(graph)
    first, last = graph.nodes[0]["before"], graph.nodes[len(graph) - 1]["after"]
    said = f"{parameters_of(graph)[None]:,} parameters · {first} → {last}"
    hues = _used(graph)
    wanted = max(
        text_width(title, 19, bold=True), text_width(said, NAME_PX), _legend_width(hues, 2)
    )
    width = max(picture.width, wanted) + 2 * _MARGIN
    rows = list(_legend_rows(hues, width - 2 * _MARGIN))
    top, bottom = _TITLE + _MARGIN + _OVER, _LEGEND * len(rows) + _MARGIN
    height = top + picture.height + _OVER + _MARGIN + bottom
    body = [
        *_heading(title, said),
        f'<g transform="translate({_n((width - picture.width) / 2)},{_n(top)})">',
        *_drawn(graph, picture),
        "</g>",
        *_legend(rows, height - bottom),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" role="img" font-family="{_FONT}">'
    )
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", style_sheet(hues), *_paper(), *body, "</svg>", ""]
    )


def _n(value: float) -> str:
    """A length without needless digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def _paper() -> Iterator[str]:
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path class="tip" d="M0,0.5 L8,4 L0,7.5 z"/></marker>'
        '<marker id="skiptip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" '
        'markerHeight="5" orient="auto"><path class="skiptip" d="M0,0.5 L8,4 L0,7.5 z"/></marker>'
        "</defs>"
    )
    yield '<rect class="paper" width="100%" height="100%"/>'


def _text(x: float, y: float, words: str, size: float, style: str = "", anchor: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor else ""
    kind = f' class="{style}"' if style else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"{kind}{where}>{escape(words)}</text>'
    )


def _heading(title: str, said: str) -> Iterator[str]:
    yield _text(_MARGIN, _MARGIN + 18, title, 19, "title")
    yield _text(_MARGIN, _MARGIN + 40, said, NAME_PX, "pale")


def _drawn(graph: nx.DiGraph, picture: Picture) -> Iterator[str]:
    """Frames, wires, titles above the wires that pass below them, boxes, shapes."""
    groups = groups_of(graph)
    for frame in picture.frames:
        yield _rect(frame.rect, "frame", 7)
    for wire in wires(graph, picture):
        yield _path(wire, is_dot(graph.nodes[wire.edge[1]]))
    for frame in picture.frames:
        path = groups[frame.group].path
        yield from _header(frame, path)
    for number, rect in picture.boxes.items():
        yield from _box(graph.nodes[number], rect)


def _rect(rect: Rect, style: str, radius: float) -> str:
    return (
        f'<rect class="{style}" x="{_n(rect.x)}" y="{_n(rect.y)}" width="{_n(rect.width)}" '
        f'height="{_n(rect.height)}" rx="{_n(radius)}"/>'
    )


def _header(frame: Frame, path: str) -> Iterator[str]:
    """The title of a frame, on a ground of its own."""
    rect = frame.rect
    yield f"<g><title>{escape(path)}</title>" if path else "<g>"
    yield _rect(Rect(x=rect.x, y=rect.y, width=rect.width, height=HEADER), "header", 7)
    base = rect.y + HEADER / 2 + TITLE_PX * 0.36
    yield _text(rect.x + PAD, base, frame.title, TITLE_PX, "title")
    if frame.note:
        yield _text(rect.x + rect.width - PAD, base, frame.note, VALUE_PX, "pale", "end")
    yield "</g>"


def _box(node: Mapping[str, Any], rect: Rect) -> Iterator[str]:
    kind, x, y = node["kind"], rect.x, rect.y
    axis = x + rect.width / 2
    if is_dot(node):
        yield f'<circle class="dot" cx="{_n(axis)}" cy="{_n(y + rect.height / 2)}" r="3"/>'
    elif kind == "primitive":
        yield from _primitive(node, rect)
    else:
        yield _rect(rect, "plain", rect.height / 2)
        middle = y + rect.height / 2 + NAME_PX * 0.36
        yield _text(axis, middle, node_title(node), NAME_PX, "name", "middle")
    if changes_shape(node):
        yield _text(axis + 6, y + rect.height + 12, str(node["after"]), VALUE_PX, "pale")


def _primitive(node: Mapping[str, Any], rect: Rect) -> Iterator[str]:
    """A layer: name and parameters, and below them its arguments."""
    hue = HUES.index(hue_of(node["name"], node["family"]))
    yield _rect(rect, f"h{hue}", _ROUND)
    stripe = Rect(x=rect.x, y=rect.y, width=5, height=rect.height)
    yield _rect(stripe, f"s{hue}", 2)
    lines, count = value_lines(node["values"]), count_text(node["parameters"])
    base = rect.y + (15.5 if lines else rect.height / 2 + NAME_PX * 0.36)
    yield _text(rect.x + 12, base, node_title(node), NAME_PX, "name")
    if count:
        yield _text(rect.x + rect.width - 8, base, count, VALUE_PX, "pale", "end")
    for index, line in enumerate(lines):
        yield _text(rect.x + 12, base + 1 + LINE * (index + 1), line, VALUE_PX)


def _path(wire: Wire, to_dot: bool) -> str:
    """Corners rounded, an arrow at the end unless it is a dot."""
    points = wire.points
    parts = [f"M{_n(points[0][0])},{_n(points[0][1])}"]
    for index, (a, b) in enumerate(pairwise(points), 2):
        after = points[index] if index < len(points) else b
        if _slants(a, b):
            # Swings across, upright at both ends.
            middle = _n((a[1] + b[1]) / 2)
            parts.append(f"C{_n(a[0])},{middle} {_n(b[0])},{middle} {_n(b[0])},{_n(b[1])}")
        elif after == b or _slants(b, after):
            parts.append(f"L{_n(b[0])},{_n(b[1])}")
        else:
            (x, y), (x1, y1) = _towards(b, a), _towards(b, after)
            parts.append(f"L{_n(x)},{_n(y)}Q{_n(b[0])},{_n(b[1])} {_n(x1)},{_n(y1)}")
    style, tip = ("skip", "skiptip") if wire.skip else ("wire", "tip")
    end = "" if to_dot else f' marker-end="url(#{tip})"'
    return f'<path class="{style}"{end} d="{"".join(parts)}"/>'


def _slants(a: Point, b: Point) -> bool:
    return abs(a[0] - b[0]) > 0.01 and abs(a[1] - b[1]) > 0.01


def _towards(corner: Point, other: Point) -> Point:
    """Where the rounding of a corner begins on the way to another point."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    part = min(_ROUND, length / 2) / length
    return corner[0] + dx * part, corner[1] + dy * part


def _used(graph: nx.DiGraph) -> list[Hue]:
    """Hues that occur, in the order of the legend."""
    nodes = [data for _, data in graph.nodes(data=True) if data["kind"] == "primitive"]
    found = {hue_of(node["name"], node["family"]) for node in nodes}
    return [hue for hue in HUES if hue in found]


def _entry_width(hue: Hue) -> float:
    return 18 + text_width(hue.name, VALUE_PX) + 18


def _legend_width(hues: Sequence[Hue], most: int) -> float:
    return sum(sorted(map(_entry_width, hues))[-most:])


def _legend_rows(hues: Sequence[Hue], width: float) -> Iterator[list[tuple[float, Hue]]]:
    row: list[tuple[float, Hue]] = []
    x = 0.0
    for hue in hues:
        if row and x + _entry_width(hue) > width:
            yield row
            row, x = [], 0.0
        row.append((x, hue))
        x += _entry_width(hue)
    if row:
        yield row


def _legend(rows: Sequence[Sequence[tuple[float, Hue]]], top: float) -> Iterator[str]:
    for index, row in enumerate(rows):
        y = top + _LEGEND * index
        for x, hue in row:
            square = Rect(x=_MARGIN + x, y=y, width=12, height=12)
            yield _rect(square, f"h{HUES.index(hue)}", 3)
            yield _text(_MARGIN + x + 18, y + 10, hue.name, VALUE_PX)
