"""The groups of a drawn graph as a tree of small graphs, and what each weighs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import networkx as nx

from searchspace.graph import Group

Key = tuple[Literal["node", "group"], int]
"""A node of the graph, or one of its groups."""


def groups_of(graph: nx.DiGraph) -> Sequence[Group]:
    """The graph's groups, by index."""
    groups: Sequence[Group] = graph.graph["groups"]
    return groups


def around(graph: nx.DiGraph, node: int) -> list[int]:
    """Indices of the groups around a node, from the outermost on."""
    groups, chain = groups_of(graph), []
    group: int | None = graph.nodes[node]["group"]
    while group is not None:
        chain.append(group)
        group = groups[group].parent
    return chain[::-1]


def nested(graph: nx.DiGraph) -> dict[int | None, nx.DiGraph]:
    """For each group, and for the whole as None: what it holds, and how data flow in it."""
    inner: dict[int | None, nx.DiGraph] = {None: nx.DiGraph()}
    places: dict[int, list[Key]] = {}
    for node in graph:
        places[node] = [*(("group", group) for group in around(graph, node)), ("node", node)]
        parent: int | None = None
        for key in places[node]:
            inner.setdefault(parent, nx.DiGraph()).add_node(key)
            parent = key[1]
    for a, b in graph.edges:
        parent = None
        for one, other in zip(places[a], places[b], strict=False):
            if one != other:
                inner[parent].add_edge(one, other)
                break
            parent = one[1]
    return inner


def parameters_of(graph: nx.DiGraph) -> dict[int | None, int]:
    """Parameters of one copy of each group, and of the whole as None."""
    groups = groups_of(graph)
    sums: dict[int | None, int] = {None: 0, **dict.fromkeys(range(len(groups)), 0)}
    for node, data in graph.nodes(data=True):
        count = data["parameters"] * data["count"]
        for group in reversed(around(graph, node)):
            sums[group] += count
            count *= groups[group].count
        sums[None] += count
    return sums
