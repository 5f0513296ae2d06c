"""Small nodes for an item of a grammar: what can newly stand beside what there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from searchspace import draws
from searchspace.grammar import Alternative, Drawn, Grammar, Item, Scalar, evaluate
from searchspace.tree import PRIMITIVE, Node, Value

SCOPES = 4
"""Choices of an alternative's variables that are tried."""
_VALUES = 8
"""Values of a new argument that are tried."""
FILLINGS = 64
"""Ways to fill in one item that are tried."""
_JOINS = {"split": "clone", "join": "add"}
"""The words of a fork that let a branch be added."""


class Fillings:
    """Small nodes of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def fillings(
        self, item: Item, scope: Sequence[Value], hole: Node | None
    ) -> Iterator[tuple[Node, bool]]:
        """Small nodes for an item, each with whether `hole` is in it."""
        values = list(product(*(_values(item, i, scope) for i in range(len(item.scalars)))))
        if not item.is_primitive:
            for arguments in values:
                if hole is not None and hole.symbol == item.symbol:
                    if hole.values[: len(arguments)] == arguments:
                        yield hole, True
                    yield from ((seed, False) for seed in self.seeds(item.symbol, arguments))
                else:
                    made = self.expansions(item.symbol, arguments)
                    yield from ((node, False) for node in islice(made, FILLINGS))
            return
        rows = [
            list(product(*(list(self.fillings(inner, scope, hole)) for inner in row)))
            for row in item.groups
        ]
        for arguments, groups in product(values, product(*rows)):
            used = sum(inside for group in groups for _, inside in group)
            if used < 2:
                children = tuple(tuple(node for node, _ in group) for group in groups)
                yield Node(item.symbol, PRIMITIVE, arguments, children), bool(used)

    def seeds(self, symbol: str, arguments: tuple[Value, ...]) -> list[Node]:
        """Expansions of a recursive rule: single layers, and one beside nothing."""
        single = [
            node
            for node in self.expansions(symbol, arguments, lone=True)
            if len(node.children) == 1 and not node.children[0][0].children
        ]
        nothing = [n for n in single if n.children[0][0].symbol == "identity"]
        return [*single, *(s for n in nothing[:1] for s in self.forks(n, single))]

    def forks(self, nothing: Node, single: Sequence[Node]) -> Iterator[Node]:
        """Sums of nothing and one layer, where the rule has them."""
        for index, alternative in enumerate(self.grammar.rules[nothing.symbol].alternatives):
            (first, *more) = alternative.items
            if more or alternative.draws or [len(g) for g in first.groups] != [1, 1]:
                continue
            if any(row[0].symbol != nothing.symbol for row in first.groups):
                continue
            scope = nothing.values
            values = product(*(_values(first, i, scope) for i in range(len(first.scalars))))
            for arguments, layer in product(values, single):
                join = Node(first.symbol, PRIMITIVE, arguments, ((nothing,), (layer,)))
                yield self.made(nothing.symbol, index, scope, ((join,),))

    def expansions(
        self, symbol: str, arguments: tuple[Value, ...], *, lone: bool = False
    ) -> Iterator[Node]:
        """Expansions of a rule without repetition or recursion, every draw tried.

        Args:
            symbol: the rule.
            arguments: its arguments.
            lone: only those of one layer.
        """
        for index, alternative in enumerate(self.grammar.rules[symbol].alternatives):
            items = alternative.items
            if any(i.repeat for i in items) or holds(items, symbol):
                continue
            if lone and (len(items) != 1 or not items[0].is_primitive):
                continue
            for scope in islice(scopes(alternative, arguments), SCOPES):
                options = [list(self.fillings(item, scope, None)) for item in items]
                for combination in product(*options):
                    yield self.made(symbol, index, scope, tuple((n,) for n, _ in combination))

    def made(
        self,
        symbol: str,
        index: int,
        scope: tuple[Value, ...],
        children: tuple[tuple[Node, ...], ...],
    ) -> Node:
        """An expansion; blocks get the first precision scheme."""
        scheme = self.grammar.schemes[0] if self.grammar.rules[symbol].is_block else ""
        return Node(symbol, index, scope, children, scheme)


def scopes(alternative: Alternative, arguments: tuple[Value, ...]) -> Iterator[tuple[Value, ...]]:
    """Arguments with values of the variables behind them that keep the constraints."""
    arity = len(arguments)
    if not draws.count(alternative, arguments):
        return

    def longer(scope: tuple[Value, ...]) -> Iterator[tuple[Value, ...]]:
        index = len(scope) - arity
        if index == len(alternative.draws):
            yield scope
            return
        for value, _ in draws.options(alternative, arity, index, scope):
            yield from longer((*scope, value))

    yield from longer(arguments)


def _values(item: Item, index: int, scope: Sequence[Value]) -> Sequence[Value]:
    """Values that are tried for a scalar argument."""
    scalar: Scalar = item.scalars[index]
    if not isinstance(scalar, Drawn):
        return (evaluate(scalar, scope),)
    words = [value for value in scalar.domain.values if value in _JOINS.values()]
    return words if words and item.groups else scalar.domain.values[:_VALUES]


def holds(items: Sequence[Item], symbol: str) -> bool:
    """Whether items name a rule, sequences of composites included."""
    return any(
        item.symbol == symbol or any(holds(row, symbol) for row in item.groups) for item in items
    )
