"""Boxes in layers, top to bottom, so that edges lead downwards and cross seldom.

After Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical system structures"
(1981): longest-path layers, lanes where an edge passes a layer, orders by barycentre, and positions
by least squares under the order. All lengths are in pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from statistics import median

import networkx as nx

_SWEEPS, _SHIFTS = 8, 24
"""How often orders and positions are mended."""
_LIGHT = 1e-6
"""Weight of a lane beside a box of 1."""
LANE = 12.0
"""Width of a lane: room for one edge beside boxes."""

Item = Hashable
Edge = tuple[Item, Item]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A box to be placed."""

    width: float
    height: float
    entry: float
    """Where edges come in at the top, from the left side."""
    leave: float
    """Where edges go out at the bottom, from the left side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Boxes with their places; the left- and topmost stand at 0."""

    places: Mapping[Item, tuple[float, float]]
    """Left and top of each box."""
    lanes: Mapping[Edge, Sequence[tuple[float, float, float]]]
    """For each edge that passes layers: x, top and bottom of its lane in each of them."""
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Lane:
    """Stands for an edge in a layer that it passes."""

    edge: Edge
    layer: int


def layered(graph: nx.DiGraph, sizes: Mapping[Item, Size], across: float, down: float) -> Placed:
    """Place the nodes of an acyclic graph.

    Args:
        graph: what leads to what; nodes come in the order of its insertion where nothing decides.
        sizes: of every node.
        across: least distance of two boxes beside one another.
        down: distance of two layers.
    """
    if not graph:
        return Placed(places={}, lanes={}, width=0, height=0)
    layers, linked = _with_lanes(graph)
    layers = _ordered(layers, linked)
    left = _lefts(layers, linked, sizes, across)
    first = min(left.values())
    places: dict[Item, tuple[float, float]] = {}
    lanes: dict[Edge, list[tuple[float, float, float]]] = {}
    top = 0.0
    for layer in layers:
        height = max((sizes[item].height for item in layer if item in sizes), default=0.0)
        for item in layer:
            if isinstance(item, _Lane):
                x = left[item] - first + LANE / 2
                lanes.setdefault(item.edge, []).append((x, top, top + height))
            else:
                places[item] = (left[item] - first, top)
        top += height + down
    wide = max(left[item] - first + _size(item, sizes).width for layer in layers for item in layer)
    return Placed(places=places, lanes=lanes, width=wide, height=top - down)


def _size(item: Item, sizes: Mapping[Item, Size]) -> Size:
    if isinstance(item, _Lane):
        return Size(width=LANE, height=0, entry=LANE / 2, leave=LANE / 2)
    return sizes[item]


def _with_lanes(graph: nx.DiGraph) -> tuple[list[list[Item]], nx.DiGraph]:
    """Layers by the longest path from a source, and the graph with a lane in each layer passed."""
    layers = [list(layer) for layer in nx.topological_generations(graph)]
    depth = {item: index for index, layer in enumerate(layers) for item in layer}
    linked = nx.DiGraph()
    linked.add_nodes_from(graph)
    for a, b in graph.edges:
        passed: list[Item] = [_Lane((a, b), i) for i in range(depth[a] + 1, depth[b])]
        for lane, index in zip(passed, range(depth[a] + 1, depth[b]), strict=True):
            layers[index].append(lane)
        nx.add_path(linked, [a, *passed, b])
    return layers, linked


def _ordered(layers: list[list[Item]], linked: nx.DiGraph) -> list[list[Item]]:
    """The orders with the fewest crossings that sweeps down and up come by."""
    best, least = layers, _crossings(layers, linked)
    now = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        if not least:
            break
        downwards = sweep % 2 == 0
        near = linked.pred if downwards else linked.succ
        steps = list(pairwise(range(len(now)) if downwards else range(len(now) - 1, -1, -1)))
        for fixed, moved in steps:
            at = {item: index for index, item in enumerate(now[fixed])}
            means = {m: _mean([at[n] for n in near[m] if n in at]) for m in now[moved]}
            now[moved].sort(key=means.__getitem__)
        crossings = _crossings(now, linked)
        if crossings < least:
            best, least = [list(layer) for layer in now], crossings
    return best


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _crossings(layers: Sequence[Sequence[Item]], linked: nx.DiGraph) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        at = {item: index for index, item in enumerate(lower)}
        ends = [(i, at[b]) for i, a in enumerate(upper) for b in linked.succ[a] if b in at]
        total += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(ends, 2))
    return total


def _lefts(
    layers: Sequence[Sequence[Item]],
    linked: nx.DiGraph,
    sizes: Mapping[Item, Size],
    across: float,
) -> dict[Item, float]:
    """Left side of every box and lane: edges as upright as the orders allow."""
    left: dict[Item, float] = {}
    for layer in layers:
        # Chains so stand upright from the start, whatever the widths.
        _place(layer, {item: -_size(item, sizes).entry for item in layer}, left, sizes, across)

    def align(layer: Sequence[Item], downwards: bool) -> None:
        wanted = {item: _wanted(item, downwards, left, linked, sizes) for item in layer}
        _place(layer, wanted, left, sizes, across)

    for sweep in range(_SHIFTS):
        for layer in layers[1:] if sweep % 2 else layers[-2::-1]:
            align(layer, downwards=sweep % 2 == 1)
    # What is narrow stands exactly where the widest layer wants it.
    widest = max(range(len(layers)), key=lambda i: (len(layers[i]), -i))
    for layer in reversed(layers[:widest]):
        align(layer, downwards=False)
    for layer in layers[widest + 1 :]:
        align(layer, downwards=True)
    return left


def _wanted(
    item: Item,
    downwards: bool,
    left: Mapping[Item, float],
    linked: nx.DiGraph,
    sizes: Mapping[Item, Size],
) -> float:
    """Where most edges from above, or to below, would be upright; boxes heed lanes last."""
    own = _size(item, sizes)
    found: dict[bool, list[float]] = {True: [], False: []}
    for other in linked.pred[item] if downwards else linked.succ[item]:
        its = _size(other, sizes)
        x = left[other] + (its.leave - own.entry if downwards else its.entry - own.leave)
        found[isinstance(other, _Lane)].append(x)
    return float(median(found[False] or found[True] or [left[item]]))


def _place(
    layer: Sequence[Item],
    wanted: Mapping[Item, float],
    left: dict[Item, float],
    sizes: Mapping[Item, Size],
    across: float,
) -> None:
    """Set the places of a layer: all as near as can be to what they want, boxes before lanes."""
    # Shifted by what stands to the left of each, "no overlap" is "not falling".
    before = list(accumulate((_size(i, sizes).width + across for i in layer[:-1]), initial=0.0))
    weights = [_LIGHT if isinstance(item, _Lane) else 1.0 for item in layer]
    shifted = _rising([wanted[i] - x for i, x in zip(layer, before, strict=True)], weights)
    left.update({i: x + y for i, x, y in zip(layer, shifted, before, strict=True)})


def _rising(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The sequence that never falls, nearest by weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, sum_, count = value, weight, 1
        while pools and pools[-1][0] > mean:
            other, its, n = pools.pop()
            mean = (mean * sum_ + other * its) / (sum_ + its)
            sum_, count = sum_ + its, count + n
        pools.append((mean, sum_, count))
    return [mean for mean, _, count in pools for _ in range(count)]
