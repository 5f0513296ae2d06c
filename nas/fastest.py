"""The fastest architecture of a space that a descent finds: whether a budget can be met at all."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.grammar import Drawn, Grammar, Item, evaluate
from searchspace.tree import PRIMITIVE, Node, Value
from searchspace.vary import mutate

PATIENCE = 400
"""Mutations in a row without gain after which a descent ends."""


def smallest(grammar: Grammar) -> Architecture:
    """The tree with the lowest alternatives and the first value of every domain.

    Where a constraint forbids the first value, the first that leaves the rest a choice.
    """
    return Architecture(space=grammar.name, root=_rule(grammar, grammar.start, ()))


def fastest(
    grammar: Grammar, cost: Callable[[Architecture], float], goal: float
) -> tuple[Architecture, float]:
    """Descend from the smallest tree by single mutations until the goal is met or none helps.

    Args:
        cost: what to minimise, such as the upper end of the predicted latency.
        goal: a cost that is low enough.

    Returns:
        The architecture found and its cost: an upper bound on the least cost in the space.
    """
    random = Random(0)
    best = smallest(grammar)
    least = cost(best)
    failures = 0
    while (least > goal or least == float("inf")) and failures < PATIENCE:
        candidate = mutate(grammar, best, random)
        found = cost(candidate)
        failures += 1
        if found < least:
            best, least, failures = candidate, found, 0
    return best, least


def _rule(grammar: Grammar, symbol: str, arguments: tuple[Value, ...]) -> Node:
    rule = grammar.rules[symbol]
    fits = [i for i, a in enumerate(rule.alternatives) if draws.count(a, arguments)]
    index = min(fits, key=lambda i: rule.heights[i])
    alternative = rule.alternatives[index]
    scope = arguments
    for position in range(len(alternative.draws)):
        left = draws.options(alternative, len(arguments), position, scope)
        scope = (*scope, left[0][0])
    children = tuple(_group(grammar, item, scope) for item in alternative.items)
    scheme = grammar.schemes[0] if rule.is_block else ""
    return Node(symbol, index, scope, children, scheme)


def _group(grammar: Grammar, item: Item, scope: tuple[Value, ...]) -> tuple[Node, ...]:
    count: Value = 1
    if item.repeat is not None:
        counted = item.repeat.count
        count = counted.domain.values[0] if isinstance(counted, Drawn) else evaluate(counted, scope)
    assert isinstance(count, int)
    return (_item(grammar, item, scope),) * count if count else ()


def _item(grammar: Grammar, item: Item, scope: tuple[Value, ...]) -> Node:
    values = tuple(
        s.domain.values[0] if isinstance(s, Drawn) else evaluate(s, scope) for s in item.scalars
    )
    if not item.is_primitive:
        return _rule(grammar, item.symbol, values)
    children = tuple(tuple(_item(grammar, i, scope) for i in group) for group in item.groups)
    return Node(item.symbol, PRIMITIVE, values, children)
