"""The ways of the edges of a picture: down, across in the gaps, and from column to column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx

from nas.report.diagram.cells import DOWN
from nas.report.diagram.columns import GUTTER, Picture, Rect
from nas.report.diagram.nesting import Key, around

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One edge as drawn."""

    edge: tuple[int, int]
    points: tuple[Point, ...]
    """Corners, from the box that it leaves to the one that it enters."""
    skip: bool
    """Whether it passes the body of a residual."""


def wires(graph: nx.DiGraph, picture: Picture) -> Iterator[Wire]:
    """The way of every edge."""
    for a, b, data in graph.edges(data=True):
        if data["skip"]:
            points = _beside(graph, picture, a, b)
        elif picture.units[a] == picture.units[b]:
            points = _inside(graph, picture, a, b)
        else:
            points = _between(picture, a, b)
        yield Wire(edge=(a, b), points=tuple(_simple(points)), skip=data["skip"])


def _foot(rect: Rect) -> Point:
    return rect.x + rect.width / 2, rect.y + rect.height


def _head(rect: Rect) -> Point:
    return rect.x + rect.width / 2, rect.y


def _cells_of(graph: nx.DiGraph, a: int, b: int) -> tuple[Key, Key]:
    """The outermost cells that hold one of two nodes and not the other."""
    one: list[Key] = [*(("group", g) for g in around(graph, a)), ("node", a)]
    other: list[Key] = [*(("group", g) for g in around(graph, b)), ("node", b)]
    return next((x, y) for x, y in zip(one, other, strict=False) if x != y)


def _inside(graph: nx.DiGraph, picture: Picture, a: int, b: int) -> list[Point]:
    """Straight down past cells, across in the gaps between them."""
    one, other = _cells_of(graph, a, b)
    end = _head(picture.boxes[b])
    points = [_foot(picture.boxes[a])]
    # Groups are numbered from the outermost inwards.
    common = max({*around(graph, a)} & {*around(graph, b)}, default=None)
    tangled = common in picture.tangled
    lanes = picture.lanes.get((one, other), [])
    for x, top, bottom in [*lanes, (end[0], picture.cells[other].y, end[1])]:
        before = points[-1][0]
        if tangled:
            points += [(before, top - 2 * DOWN), (x, top), (x, bottom)]
        else:
            points += [(before, top - DOWN / 2), (x, top - DOWN / 2), (x, bottom)]
    return points


def _beside(graph: nx.DiGraph, picture: Picture, a: int, b: int) -> list[Point]:
    """Out at the side, down the lane, and in at the side."""
    lane = picture.lanes[_cells_of(graph, a, b)][0][0]
    start, end = picture.boxes[a], picture.boxes[b]
    y, z = start.y + start.height / 2, end.y + end.height / 2
    return [(start.x + start.width, y), (lane, y), (lane, z), (end.x + end.width, z)]


def _between(picture: Picture, a: int, b: int) -> list[Point]:
    """From one unit down to the next, or round to the next column."""
    start, end = _foot(picture.boxes[a]), _head(picture.boxes[b])
    (column, _), (following, other) = picture.units[a], picture.units[b]
    if column == following:
        middle = other.y - DOWN / 2
        return [start, (start[0], middle), (end[0], middle), end]
    low, high = picture.columns[column].height + DOWN, -DOWN
    gutter = picture.columns[following].x - GUTTER / 2
    return [start, (start[0], low), (gutter, low), (gutter, high), (end[0], high), end]


def _simple(points: list[Point]) -> Iterator[Point]:
    """The points without those that lie on the way from one to the next."""
    kept: list[Point] = []
    for point in points:
        if kept and abs(kept[-1][0] - point[0]) < 0.01 and abs(kept[-1][1] - point[1]) < 0.01:
            continue
        while len(kept) > 1 and _straight(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    yield from kept


def _straight(a: Point, b: Point, c: Point) -> bool:
    return (abs(a[0] - b[0]) < 0.01 and abs(b[0] - c[0]) < 0.01) or (
        abs(a[1] - b[1]) < 0.01 and abs(b[1] - c[1]) < 0.01
    )
