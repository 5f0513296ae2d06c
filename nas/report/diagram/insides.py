"""What is inside of primitives that are networks of their own, drawn in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from nas.report.diagram.nesting import groups_of
from searchspace.graph import Group
from searchspace.primitives.nasnet import BLOCKS
from searchspace.tree import Value


@dataclass(frozen=True, slots=True)
class _Part:
    """One node inside."""

    kind: str
    name: str
    inputs: tuple[int, ...] = ()
    """Places, in the list of parts, of those that it gets its input from."""


def _nasnet_cell(values: Mapping[str, Value]) -> Iterator[_Part]:
    """The last output, projected, and the one before; sums of two operations; what leaves."""
    yield _Part("split", "split")
    yield _Part("primitive", "project", (0,))
    yield _Part("primitive", "before", (0,))
    states, taken, made = [1, 2], [], 3
    for n in range(1, BLOCKS + 1):
        for side, operation in ("xa", "yb"):
            taken.append(int(values[f"{side}{n}"]))
            yield _Part("primitive", str(values[f"{operation}{n}"]), (states[taken[-1]],))
        yield _Part("join", "add", (made, made + 1))
        states.append(made + 2)
        made += 3
    first = int(values["first"])
    added = [states[n] for n in range(first) if n not in taken]
    if added:
        # What neither leaves nor is taken is added to the last state.
        yield _Part("join", "add", (states[-1], *added))
        states[-1] = made
        made += 1
    out = states[first:]
    if values["following"]:
        yield _Part("primitive", "pass on", (0,))
        out.append(made)
    yield _Part("join", "concat", tuple(out))


_INSIDES: Mapping[str, Callable[[Mapping[str, Value]], Iterator[_Part]]] = {
    "nasnet_cell": _nasnet_cell
}
_TOLD = {"nasnet_cell": ("left", "filters", "following", "stride", "drop")}
"""Arguments that the title of the group says; the others are what is drawn."""
_FREE = frozenset({"identity", "before"})


def opened(graph: nx.DiGraph) -> nx.DiGraph:
    """The graph with groups in the place of primitives whose inside is known."""
    groups = list(groups_of(graph))
    out = nx.DiGraph()
    ends: dict[int, tuple[int, int]] = {}
    for node, data in graph.nodes(data=True):
        first = len(out)
        if data["kind"] == "primitive" and data["name"] in _INSIDES:
            groups.append(_group(data))
            _open(out, data, len(groups) - 1)
        else:
            out.add_node(first, **data)
        ends[node] = first, len(out) - 1
    for a, b, data in graph.edges(data=True):
        out.add_edge(ends[a][1], ends[b][0], **data)
    out.graph["groups"] = tuple(groups)
    return out


def _group(data: Mapping[str, Any]) -> Group:
    return Group(
        kind="composite",
        before=data["before"],
        after=data["after"],
        parent=data["group"],
        count=data["count"],
        name=data["name"],
        values={name: data["values"][name] for name in _TOLD[data["name"]]},
    )


def _open(out: nx.DiGraph, data: Mapping[str, Any], group: int) -> None:
    """Add the inside of one primitive, whose parameters its last node has."""
    first, parts = len(out), list(_INSIDES[data["name"]](data["values"]))
    for number, part in enumerate(parts, first):
        last = part is parts[-1]
        free = part.name in _FREE or part.name.startswith(("average", "max"))
        out.add_node(
            number,
            kind=part.kind,
            name=part.name,
            values={},
            family="parameter_free" if free else "convolution",
            before=data["before"] if last else data["after"],
            after=data["after"],
            parameters=data["parameters"] if last else 0,
            count=1,
            group=group,
        )
        for source in part.inputs:
            out.add_edge(first + source, number, spec=data["after"], skip=False)
