"""Rules that are no choice, put in the place of the items that name them.

What a rule hands on to another then is one row of items, whose variables all stand in one scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from searchspace.bearing import Bearing
from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Drawn,
    Expression,
    Grammar,
    Item,
    Repeat,
    Scalar,
    Variable,
)


class Inlined:
    """The rows of one grammar."""

    def __init__(self, grammar: Grammar, bearing: Bearing) -> None:
        self._grammar, self._bearing = grammar, bearing
        self._rows: dict[Alternative, tuple[Item, ...]] = {}

    def items(self, alternative: Alternative) -> tuple[Item, ...]:
        """The items of an alternative, with those of rules that are no choice in their place."""
        found = self._rows.get(alternative)
        if found is None:
            items = [inner for item in alternative.items for inner in self._each(item)]
            found = self._rows[alternative] = tuple(items)
        return found

    def _each(self, item: Item) -> Iterator[Item]:
        if item.is_primitive:
            groups = tuple(tuple(i for e in g for i in self._each(e)) for g in item.groups)
            yield replace(item, groups=groups) if groups else item
            return
        rule = self._grammar.rules[item.symbol]
        (first, *others) = rule.alternatives
        choice = others or first.draws or first.where or item.repeat is not None
        schemes = rule.is_block and len(self._grammar.schemes) > 1
        if choice or schemes or self._bearing.draws(item):
            yield item
            return
        for inner in self.items(first):
            yield _substituted(inner, item.scalars)


def _substituted(item: Item, scalars: Sequence[Scalar]) -> Item:
    """An item of a rule in terms of its caller: arguments in the place of parameters."""

    def put(expression: Expression) -> Expression:
        if isinstance(expression, Variable):
            argument = scalars[expression.index]
            assert not isinstance(argument, Drawn)
            return argument
        if isinstance(expression, Arithmetic):
            return replace(expression, left=put(expression.left), right=put(expression.right))
        return expression

    def each(scalar: Scalar) -> Scalar:
        return scalar if isinstance(scalar, Drawn) else put(scalar)

    return replace(
        item,
        scalars=tuple(map(each, item.scalars)),
        groups=tuple(tuple(_substituted(i, scalars) for i in group) for group in item.groups),
        repeat=item.repeat and Repeat(each(item.repeat.count), item.repeat.same),
    )
