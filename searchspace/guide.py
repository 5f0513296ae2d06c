"""Guides: trees whose choices come first in a derivation, and what shall differ from them."""

from __future__ import annotations

from dataclasses import dataclass

from searchspace.grammar import Drawn, Item, evaluate
from searchspace.scope import Scope
from searchspace.tree import Node, Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that shall differ from the guide."""

    kind: str
    """As in `Question`; `graft`: the node in `graft` guides from here on; `values`: the guide's
    variables may disagree with what lies below it."""
    path: Path
    """Way to the node."""
    index: int = 0
    """Which variable, item or argument."""
    copies: tuple[Node | None, ...] = ()
    """For `count`: what guides each copy of the item; None: drawn anew."""
    together: bool = False
    """Whether all copies in a row under `^` that equal the changed one change with it."""
    graft: Node | None = None
    """For `graft`: a node of the same rule; its own variables are kept where they fit."""

    def is_about(self, kind: str, index: int) -> bool:
        """Whether it is this variable, item or argument that changes."""
        return (self.kind, self.index) == (kind, index)


def behind(trail: Path | None) -> Path | None:
    """The way to what changes, from the next node on it."""
    return trail[1:] if trail else None


def through(trail: Path | None, group: int) -> Path | None:
    """The way to what changes, if it leads through a group of a node."""
    return trail if trail and trail[0][0] == group else None


def agrees(item: Item, scope: Scope, node: Node) -> bool:
    """Whether the values of a node are those that its item gives, as far as they are not drawn."""
    for scalar, value in zip(item.scalars, node.values, strict=False):
        if not isinstance(scalar, Drawn) and evaluate(scalar, scope) != value:
            return False
    return all(
        agrees(inner, scope, child)
        for group, nodes in zip(item.groups, node.children, strict=False)
        for inner, child in zip(group, nodes, strict=True)
    )
