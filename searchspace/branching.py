"""How fast trees branch: the rate that decides whether recursion ends.

Trees of a probabilistic grammar are a branching process of several types (Harris, The Theory of
Branching Processes, 1963, chapter II): with M[a, b] the mean number of b in one expansion of a,
they are finite almost surely if no eigenvalue of M is above 1. einspace (Ericsson et al., arXiv
2405.20838, section 3.3) argues so with rules as written; here what is built counts, so that a body
that is built eight times counts eight times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from searchspace.grammar import Alternative, Arithmetic, Drawn, Grammar, Item, Literal, Scalar
from searchspace.primitives.base import Primitive
from searchspace.recursion import Recursion
from searchspace.tree import Value


def branching_rate(grammar: Grammar) -> tuple[float, str]:
    """The largest mean number of descendants of its own kind that an expansion has, and whose.

    Alternatives count by their weights and variables by the mean of their domains; constraints are
    left aside. Recursion that counts its arguments down ends by itself and does not count.

    Returns:
        The rate and the rule with the most descendants; 0 and the start where nothing recurs.
    """
    recursion = Recursion(grammar.rules, grammar.primitives)
    names = sorted(recursion.recursive)
    if not names:
        return 0.0, grammar.start
    means = np.zeros((len(names), len(names)))
    for row, name in enumerate(names):
        rule = grammar.rules[name]
        total = sum(alternative.weight for alternative in rule.alternatives)
        for alternative in rule.alternatives:
            for item, times in _occurrences(alternative, len(rule.parameters), grammar.primitives):
                if item.symbol in names:
                    share = alternative.weight / total
                    means[row, names.index(item.symbol)] += share * times
    # Rules on the way from one recursive rule to another carry its descendants on.
    rate = float(max(abs(np.linalg.eigvals(means))))
    return rate, names[int(np.argmax(np.diag(means) + means.sum(axis=1)))]


def _occurrences(
    alternative: Alternative, arity: int, primitives: Mapping[str, Primitive]
) -> Iterator[tuple[Item, float]]:
    """Every rule that an alternative names, with the mean number of times it is built."""

    def within(items: tuple[Item, ...], times: float) -> Iterator[tuple[Item, float]]:
        for item in items:
            here = times
            if item.repeat is not None:
                here *= _mean(item.repeat.count, alternative, arity)
            if not item.is_primitive:
                yield item, here
            elif item.groups:
                copies = _copies(item, primitives[item.symbol], alternative, arity)
                for group in item.groups:
                    yield from within(group, here * copies)

    yield from within(alternative.items, 1.0)


def _copies(item: Item, primitive: Primitive, alternative: Alternative, arity: int) -> float:
    """Mean number of copies of a primitive's sequences, each argument at each of its values."""
    counts = []
    for choice in range(max(len(_values(s, alternative, arity)) for s in item.scalars or _ONE)):
        values = [_values(s, alternative, arity) for s in item.scalars]
        chosen = [options[choice % len(options)] for options in values]
        counts.append(primitive.copies(primitive.named(chosen)))
    return float(np.mean(counts))


_ONE = (Literal(1),)


def _values(scalar: Scalar, alternative: Alternative, arity: int) -> tuple[Value, ...]:
    if isinstance(scalar, Drawn):
        return scalar.domain.values
    if isinstance(scalar, Literal):
        return (scalar.value,)
    if isinstance(scalar, Arithmetic) or scalar.index < arity:
        return (1,)
    return alternative.draws[scalar.index - arity][1].values


def _mean(scalar: Scalar, alternative: Alternative, arity: int) -> float:
    numbers = [value for value in _values(scalar, alternative, arity) if isinstance(value, int)]
    return float(np.mean(numbers or [1]))
