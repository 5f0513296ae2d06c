"""Chains of stages: alternatives of a grammar's start as programmes, and their designs as trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nas.solver.combinations import Place, Way
from nas.solver.mix import Mixture
from nas.solver.policy import Answering
from nas.solver.programme import Design, Programme, Step
from searchspace.architecture import Architecture
from searchspace.check import TreeError, check
from searchspace.derivation import Derivation
from searchspace.grammar import Grammar, Item
from searchspace.scope import Scope
from searchspace.table import Table
from searchspace.tree import Node


class Ways(Protocol):
    """How the combinations of a layer are derived."""

    def __getitem__(self, place: Place, /) -> Way:
        """The way of one source, target and mode."""
        ...

    def places(self, source: int) -> Iterator[Place]:
        """Combinations that begin in a state."""
        ...

    def modes(self, source: int, target: int) -> list[int]:
        """Modes that lead from one state to another; of those that differ in a width, some."""
        ...


@dataclass(frozen=True, eq=False)
class Chain:
    """One alternative of the start as a programme."""

    grammar: Grammar
    index: int
    """Which alternative."""
    programme: Programme
    ways: tuple[Ways, ...]
    """By layer."""
    table: Table
    left_out: tuple[str, ...] = ()
    """Kinds of its items that it does not hold, and why."""

    def architecture(self, design: Design, mixture: Mixture | None = None) -> Architecture:
        """The tree of a design, some of whose copies may be of other modes."""
        alternative = self.grammar.rules[self.grammar.start].alternatives[self.index]
        groups: list[tuple[Node, ...]] = []
        scope: Scope = ()
        for index, (item, ways, step) in enumerate(
            zip(alternative.items, self.ways, design, strict=True)
        ):
            way = ways[step.source, step.target, step.mode]
            nodes = self._nodes(item, way, step.copies)
            others = [
                (self._nodes(item, ways[step.source, step.target, mode], step.copies), count)
                for mode, count in (mixture or {}).get(index, {}).items()
                if mode != step.mode
            ]
            groups.append(with_copies(nodes, others))
            scope = _joined(scope, way.scope)
        root = Node(self.grammar.start, self.index, scope, tuple(groups))
        return Architecture(space=self.grammar.name, root=root)

    def _nodes(self, item: Item, way: Way, copies: int) -> tuple[Node, ...]:
        count = None if way.base is None else way.base + copies
        derived = Derivation(self.table, Answering(way.policy, count), rows=True)
        return derived.item(item, way.scope, way.spec)[0]

    def mixable(self) -> list[int]:
        """Layers in whose rows the grammar allows unlike copies."""
        design = self._any()
        found: list[int] = []
        for index, step in enumerate(design or ()):
            assert design is not None
            modes = [m for m in self.ways[index].modes(*step[:2]) if m != step.mode]
            if step.copies and modes and all(self._mixes(design, index, m) for m in modes):
                found.append(index)
        return found

    def _any(self) -> Design | None:
        """Some design, with as many copies as there can be."""
        steps: list[Step] = []

        def further(source: int) -> bool:
            if len(steps) == len(self.ways):
                return True
            for place in self.ways[len(steps)].places(source):
                steps.append(Step(*place, self.programme.layers[len(steps)].copies[1]))
                if further(place[1]):
                    return True
                steps.pop()
            return False

        return tuple(steps) if further(0) else None

    def _mixes(self, design: Design, index: int, mode: int) -> bool:
        try:
            check(self.grammar, self.architecture(design, {index: {mode: 1}}).root)
        except TreeError:
            return False
        return True


def with_copies(
    nodes: tuple[Node, ...], others: Sequence[tuple[tuple[Node, ...], int]]
) -> tuple[Node, ...]:
    """Nodes whose longest row of equal copies ends with copies out of other nodes.

    Args:
        nodes: an item's.
        others: alike ones of another policy, and how many copies of theirs there shall be.

    Raises:
        TreeError: the others have no such row in the same place.
    """
    if not others:
        return nodes
    path = max(_rows(nodes), key=lambda row: row[0])[1]
    row = _row(nodes, path)
    found: list[Node] = []
    for other, count in others:
        found += _row(other, path)[-1:] * count
    return _replaced(nodes, path, (*row[: len(row) - len(found)], *found))


def _rows(
    nodes: tuple[Node, ...], path: tuple[int, ...] = ()
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Length and place of every row: the index of a node, then of its group, and so on."""
    yield len(nodes), path
    for index, node in enumerate(nodes[:1] if len(set(nodes)) == 1 else nodes):
        if not node.is_primitive and not node.is_block:
            for number, group in enumerate(node.children):
                yield from _rows(group, (*path, index, number))


def _row(nodes: tuple[Node, ...], path: tuple[int, ...]) -> tuple[Node, ...]:
    for index, number in zip(path[::2], path[1::2], strict=True):
        if index >= len(nodes) or number >= len(nodes[index].children):
            raise TreeError("unlike stages have no copies to share")
        nodes = nodes[index].children[number]
    return nodes


def _replaced(
    nodes: tuple[Node, ...], path: tuple[int, ...], row: tuple[Node, ...]
) -> tuple[Node, ...]:
    if not path:
        return row
    index, number, *rest = path
    node = nodes[index]
    groups = list(node.children)
    groups[number] = _replaced(groups[number], tuple(rest), row)
    made = Node(node.symbol, node.alternative, node.values, tuple(groups), node.scheme)
    return (*nodes[:index], made, *nodes[index + 1 :])


def _joined(first: Scope, second: Scope) -> Scope:
    """All variables known by two scopes; those no longer looked at are 0 in the later one."""
    longer = list(second)
    for index, value in enumerate(first):
        if index < len(longer) and longer[index] == 0:
            longer[index] = value
        elif index >= len(longer):
            longer.append(value)
    return tuple(longer)
