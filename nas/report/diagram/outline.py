"""A drawn graph for the terminal: a tree of its parts, each with arguments, size and shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx
from rich.text import Text
from rich.tree import Tree

from nas.report.diagram.cells import Cells
from nas.report.diagram.labels import count_text, group_title, times, values_text
from nas.report.diagram.nesting import Key
from nas.report.diagram.palette import hue_of
from searchspace.graph import Group


def outline(graph: nx.DiGraph, title: str) -> Tree:
    """The parts of a graph that `searchspace.graph.graph` made, as rich draws a tree."""
    cells = Cells(graph)
    head = Text(title, style="bold")
    head.append(f"  {cells.parameters[None]:,} parameters", style="not bold")
    tree = Tree(head, guide_style="dim")
    tree.add(Text(f"input {graph.nodes[0]['after']}", style="dim"))
    _add(tree, cells, None)
    return tree


def _add(tree: Tree, cells: Cells, group: int | None) -> None:
    """Add what a group holds, in the order that data flow."""
    for key in _ordered(cells, group):
        if key[0] == "node":
            node = cells.graph.nodes[key[1]]
            if node["kind"] == "primitive":
                tree.add(_layer(node))
            elif node["kind"] == "pass":
                tree.add(Text("as it is", style="dim"))
            continue
        found = cells.groups[key[1]]
        only = cells.only_block(key[1])
        if found.kind == "body" and found.count == 1 and _is_plain(cells, key[1]):
            _add(tree, cells, key[1])
        elif only is not None:
            inner = cells.groups[only]
            said = f"{group_title(found)} · {group_title(inner)}"
            _add(tree.add(_title(said, cells.note(only), inner)), cells, only)
        else:
            said = group_title(found) or "path"
            _add(tree.add(_title(said, cells.note(key[1]), found)), cells, key[1])


def _ordered(cells: Cells, group: int | None) -> Iterator[Key]:
    yield from nx.topological_sort(cells.nested[group])


def _is_plain(cells: Cells, body: int) -> bool:
    """Whether a body is the only one of its composite, or holds one part."""
    parent = cells.groups[body].parent
    bodies = sum(other.kind == "body" and other.parent == parent for other in cells.groups)
    return bodies == 1 or len(cells.nested[body]) == 1


def _title(said: str, note: str, group: Group) -> Text:
    text = Text(said, style="bold" if group.kind in ("rule", "block") else "")
    text.append(f"  {note}" if note else "", style="not bold dim")
    if group.after != group.before and group.kind != "body":
        text.append(f"  → {group.after}", style="not bold dim")
    return text


def _layer(node: Mapping[str, Any]) -> Text:
    text = Text(times(node["name"], node["count"]))
    text.stylize(hue_of(node["name"], node["family"]).terminal)
    for part, style in (
        (values_text(node["values"]), ""),
        (count_text(node["parameters"]), "dim"),
        (f"→ {node['after']}" if node["after"] != node["before"] else "", "dim"),
    ):
        text.append(f"  {part}" if part else "", style=style)
    return text
