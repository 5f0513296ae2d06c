"""The largest and the smallest of a space: what every size means and how far it can go.

The sandwich rule (Yu et al., BigNAS, arXiv 2003.11142, section 3.1) needs networks at both ends of
all sizes; the weight bank needs, for each place, the largest shape that can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from searchspace.choose import Chooser, Question, RandomChooser
from searchspace.derivation import Derivation
from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Domain,
    Drawn,
    Grammar,
    Item,
    Scalar,
    Variable,
    evaluate,
)
from searchspace.primitives import PRIMITIVES
from searchspace.table import table_of
from searchspace.tree import Node, Value

_V = TypeVar("_V")

Pick = Callable[[Sequence[int]], int]
"""`max` or `min`."""
ORDER = "order"
"""Parameter that splits a width in ever smaller parts (HorNet), the first halved the most."""
STRIDE = "stride"
"""Parameter whose small values make a network large."""


def extreme(grammar: Grammar, random: Random, pick: Pick) -> Node:
    """A tree with every size and count at one end; what has no order is drawn.

    Sizes are integers of domains: widths, kernels, ratios, and how often an item is repeated. For
    strides the other end is taken. Alternatives, words and precision schemes are drawn, so that no
    kind of layer is preferred.

    Args:
        pick: `max` for the largest networks, `min` for the smallest.
    """
    ends = _Ends(RandomChooser(random), pick, feeding(grammar, STRIDE))
    return Derivation(table_of(grammar), ends).root()


class _Ends:
    """Offers sizes from one end to the other; leaves all else to another chooser."""

    def __init__(self, chooser: Chooser, pick: Pick, opposite: frozenset[str]) -> None:
        self._chooser, self._pick, self._opposite = chooser, pick, opposite

    def order(
        self,
        question: Question,
        options: Sequence[_V],
        weights: Sequence[float] | None,
        current: _V | None,
    ) -> Iterator[_V]:
        """See `searchspace.choose.Chooser`."""
        domain = question.domain
        sizes = [option for option in options if isinstance(option, int)]
        if domain is None or len(sizes) < len(options):
            return self._chooser.order(question, options, weights, current)
        largest_first = (self._pick is max) != (domain.name in self._opposite)
        return iter(sorted(sizes, reverse=largest_first))


def largest_relative(grammar: Grammar, root: Node) -> Node:
    """The tree of the same alternatives and counts with every integer at its domain's maximum, and
    every stride and order at its minimum.

    It bounds the shapes of `root`'s weights. Constraints are ignored, so it may lie outside the
    space.
    """
    falling = feeding(grammar, STRIDE) | feeding(grammar, ORDER)
    return _Largest(grammar, falling).rule(root, ())


def feeding(grammar: Grammar, parameter: str) -> frozenset[str]:
    """Names of the domains whose values reach a primitive's parameter of that name."""
    sources = _sources(grammar)
    found: set[str] = set()
    for rule, alternative, item in _items(grammar):
        if not item.is_primitive:
            continue
        for wanted, scalar in zip(PRIMITIVES[item.symbol].parameters, item.scalars, strict=True):
            if wanted.name == parameter:
                found |= _domains(grammar, rule, alternative, scalar, sources)
    return frozenset(found)


def counting(grammar: Grammar) -> frozenset[str]:
    """Names of the domains that say how often an item is repeated."""
    sources = _sources(grammar)
    found: set[str] = set()
    for rule, alternative, item in _items(grammar):
        if item.repeat is not None:
            found |= _domains(grammar, rule, alternative, item.repeat.count, sources)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Largest:
    """Moves the sizes of a tree to the largest of their domains, counts and constraints aside."""

    grammar: Grammar
    falling: frozenset[str]
    """Domains of which the smallest value makes the largest maps or weights."""

    def rule(self, node: Node, arguments: Sequence[Value]) -> Node:
        alternative = self.grammar.rules[node.symbol].alternatives[node.alternative]
        drawn = zip(alternative.draws, node.values[len(arguments) :], strict=True)
        scope = (*arguments, *(self.best(domain, old) for (_, domain), old in drawn))
        children = tuple(
            tuple(self.item(item, child, scope) for child in nodes)
            for item, nodes in zip(alternative.items, node.children, strict=True)
        )
        return Node(node.symbol, node.alternative, scope, children, node.scheme)

    def item(self, item: Item, node: Node, scope: Sequence[Value]) -> Node:
        values = tuple(
            self.best(scalar.domain, old) if isinstance(scalar, Drawn) else evaluate(scalar, scope)
            for scalar, old in zip(item.scalars, node.values, strict=False)
        )
        if not item.is_primitive:
            return self.rule(node, values)
        children = tuple(
            tuple(self.item(i, child, scope) for i, child in zip(items, nodes, strict=True))
            for items, nodes in zip(item.groups, node.children, strict=True)
        )
        return Node(node.symbol, node.alternative, values, children)

    def best(self, domain: Domain, old: Value) -> Value:
        sizes = [value for value in domain.values if isinstance(value, int)]
        if not sizes:
            return old
        return min(sizes) if domain.name in self.falling else max(sizes)


_Sources = dict[tuple[str, int], set[str]]
"""For (rule, index of a parameter): the domains that its arguments come from."""


def _items(grammar: Grammar) -> Iterator[tuple[str, Alternative, Item]]:
    def nested(items: Sequence[Item]) -> Iterator[Item]:
        for item in items:
            yield item
            for group in item.groups:
                yield from nested(group)

    for name, rule in grammar.rules.items():
        for alternative in rule.alternatives:
            for item in nested(alternative.items):
                yield name, alternative, item


def _sources(grammar: Grammar) -> _Sources:
    found: _Sources = {
        (name, index): set()
        for name, rule in grammar.rules.items()
        for index in range(len(rule.parameters))
    }
    size = -1
    # Arguments travel from rule to rule, in circles too: repeat until nothing new arrives.
    while size < (size := sum(map(len, found.values()))):
        for rule, alternative, item in _items(grammar):
            if not item.is_primitive:
                for index, scalar in enumerate(item.scalars):
                    found[item.symbol, index] |= _domains(grammar, rule, alternative, scalar, found)
    return found


def _domains(
    grammar: Grammar, rule: str, alternative: Alternative, scalar: Scalar, sources: _Sources
) -> set[str]:
    if isinstance(scalar, Drawn):
        return {scalar.domain.name}
    if isinstance(scalar, Arithmetic):
        left = _domains(grammar, rule, alternative, scalar.left, sources)
        return left | _domains(grammar, rule, alternative, scalar.right, sources)
    if not isinstance(scalar, Variable):
        return set()
    arity = len(grammar.rules[rule].parameters)
    if scalar.index < arity:
        return set(sources[rule, scalar.index])
    return {alternative.draws[scalar.index - arity][1].name}
