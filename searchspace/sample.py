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
TALLEST = 100
"""Height of no tree: only recursion that constraints drive could reach it."""
LARGEST = 5_000
"""Expansions in one draw from which it takes only the alternatives that end soonest."""
MOST = 50_000
"""Expansions in one draw, at most."""


class DrawError(ValueError):
    """A grammar whose constraints or recursion leave no tree to draw."""


def sample(grammar: Grammar, random: Random, *, rows: bool = False) -> Architecture:
    """One architecture, drawn by the grammar's weights; always valid, never endless.

    Args:
        rows: make all copies under `^` one draw, so that every row repeats one block.

    Raises:
        DrawError: constraints let the tree grow past `TALLEST` levels or `MOST` expansions.
    """
    root = _Draw(grammar, random, rows).expand(grammar.start, (), DEEPEST)
    return Architecture(space=grammar.name, root=root)


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
        DrawError: no alternative's constraints hold for the arguments, or as `sample`.
    """
    return _Draw(grammar, random).expand(symbol, arguments, height)


def one(
    grammar: Grammar, item: Item, scope: Sequence[Value], random: Random, height: int = DEEPEST
) -> Node:
    """One node for an item, its draws made anew."""
    return _Draw(grammar, random).one(item, scope, height)


class _Draw:
    """One draw, which counts its expansions."""

    def __init__(self, grammar: Grammar, random: Random, rows: bool = False) -> None:
        self.grammar, self.random, self.rows = grammar, random, rows
        self.expansions = 0

    def expand(self, symbol: str, arguments: Sequence[Value], height: int) -> Node:
        rule = self.grammar.rules[symbol]
        self.grow(symbol, height)
        fits = [i for i, a in enumerate(rule.alternatives) if draws.count(a, arguments)]
        if not fits:
            raise DrawError(f"no alternative of '{symbol}' is allowed for {tuple(arguments)}")
        bound = height if self.expansions <= LARGEST else 0
        low = [i for i in fits if rule.heights[i] <= bound]
        if not low:
            least = min(rule.heights[i] for i in fits)
            low = [i for i in fits if rule.heights[i] == least]
        index = low[0]
        if len(low) > 1:
            index = self.random.choices(low, [rule.alternatives[i].weight for i in low])[0]
        alternative = rule.alternatives[index]
        scope = draws.draw(alternative, arguments, self.random)
        children = tuple([self.group(item, scope, height - 1) for item in alternative.items])
        scheme = str(pick(self.grammar.schemes, self.random)) if rule.is_block else ""
        return Node(symbol, index, scope, children, scheme)

    def grow(self, symbol: str, height: int) -> None:
        """Count an expansion; raise where the tree becomes too high or too large."""
        self.expansions += 1
        if height <= DEEPEST - TALLEST:
            raise DrawError(
                f"a tree of {self.grammar.name} grew {TALLEST} levels high at '{symbol}': "
                "its constraints leave only alternatives that go on; add one that ends"
            )
        if self.expansions > MOST:
            raise DrawError(
                f"a tree of {self.grammar.name} grew past {MOST} expansions at '{symbol}': "
                "lower the counts"
            )

    def group(self, item: Item, scope: Sequence[Value], height: int) -> tuple[Node, ...]:
        """The nodes that one item becomes: one, or as many as its count says."""
        if item.repeat is None:
            return (self.one(item, scope, height),)
        count = value(item.repeat.count, scope, self.random)
        if not isinstance(count, int) or count < 0:
            raise DrawError(f"the count of '{item.symbol}' must be at least 0; got {count}")
        if (item.repeat.same or self.rows) and count:
            return (self.one(item, scope, height),) * count
        return tuple([self.one(item, scope, height) for _ in range(count)])

    def one(self, item: Item, scope: Sequence[Value], height: int) -> Node:
        values = tuple([value(scalar, scope, self.random) for scalar in item.scalars])
        if not item.is_primitive:
            return self.expand(item.symbol, values, height)
        children = tuple(
            [
                tuple([self.one(inner, scope, height - 1) for inner in sequence])
                for sequence in item.groups
            ]
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
