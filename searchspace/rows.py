"""The parts of a network that data flow through one after another, and those that come again."""

from __future__ import annotations

from searchspace.tree import Node

Row = list[tuple[Node, str]]
"""Nodes that data flow through, each with its module path where it has one."""
_LONGEST = 12
"""Most parts that are looked for again as a whole."""


def repeated(row: Row, start: int) -> tuple[int, int]:
    """How many parts from `start` on come again and again, and how often; the most at once."""
    best = (1, 1)
    for length in range(1, min(_LONGEST, (len(row) - start) // 2) + 1):
        first = [node for node, _ in row[start : start + length]]
        count, at = 1, start + length
        while [node for node, _ in row[at : at + length]] == first:
            count, at = count + 1, at + length
        if count > 1 and length * count > best[0] * best[1]:
            best = length, count
    return best


def spliced(row: Row, inside: str) -> Row:
    """The row without the rules that only arrange: those without blocks, alone, or in themselves.

    Recursive rules so leave their layers in a row, instead of nesting as deep as they recur.
    """
    found: Row = []
    for node, path in row:
        if node.is_primitive or node.is_block:
            found.append((node, path))
        elif not _holds_block(node):
            found.extend(spliced(within(node, ""), node.symbol))
        elif len(row) == 1 or node.symbol == inside:
            found.extend(spliced(within(node, path), node.symbol))
        else:
            found.append((node, path))
    return found


def within(node: Node, path: str) -> Row:
    """The children of a rule; they have module paths where the rule has one."""
    return [(child, f"{path}.{i}" if path else "") for i, child in enumerate(node.flat())]


def _holds_block(node: Node) -> bool:
    return node.is_block or any(_holds_block(child) for child in node.flat())
