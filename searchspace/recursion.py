"""Which rules can hold themselves, how deep the least of their trees lie, and what always ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import networkx as nx

from searchspace import draws
from searchspace.grammar import Alternative, Item, Rule
from searchspace.primitives.base import Primitive
from searchspace.scope import Scope, arguments, assignments, needs
from searchspace.wellformed import ENDLESS, references

_COMBINATIONS = 20_000
"""Arguments that are followed at most to see whether a rule comes back to itself."""

State = tuple[str, Scope]
"""A rule with its arguments."""


class Recursion:
    """What a grammar's rules decide about recursion before any shape is known."""

    def __init__(self, rules: Mapping[str, Rule], primitives: Mapping[str, Primitive]) -> None:
        self._rules, self._primitives = rules, primitives
        graph = references(rules)
        parts = list(nx.strongly_connected_components(graph))
        self.recursive = frozenset(
            name for part in parts for name in part if len(part) > 1 or graph.has_edge(name, name)
        )
        """Names of the rules whose trees can hold the rule itself."""
        self.deep = self.recursive.union(*(nx.ancestors(graph, name) for name in self.recursive))
        """Names of the rules whose trees can hold a recursive rule."""
        self._least = self._levels()
        self.level = max((n for n in self._least.values() if n < ENDLESS), default=0)
        """How often recursive rules must be expanded inside each other at least."""
        self._always = self._served()
        self._circles: dict[State, bool] = {}

    def circles(self, symbol: str, given: Scope) -> bool:
        """Whether trees of the rule with these arguments can hold the same rule and arguments.

        Recursion that counts, such as `f(n - 1)`, does not come back, so its levels are free.
        """
        if symbol not in self.recursive:
            return False
        state = (symbol, given)
        if state not in self._circles:
            self._circles[state] = not given or self._comes_back(state)
        return self._circles[state]

    def circling(self, start: str) -> set[str]:
        """Names of the rules that circle with some arguments that reach them from the start."""
        seen: set[State] = {(start, ())}
        waiting: list[State] = [(start, ())]
        while waiting and len(seen) < _COMBINATIONS:
            for following in self._called(*waiting.pop()):
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        return {symbol for symbol, given in seen if self.circles(symbol, given)}

    def _comes_back(self, state: State) -> bool:
        seen: set[State] = set()
        waiting = [state]
        while waiting:
            for following in self._called(*waiting.pop()):
                if following == state or len(seen) >= _COMBINATIONS:
                    return True
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        return False

    def _called(self, symbol: str, given: Scope) -> Iterator[State]:
        for alternative in self._rules[symbol].alternatives:
            if not draws.count(alternative, given):
                continue
            for item, known in zip(alternative.items, needs(alternative, len(given)), strict=True):
                called = [i for i in _nested(item) if i.symbol in self.deep]
                for scope in assignments(alternative, len(given), given, known) if called else ():
                    for inner in called:
                        yield from ((inner.symbol, values) for values in arguments(inner, scope))

    def always(self, item: Item) -> int | None:
        """Size of a tree of the item that serves every shape; None if there is none."""
        return self._always_of(item, self._always)

    def _served(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for _ in self._rules:  # a smallest tree visits no rule twice on a way down
            for name, rule in self._rules.items():
                for alternative in rule.alternatives:
                    sizes = [self._always_of(item, found) for item in alternative.items]
                    if alternative.draws or alternative.where or None in sizes:
                        continue
                    size = 1 + sum(size for size in sizes if size is not None)
                    found[name] = min(size, found.get(name, size))
        return found

    def _always_of(self, item: Item, found: Mapping[str, int]) -> int | None:
        if item.repeat is not None or item.groups:
            return None
        if item.is_primitive:
            return 1 if self._primitives[item.symbol].total else None
        return found.get(item.symbol)

    def least(self, alternative: Alternative) -> int:
        """Recursive expansions inside each other that the items of an alternative need at least."""
        return _deepest(alternative, self._least)

    def _levels(self) -> dict[str, int]:
        least = dict.fromkeys(self._rules, ENDLESS)
        for _ in self._rules:
            for name, rule in self._rules.items():
                # With arguments, recursion may count down, which is free.
                own = name in self.recursive and not rule.parameters
                least[name] = min(_deepest(a, least) for a in rule.alternatives) + own
        return least


def _deepest(alternative: Alternative, least: Mapping[str, int]) -> int:
    inner = [i for item in alternative.items for i in _nested(item) if not i.is_primitive]
    return max((least[item.symbol] for item in inner), default=0)


def _nested(item: Item) -> Iterator[Item]:
    """The item and all items of its sequences."""
    yield item
    for group in item.groups:
        for inner in group:
            yield from _nested(inner)
