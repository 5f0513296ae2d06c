"""Random derivations, by the grammar's own probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.grammar import Drawn, Grammar, Item, Scalar, evaluate
from searchspace.tree import PRIMITIVE, Node, Value

DEEPEST = 60
"""Height from which a draw takes only the alternatives that end soonest."""


def sample(grammar: Grammar, random: Random) -> Architecture:
    """One architecture, drawn by the grammar's weights; always valid, never endless."""
    return Architecture(space=grammar.name, root=expand(grammar, grammar.start, (), random))


def expand(
    grammar: Grammar,
    symbol: str,
    arguments: Sequence[Value],
    random: Random,
    height: int = DEEPEST,
) -> Node:
    """A random expansion of the rule `symbol`, given its arguments.

    Args:
        height: from here down, at most this high where the rule allows it.

    Raises:
        ValueError: no alternative's constraints hold for the arguments.
    """
    rule = grammar.rules[symbol]
    fits = [i for i, a in enumerate(rule.alternatives) if draws.count(a, arguments)]
    if not fits:
        raise ValueError(f"no alternative of '{symbol}' is allowed for {tuple(arguments)}")
    low = [i for i in fits if rule.heights[i] <= height]
    if not low:
        least = min(rule.heights[i] for i in fits)
        low = [i for i in fits if rule.heights[i] == least]
    index = low[0]
    if len(low) > 1:
        index = random.choices(low, [rule.alternatives[i].weight for i in low])[0]
    alternative = rule.alternatives[index]
    scope = draws.draw(alternative, arguments, random)
    children = tuple(group(grammar, item, scope, random, height - 1) for item in alternative.items)
    scheme = str(pick(grammar.schemes, random)) if rule.is_block else ""
    return Node(symbol, index, scope, children, scheme)


def group(
    grammar: Grammar, item: Item, scope: Sequence[Value], random: Random, height: int = DEEPEST
) -> tuple[Node, ...]:
    """The nodes that one item of an alternative becomes: one, or as many as its count says."""
    if item.repeat is None:
        return (one(grammar, item, scope, random, height),)
    count = value(item.repeat.count, scope, random)
    assert isinstance(count, int)
    if item.repeat.same and count:
        return (one(grammar, item, scope, random, height),) * count
    return tuple(one(grammar, item, scope, random, height) for _ in range(count))


def one(
    grammar: Grammar, item: Item, scope: Sequence[Value], random: Random, height: int = DEEPEST
) -> Node:
    """One node for an item, its draws made anew."""
    values = tuple([value(scalar, scope, random) for scalar in item.scalars])
    if not item.is_primitive:
        return expand(grammar, item.symbol, values, random, height)
    children = tuple(
        tuple(one(grammar, inner, scope, random, height - 1) for inner in sequence)
        for sequence in item.groups
    )
    return Node(item.symbol, PRIMITIVE, values, children)


def value(scalar: Scalar, scope: Sequence[Value], random: Random) -> Value:
    """The value of an argument or count: looked up, computed, or drawn."""
    if isinstance(scalar, Drawn):
        return pick(scalar.domain.values, random)
    return evaluate(scalar, scope)


def pick(values: Sequence[Value], random: Random) -> Value:
    """One of the values, all equally likely; takes no randomness where there is no choice."""
    return values[random.randrange(len(values))] if len(values) > 1 else values[0]
