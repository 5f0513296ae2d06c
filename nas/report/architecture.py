"""An architecture for people: a line for each kind of block of each part."""

from __future__ import annotations

from collections import Counter

from rich.table import Table

from searchspace.build import part_names
from searchspace.text import from_text
from searchspace.tree import FLOAT, Node, units


def architecture_table(text: str) -> Table:
    """The parts of an architecture given as text, in the order that data flow."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    root = from_text(text)
    for name, part in zip(_part_names(root), root.flat(), strict=True):
        for index, (description, count) in enumerate(_kinds(part)):
            table.add_row(name if index == 0 else "", f"{count} ×", description)
    return table


def scheme_line(text: str) -> str:
    """How the precision schemes fall over the parts; empty where all blocks are in float."""
    root = from_text(text)
    parts = [Counter(node.scheme for _, node in units(part)) for part in root.flat()]
    if not any(scheme not in ("", FLOAT) for counts in parts for scheme in counts):
        return ""
    said = [
        f"{name} " + " + ".join(f"{n} {scheme or FLOAT}" for scheme, n in sorted(counts.items()))
        for name, counts in zip(_part_names(root), parts, strict=True)
    ]
    return f"precision by blocks: {', '.join(said)}"


def _part_names(root: Node) -> list[str]:
    """The names that the parts have in the built and the exported network."""
    return part_names([child.symbol for child in root.flat()])


def describe(node: Node) -> str:
    """A block in one line: its primitives in the order that data flow, nesting in parentheses."""
    if not node.is_primitive:
        inner = " ".join(describe(child) for child in node.flat())
        marked = node.is_block and node.scheme != FLOAT
        return f"{inner} @{node.scheme}" if marked else inner
    values = [str(value) for value in node.values]
    groups = [" ".join(map(describe, group)) for group in node.children]
    arguments = ", ".join((*values, *groups))
    return f"{node.symbol}({arguments})" if arguments else node.symbol


def _kinds(part: Node) -> list[tuple[str, int]]:
    """Distinct blocks of a part with their numbers, most frequent first."""
    counts = Counter(describe(node) for _, node in units(part))
    return sorted(counts.items(), key=lambda item: -item[1])
