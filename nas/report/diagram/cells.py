"""Boxes for what a graph holds, nested as its groups are, each placed inside the one around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from nas.report.diagram.labels import (
    changes_shape,
    count_text,
    group_title,
    node_title,
    text_width,
    value_lines,
)
from nas.report.diagram.layered import Edge, Size, layered
from nas.report.diagram.nesting import Key, groups_of, nested, parameters_of

NAME_PX, VALUE_PX, TITLE_PX = 12.0, 10.5, 11.5
"""Font sizes: a layer's name, its arguments and shapes, the title of a frame."""
ACROSS, DOWN = 16.0, 14.0
"""Distances of boxes: beside one another, and below one another."""
LINE = 14.0
"""Height of a line of arguments."""
HEADER, PAD = 21.0, 10.0
"""Height of a frame's title, and room inside a frame."""
_DOT, _RING, _LABEL = 6.0, 20.0, 15.0
_TOLD = frozenset({"split", "join", "copies"})
"""Arguments of composites that the drawn split and join tell; those of others need a title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A node's box with the shape that leaves it, or a group with all that it holds."""

    key: Key
    size: Size
    inner: Sequence[tuple[Cell, float, float]] = ()
    """What a group holds, with left and top inside it."""
    lanes: Mapping[Edge, Sequence[tuple[float, float, float]]]
    """Where edges pass what a group holds: x, top and bottom inside it."""
    title: str = ""
    """Of a frame; empty where no frame is drawn."""
    note: str = ""
    """What stands at the right end of a title: parameters."""
    tangled: bool = False
    """Whether the edges between what a group holds are drawn as curves."""
    box: tuple[float, float] = (0.0, 0.0)
    """Width and height of a node's box, without the room for labels."""


class Cells:
    """Makes cells for the groups and nodes of a graph."""

    def __init__(self, graph: nx.DiGraph) -> None:
        self.graph, self.groups = graph, groups_of(graph)
        self.nested, self.parameters = nested(graph), parameters_of(graph)

    def framed(self, group: int) -> bool:
        """Whether a group is drawn as a frame."""
        found = self.groups[group]
        plain = found.kind == "body" or (found.kind == "composite" and {*found.values} <= _TOLD)
        return found.count > 1 or not plain

    def only_block(self, group: int) -> int | None:
        """The one framed group that a rule holds and nothing else, drawn together with it."""
        keys: list[Key] = list(self.nested[group])
        alone = self.groups[group].kind == "rule" and self.groups[group].count == 1
        if alone and len(keys) == 1 and keys[0][0] == "group" and self.framed(keys[0][1]):
            return keys[0][1]
        return None

    def tangled(self, group: int) -> bool:
        """Whether edges cross the gaps that others cross too, so that all are drawn as curves."""
        joins = [i for kind, i in self.nested[group] if kind == "node"]
        return sum(self.graph.nodes[i]["kind"] in ("join", "pass") for i in joins) > 1

    def note(self, group: int) -> str:
        """Parameters of a group."""
        count = count_text(self.parameters[group])
        return f"{count} each" if count and self.groups[group].count > 1 else count

    def units(self, group: int | None = None) -> Iterator[tuple[str, Cell | int]]:
        """The chain that data flow through: rules opened and closed around units.

        Yields `("open", group)`, `("unit", cell)` and `("close", group)`.
        """
        inside = self.nested[group]
        width = self._common_width(inside)
        for kind, index in nx.topological_sort(inside):
            chain = kind == "group" and self.groups[index].kind == "rule"
            if chain and self.groups[index].count == 1 and self.only_block(index) is None:
                yield "open", index
                yield from self.units(index)
                yield "close", index
            else:
                yield "unit", self.cell((kind, index), width)

    def _common_width(self, inside: nx.DiGraph) -> float:
        """Width of the layers that stand in one group."""
        nodes = [self.graph.nodes[i] for kind, i in inside if kind == "node"]
        return max((box_size(n)[0] for n in nodes if n["kind"] == "primitive"), default=0.0)

    def cell(self, key: Key, width: float = 0.0, before: str = "") -> Cell:
        """The cell of a node or group.

        Args:
            key: which one.
            width: least width of a layer's box.
            before: what the title of a group begins with.
        """
        if key[0] == "node":
            return self._node(key, self.graph.nodes[key[1]], width)
        only = self.only_block(key[1])
        if only is not None:
            return self.cell(
                ("group", only), before=f"{before}{group_title(self.groups[key[1]])} · "
            )
        return self._group(key, before)

    def _node(self, key: Key, node: Mapping[str, Any], width: float) -> Cell:
        wide, height = box_size(node)
        if node["kind"] == "primitive":
            wide = max(wide, width)
        label = text_width(str(node["after"]), VALUE_PX) + 14 if changes_shape(node) else 0.0
        axis = max(wide / 2, 0.0)
        size = Size(
            width=axis + max(wide / 2, label),
            height=height + (_LABEL if label else 0.0),
            entry=axis,
            leave=axis,
        )
        return Cell(key=key, size=size, lanes={}, box=(wide, height))

    def _group(self, key: Key, before: str) -> Cell:
        group, inside = key[1], self.nested[key[1]]
        width = self._common_width(inside)
        cells = {k: self.cell(k, width) for k in inside}
        sizes = {k: cell.size for k, cell in cells.items()}
        tangled = self.tangled(group)
        placed = layered(inside, sizes, ACROSS, 2 * DOWN if tangled else DOWN)
        order = list(nx.topological_sort(inside))
        first, last = order[0], order[-1]
        title = before + group_title(self.groups[group]) if self.framed(group) else ""
        note = self.note(group) if title else ""
        top = HEADER + DOWN if title else 0.0
        wanted = text_width(f"{title}   {note}", TITLE_PX, bold=True) + 2 * PAD if title else 0.0
        side = max(PAD if title else 0.0, (wanted - placed.width) / 2)
        size = Size(
            width=placed.width + 2 * side,
            height=placed.height + top + (PAD if title else 0.0),
            entry=side + placed.places[first][0] + cells[first].size.entry,
            leave=side + placed.places[last][0] + cells[last].size.leave,
        )
        inner = [(cells[k], x + side, y + top) for k, (x, y) in placed.places.items()]
        lanes = {
            edge: [(x + side, y0 + top, y1 + top) for x, y0, y1 in row]
            for edge, row in placed.lanes.items()
        }
        return Cell(
            key=key,
            size=size,
            inner=inner,
            lanes=lanes,
            title=title,
            note=note,
            tangled=tangled,
        )


def is_dot(node: Mapping[str, Any]) -> bool:
    """Whether a node is only where edges part or end."""
    return node["kind"] == "pass" or (node["kind"] == "split" and not node["name"])


def box_size(node: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height of a node's box."""
    kind, title = node["kind"], node_title(node)
    if is_dot(node):
        return _DOT, _DOT
    if kind in ("split", "join"):
        wide = text_width(title, NAME_PX, bold=True) + 16 if len(title) > 1 else _RING
        return max(wide, _RING), _RING
    if kind != "primitive":
        return text_width(title, NAME_PX, bold=True) + 28, 24.0
    lines, count = value_lines(node["values"]), count_text(node["parameters"])
    name = text_width(title, NAME_PX, bold=True)
    first = name + (12 + text_width(count, VALUE_PX) if count else 0.0)
    widest = max([first, *(text_width(line, VALUE_PX) for line in lines)])
    return widest + 22, 24.0 + LINE * len(lines)
