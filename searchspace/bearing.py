"""Which variables bear on shapes and constraints: of the others, all values have the same trees.

The activation of a block or the wiring of a cell changes what is computed, but neither what fits
nor what leaves. Counting takes such variables as a factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from searchspace.grammar import Alternative, Drawn, Grammar, Item, Scalar
from searchspace.scope import Scope, used, variables_of


class Bearing:
    """What bears on shapes in one space."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._parameters: dict[str, frozenset[int]] = {name: frozenset() for name in grammar.rules}
        self._seen: dict[Item, tuple[int, ...]] = {}
        self._draws: dict[Item, bool] = {}
        self._idle: dict[Alternative, frozenset[int]] = {}
        before = -1
        while before != (before := sum(map(len, self._parameters.values()))):
            for name, rule in grammar.rules.items():
                found = {i for a in rule.alternatives for i in self._variables(a)}
                arity = len(rule.parameters)
                self._parameters[name] = frozenset(i for i in found if i < arity)
        for rule in grammar.rules.values():
            arity = len(rule.parameters)
            for alternative in rule.alternatives:
                drawn = range(arity, arity + len(alternative.draws))
                self._idle[alternative] = frozenset(drawn) - self._variables(alternative)
        self._partial = {
            name: bearing
            for name, bearing in self._parameters.items()
            if len(bearing) < len(grammar.rules[name].parameters)
        }

    def given(self, symbol: str, given: Scope) -> Scope:
        """A rule's arguments with 0 for those that do not bear on its trees."""
        bearing = self._partial.get(symbol)
        if bearing is None:
            return given
        return tuple([value if i in bearing else 0 for i, value in enumerate(given)])

    def idle(self, alternative: Alternative) -> frozenset[int]:
        """Places in the scope of the drawn variables that do not bear on anything."""
        return self._idle[alternative]

    def factor(self, alternative: Alternative, arity: int) -> int:
        """Combinations of values of the idle variables."""
        idle = self._idle[alternative]
        return prod([len(alternative.draws[i - arity][1].values) for i in idle])

    def used(self, item: Item) -> tuple[int, ...]:
        """As `searchspace.scope.used`, without variables that do not bear on the item's trees."""
        found = self._seen.get(item)
        if found is None:
            bearing = set(self._of([item]))
            found = self._seen[item] = tuple(i for i in used(item) if i in bearing)
        return found

    def draws(self, item: Item) -> bool:
        """Whether some argument of an item is drawn in place."""
        found = self._draws.get(item)
        if found is None:
            found = self._draws[item] = any(isinstance(s, Drawn) for s in item.scalars)
        return found

    def _variables(self, alternative: Alternative) -> frozenset[int]:
        sides = [side for c in alternative.where for side in (c.left, c.right)]
        compared = {v.index for side in sides for v in variables_of(side)}
        return frozenset(compared.union(self._of(alternative.items)))

    def _of(self, items: Sequence[Item]) -> Iterator[int]:
        for item in items:
            for scalar in self._scalars(item):
                if not isinstance(scalar, Drawn):
                    yield from (variable.index for variable in variables_of(scalar))
            for group in item.groups:
                yield from self._of(group)

    def _scalars(self, item: Item) -> Iterator[Scalar]:
        """The count and the arguments of an item that bear on its trees."""
        if item.repeat is not None:
            yield item.repeat.count
        if item.is_primitive:
            bearing = self._grammar.primitives[item.symbol].bearing
        else:
            bearing = self._parameters[item.symbol]
        yield from (scalar for i, scalar in enumerate(item.scalars) if i in bearing)
