"""A whole picture: the chain of units in columns, read down and then to the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import networkx as nx

from nas.report.diagram.cells import DOWN, HEADER, PAD, TITLE_PX, Cell, Cells
from nas.report.diagram.labels import group_title, text_width
from nas.report.diagram.layered import Edge
from nas.report.diagram.nesting import Key

TALL = 1500.0
"""Height up to which one column does."""
_WIDE_TO_HIGH, _LOPSIDED = 1.5, 1.7
GUTTER = 44.0
"""Distance of columns: room for the edge from the end of one to the start of the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A place in a picture."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A group with a title. One that goes on in the next column has a frame in each."""

    group: int
    rect: Rect
    title: str
    note: str


@dataclass(slots=True, kw_only=True)
class Picture:
    """Where everything stands."""

    width: float = 0.0
    height: float = 0.0
    boxes: dict[int, Rect] = field(default_factory=dict)
    """Of each node."""
    frames: list[Frame] = field(default_factory=list)
    """Outer ones first."""
    cells: dict[Key, Rect] = field(default_factory=dict)
    """Of every node and group within a unit, with the room for its labels."""
    lanes: dict[Edge, list[tuple[float, float, float]]] = field(default_factory=dict)
    """Where edges between cells pass others: x, top and bottom."""
    units: dict[int, tuple[int, Rect]] = field(default_factory=dict)
    """For each node, the number of the column and the place of the unit that it is in."""
    columns: list[Rect] = field(default_factory=list)
    """Places of the columns."""
    tangled: set[int | None] = field(default_factory=set)
    """Groups in which edges are drawn as curves."""


@dataclass(slots=True)
class _Column:
    """One column while it is filled; heights alone are known."""

    items: list[tuple[str, Cell | int, float]] = field(default_factory=list)
    """`open`, `unit` or `close`, what it is about, and its top."""
    y: float = 0.0


def arranged(graph: nx.DiGraph) -> Picture:
    """Place all that a folded or unfolded graph holds."""
    cells = Cells(graph)
    chain = list(cells.units())
    picture = Picture()
    x = 0.0
    for column in _columns(chain):
        rect = _place(column, cells, x, len(picture.columns), picture)
        picture.columns.append(rect)
        x += rect.width + GUTTER
    picture.width = x - GUTTER
    picture.height = max(rect.height for rect in picture.columns)
    picture.frames.sort(key=lambda frame: -frame.rect.width * frame.rect.height)
    return picture


def _columns(chain: Sequence[tuple[str, Cell | int]]) -> list[_Column]:
    """As many columns as make the picture a little wider than high, evenly filled."""
    (one,) = _broken(chain, math.inf)
    widths = [cell.size.width for _, cell in chain if isinstance(cell, Cell)]
    wanted = 1
    if one.y > TALL:
        wanted = max(1, round(math.sqrt(_WIDE_TO_HIGH * one.y / (max(widths) + GUTTER))))
    height = one.y / wanted
    while len(found := _broken(chain, height)) > wanted:
        height *= 1.02
    return found


def _broken(chain: Sequence[tuple[str, Cell | int]], height: float) -> list[_Column]:
    """The chain in columns that are no higher than asked, where its units allow."""
    columns = [_Column()]
    opened: list[int] = []
    for index, (kind, what) in enumerate(chain):
        column = columns[-1]
        begins = kind == "open" or (kind == "unit" and chain[index - 1][0] != "open")
        if begins and column.items and column.y + _next(chain, index) > height:
            for group in reversed(opened):
                _append(column, "close", group)
            column = _Column()
            columns.append(column)
            for group in opened:
                _append(column, "open", group)
        _append(column, kind, what)
        if isinstance(what, int):
            if kind == "open":
                opened.append(what)
            else:
                opened.pop()
    return columns


def _next(chain: Sequence[tuple[str, Cell | int]], index: int) -> float:
    """Height up to the end of the next unit."""
    height = 0.0
    for _, what in chain[index:]:
        if isinstance(what, Cell):
            return height + what.size.height
        height += HEADER + DOWN
    return height


def _append(column: _Column, kind: str, what: Cell | int) -> None:
    if kind == "close":
        column.y += PAD - DOWN
    column.items.append((kind, what, column.y))
    if isinstance(what, Cell):
        column.y += what.size.height + DOWN
    else:
        column.y += HEADER + DOWN if kind == "open" else DOWN


def _place(column: _Column, cells: Cells, x: float, number: int, picture: Picture) -> Rect:
    """Set the places of a column whose left side stands at `x`."""
    units = [what for _, what, _ in column.items if isinstance(what, Cell)]
    left, right = _sides(units)
    depth = most = 0
    for kind, group, _ in column.items:
        depth += {"open": 1, "close": -1}.get(kind, 0)
        most = max(most, depth)
        if isinstance(group, int):
            title = f"{group_title(cells.groups[group])} (continued)   {cells.note(group)}"
            right = max(right, text_width(title, TITLE_PX, bold=True) + 2 * PAD - left)
    axis = x + left + most * PAD
    opened: list[tuple[int, float]] = []
    for kind, what, y in column.items:
        if isinstance(what, Cell):
            rect = Rect(x=axis - left, y=y, width=left + right, height=what.size.height)
            first = len(picture.frames)
            _emit(what, axis - what.size.entry, y, picture)
            if what.title:
                picture.frames[first] = replace(picture.frames[first], rect=rect)
            _note_unit(what, rect, number, picture)
        elif kind == "open":
            opened.append((what, y))
        else:
            group, top = opened.pop()
            more = (most - len(opened)) * PAD
            again = any(frame.group == group for frame in picture.frames)
            title = group_title(cells.groups[group]) + (" (continued)" if again else "")
            wide = left + right + 2 * more
            rect = Rect(x=axis - left - more, y=top, width=wide, height=y - top)
            picture.frames.append(
                Frame(group=group, rect=rect, title=title, note=cells.note(group))
            )
    return Rect(x=x, y=0.0, width=left + right + 2 * most * PAD, height=column.y - DOWN)


def _sides(units: Sequence[Cell]) -> tuple[float, float]:
    """Room to the left and right of a column's axis: alike, unless that would waste much."""
    left = max(cell.size.entry for cell in units)
    right = max(cell.size.width - cell.size.entry for cell in units)
    most = max(left, right)
    return (most, most) if most < _LOPSIDED * min(left, right) else (left, right)


def _emit(cell: Cell, x: float, y: float, picture: Picture) -> None:
    """Set the places of a cell and all in it."""
    picture.cells[cell.key] = rect = Rect(x=x, y=y, width=cell.size.width, height=cell.size.height)
    if cell.key[0] == "node":
        wide, high = cell.box
        picture.boxes[cell.key[1]] = Rect(
            x=x + cell.size.entry - wide / 2, y=y, width=wide, height=high
        )
        return
    if cell.title:
        picture.frames.append(Frame(group=cell.key[1], rect=rect, title=cell.title, note=cell.note))
    if cell.tangled:
        picture.tangled.add(cell.key[1])
    for inner, dx, dy in cell.inner:
        _emit(inner, x + dx, y + dy, picture)
    for edge, row in cell.lanes.items():
        picture.lanes[edge] = [(x + dx, y + top, y + end) for dx, top, end in row]


def _note_unit(cell: Cell, rect: Rect, number: int, picture: Picture) -> None:
    if cell.key[0] == "node":
        picture.units[cell.key[1]] = (number, rect)
    for inner, _, _ in cell.inner:
        _note_unit(inner, rect, number, picture)
