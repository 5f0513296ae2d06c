"""The largest and the smallest of a space: what every size means and how far it can go.

The sandwich rule (Yu et al., BigNAS, arXiv 2003.11142, section 3.1) needs networks at both ends of
all sizes; the weight bank needs, for each place, the largest shape that can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from searchspace import draws
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
from searchspace.sample import expand, one, sample
from searchspace.tree import Node, Value

Pick = Callable[[Sequence[int]], int]
"""`max` or `min`."""
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
    pusher = _Pusher(grammar, pick, feeding(grammar, STRIDE), random)
    return pusher.rule(sample(grammar, random).root, ())


def largest_relative(grammar: Grammar, root: Node) -> Node:
    """The tree of the same alternatives and counts with every integer at its domain's maximum.

    It bounds the shapes of `root`'s weights. Constraints are ignored, so it may lie outside the
    space.
    """
    return _Pusher(grammar, max, frozenset(), None).rule(root, ())


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
class _Pusher:
    """Moves the sizes of a tree to one end."""

    grammar: Grammar
    pick: Pick
    opposite: frozenset[str]
    """Domains that are moved to the other end."""
    random: Random | None
    """For new copies; None: keep counts, and ignore constraints."""

    def best(self, domain: Domain, values: Sequence[Value], old: Value) -> Value:
        sizes = [v for v in values if isinstance(v, int)]
        if len(sizes) < len(values):
            return old
        if domain.name in self.opposite:
            return min(sizes) if self.pick is max else max(sizes)
        return self.pick(sizes)

    def rule(self, node: Node, arguments: Sequence[Value]) -> Node:
        rule = self.grammar.rules[node.symbol]
        arity = len(rule.parameters)
        scope = [*arguments, *node.values[arity:]]
        if self.random and not draws.keeps(rule.alternatives[node.alternative], scope):
            node = expand(self.grammar, node.symbol, arguments, self.random)
            scope = list(node.values)
        alternative = rule.alternatives[node.alternative]
        self.push(alternative, scope, arity)
        children = tuple(
            self.group(item, nodes, scope)
            for item, nodes in zip(alternative.items, node.children, strict=True)
        )
        return Node(node.symbol, node.alternative, tuple(scope), children, node.scheme)

    def push(self, alternative: Alternative, scope: list[Value], arity: int) -> None:
        """Move the variables in turn until none can go further within the constraints."""
        moved = True
        while moved:
            moved = False
            for index, (_, domain) in enumerate(alternative.draws):
                here = scope[arity + index]
                options: Sequence[Value] = domain.values
                if self.random:
                    options = (here, *draws.others(alternative, scope, arity, index))
                scope[arity + index] = self.best(domain, options, here)
                moved |= scope[arity + index] != here

    def group(
        self, item: Item, nodes: tuple[Node, ...], scope: Sequence[Value]
    ) -> tuple[Node, ...]:
        count = len(nodes)
        if item.repeat is not None and self.random:
            how_often = item.repeat.count
            if isinstance(how_often, Drawn):
                wanted = self.best(how_often.domain, how_often.domain.values, count)
            else:
                wanted = evaluate(how_often, scope)
            assert isinstance(wanted, int)
            missing = wanted - count
            if item.repeat.same:
                nodes = (nodes[:1] or (one(self.grammar, item, scope, self.random),)) * wanted
            else:
                new = (one(self.grammar, item, scope, self.random) for _ in range(missing))
                nodes = (*nodes[:wanted], *new)
        return tuple(self.item(item, node, scope) for node in nodes)

    def item(self, item: Item, node: Node, scope: Sequence[Value]) -> Node:
        values = tuple(
            self.best(scalar.domain, scalar.domain.values, old)
            if isinstance(scalar, Drawn)
            else evaluate(scalar, scope)
            for scalar, old in zip(item.scalars, node.values, strict=False)
        )
        if not item.is_primitive:
            return self.rule(node, values)
        children = tuple(
            tuple(self.item(i, child, scope) for i, child in zip(items, nodes, strict=True))
            for items, nodes in zip(item.groups, node.children, strict=True)
        )
        return Node(node.symbol, node.alternative, values, children)


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
