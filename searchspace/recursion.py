"""Which rules can hold themselves, how deep the least of their trees lie, and what always ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import networkx as nx

from searchspace.grammar import Alternative, Arithmetic, Drawn, Item, Literal, Rule
from searchspace.primitives.base import Primitive
from searchspace.wellformed import ENDLESS, references


class Recursion:
    """What a grammar's rules decide about recursion before any shape is known."""

    def __init__(self, rules: Mapping[str, Rule], primitives: Mapping[str, Primitive]) -> None:
        self._rules, self._primitives = rules, primitives
        graph = _uncounted(rules)
        parts = list(nx.strongly_connected_components(graph))
        self.recursive = frozenset(
            name for part in parts for name in part if len(part) > 1 or graph.has_edge(name, name)
        )
        """Names of the rules whose trees can hold the rule itself, without counting to an end."""
        self.deep = self.recursive.union(
            *(nx.ancestors(references(rules), n) for n in self.recursive)
        )
        """Names of the rules whose trees can hold a recursive rule."""
        self._least = self._levels()
        self.level = max((n for n in self._least.values() if n < ENDLESS), default=0)
        """Recursive expansions that the neediest rule needs at least."""
        self._least_of = {
            alternative: _needed(alternative, self._least)
            for rule in rules.values()
            for alternative in rule.alternatives
        }
        self._smallest = self._sizes()
        self._always = self._served()

    def smallest(self, item: Item) -> int:
        """Nodes that the item's copies have at least, whatever the shape."""
        return self._smallest_of(item, self._smallest)

    def _sizes(self) -> dict[str, int]:
        sizes = dict.fromkeys(self._rules, ENDLESS)
        for _ in self._rules:
            for name, rule in self._rules.items():
                sizes[name] = min(
                    1 + sum(self._smallest_of(item, sizes) for item in alternative.items)
                    for alternative in rule.alternatives
                )
        return sizes

    def _smallest_of(self, item: Item, sizes: Mapping[str, int]) -> int:
        if item.repeat is not None:
            return 0
        if not item.is_primitive:
            return sizes[item.symbol]
        return 1 + sum(self._smallest_of(inner, sizes) for group in item.groups for inner in group)

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
        """Recursive expansions that the items of an alternative need at least."""
        return self._least_of[alternative]

    def _levels(self) -> dict[str, int]:
        least = dict.fromkeys(self._rules, ENDLESS)
        for _ in self._rules:
            for name, rule in self._rules.items():
                inner = min(_needed(alternative, least) for alternative in rule.alternatives)
                least[name] = inner + (name in self.recursive)
        return least


def _needed(alternative: Alternative, least: Mapping[str, int]) -> int:
    return min(ENDLESS, sum(_needed_by(item, least) for item in alternative.items))


def _needed_by(item: Item, least: Mapping[str, int]) -> int:
    inner = sum(_needed_by(i, least) for group in item.groups for i in group)
    inner += 0 if item.is_primitive else least[item.symbol]
    if item.repeat is None:
        return inner
    count = item.repeat.count
    if isinstance(count, Drawn):
        return inner * min(int(value) for value in count.domain.values)
    return inner * int(count.value) if isinstance(count, Literal) else inner


def _uncounted(rules: Mapping[str, Rule]) -> nx.DiGraph:
    """Which rule names which, without calls that compute an argument, such as `f(n - 1)`.

    These count: they end by their constraints, or are refused for not ending.
    """
    graph = references(rules)
    for name, rule in rules.items():
        for alternative in rule.alternatives:
            for item in (inner for outer in alternative.items for inner in _nested(outer)):
                if any(isinstance(scalar, Arithmetic) for scalar in item.scalars):
                    graph.remove_edges_from([(name, item.symbol)])
    return graph


def _nested(item: Item) -> Iterator[Item]:
    """The item and all items of its sequences."""
    yield item
    for group in item.groups:
        for inner in group:
            yield from _nested(inner)
