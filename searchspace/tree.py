"""Derivation trees: what a grammar generates, immutable, with an identity of their own.

A node is either an expansion of a rule or a primitive. Rules hold one group of children per item of
the alternative that was taken, so the length of a group is the count that was drawn for `^`.
Primitives hold one group per sequence argument. Nothing else is stored: what a value was drawn from
follows from the grammar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Value = int | str
"""A parameter's value: an integer, or a word such as `gelu`."""

Path = tuple[tuple[int, int], ...]
"""Way from the root to a node: (group, index in the group) at every step."""

PRIMITIVE = -1
"""`Node.alternative` of a primitive."""

FLOAT = "float"
"""`Node.scheme` of a block that runs in the precision of the whole network."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One expansion of a rule, or one primitive."""

    symbol: str
    """Name of the rule or primitive."""
    alternative: int
    """Index of the alternative that was taken, from 0; `PRIMITIVE` for a primitive."""
    values: tuple[Value, ...] = ()
    """Rule: its arguments, then what `with` drew. Primitive: its scalar arguments."""
    children: tuple[tuple[Node, ...], ...] = ()
    """Rule: a group for each item. Primitive: a group for each sequence argument."""
    scheme: str = ""
    """Precision scheme of a block (`float`: that of the whole network); empty if not a block."""
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        identity = (self.symbol, self.alternative, self.values, self.children, self.scheme)
        object.__setattr__(self, "_hash", hash(identity))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Node) or self._hash != other._hash:
            return False
        return (
            self.symbol == other.symbol
            and self.alternative == other.alternative
            and self.values == other.values
            and self.scheme == other.scheme
            and self.children == other.children
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Hashes of strings differ between processes: the hash is made anew where it is unpickled.
        return Node, (self.symbol, self.alternative, self.values, self.children, self.scheme)

    @property
    def is_primitive(self) -> bool:
        """Whether the node is a primitive rather than an expansion of a rule."""
        return self.alternative == PRIMITIVE

    @property
    def is_block(self) -> bool:
        """Whether the node is a block: the unit of caching, pricing, precision and sharing."""
        return self.scheme != ""

    def flat(self) -> tuple[Node, ...]:
        """All children in order, groups joined."""
        return tuple(child for group in self.children for child in group)


def primitive(symbol: str, *values: Value, children: tuple[tuple[Node, ...], ...] = ()) -> Node:
    """A primitive's node."""
    return Node(symbol, PRIMITIVE, values, children)


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every node below and including `node` with its path, parents first, left to right."""
    yield path, node
    for g, group in enumerate(node.children):
        for i, child in enumerate(group):
            yield from walk(child, (*path, (g, i)))


def at(node: Node, path: Path) -> Node:
    """The node at `path`.

    Raises:
        IndexError: `path` leads out of the tree.
    """
    for group, index in path:
        node = node.children[group][index]
    return node


def units(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """The chain of blocks and loose primitives that data flow through, first to last.

    Rules that are no blocks only arrange; a block, or a primitive outside any block, is one unit.
    """
    if node.is_block or node.is_primitive:
        yield path, node
        return
    for g, group in enumerate(node.children):
        for i, child in enumerate(group):
            yield from units(child, (*path, (g, i)))
