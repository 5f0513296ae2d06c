"""Joint draws of several variables under constraints, exact and without rejection.

The number of ways to complete a partial assignment is counted once and kept, under the values that
later constraints look at; a chain such as ``w1 <= w2 <= w3`` so needs one small table a variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random

from searchspace.grammar import (
    COMPARE,
    Alternative,
    Arithmetic,
    Comparison,
    Expression,
    Variable,
    evaluate,
)
from searchspace.tree import Value

Options = tuple[tuple[Value, int], ...]
"""Values that a variable can still take, each with the number of completions it leaves."""


def draw(alternative: Alternative, arguments: Sequence[Value], random: Random) -> tuple[Value, ...]:
    """`arguments` and then one value for each variable of `with`, uniform over what is allowed.

    Raises:
        ValueError: no assignment keeps the constraints.
    """
    scope = list(arguments)
    for index in range(len(alternative.draws)):
        left = options(alternative, len(arguments), index, tuple(scope))
        total = sum(count for _, count in left)
        if not total:
            names = ", ".join(name for name, _ in alternative.draws)
            raise ValueError(f"no values of {names} keep the constraints, given {scope}")
        pick = random.randrange(total)
        for value, count in left:
            pick -= count
            if pick < 0:
                scope.append(value)
                break
    return tuple(scope)


def count(alternative: Alternative, arguments: Sequence[Value]) -> int:
    """How many assignments of the variables keep the constraints; 1 if there are no variables."""
    if not alternative.draws:
        return int(all(c.holds(arguments) for c in alternative.where))
    return sum(n for _, n in options(alternative, len(arguments), 0, tuple(arguments)))


def others(
    alternative: Alternative, scope: Sequence[Value], arity: int, index: int
) -> tuple[Value, ...]:
    """Values that one drawn variable could take instead, all other variables unchanged."""
    changed = list(scope)
    values = []
    for value in alternative.draws[index][1].values:
        changed[arity + index] = value
        if value != scope[arity + index] and keeps(alternative, changed):
            values.append(value)
    return tuple(values)


def keeps(alternative: Alternative, scope: Sequence[Value]) -> bool:
    """Whether a full assignment keeps all constraints."""
    return all(comparison.holds(scope) for comparison in alternative.where)


def options(alternative: Alternative, arity: int, index: int, scope: tuple[Value, ...]) -> Options:
    """Options of variable `index`, given the values before it."""
    wanted = _looked_at(alternative, arity)[index]
    masked = tuple([value if i in wanted else 0 for i, value in enumerate(scope)])
    return _counted(alternative, arity, index, masked)


def looked_at(alternative: Alternative, arity: int, known: int) -> frozenset[int]:
    """Indices below `known` of the variables that the constraints of later ones look at."""
    if known >= arity + len(alternative.draws):
        return frozenset()
    return _looked_at(alternative, arity)[known - arity]


@lru_cache(maxsize=200_000)
def _counted(alternative: Alternative, arity: int, index: int, scope: tuple[Value, ...]) -> Options:
    kept = alternative.draws[index][1].values
    for place, (_, seen) in enumerate(_ready(alternative, arity)[index]):
        rest = tuple([value if i in seen else 0 for i, value in enumerate(scope)])
        allowed = _allowed(alternative, arity, index, place, rest)
        kept = tuple([value for value in kept if value in allowed])
    if index + 1 == len(alternative.draws):
        return tuple([(value, 1) for value in kept])
    wanted = _looked_at(alternative, arity)[index + 1]
    known = tuple([value if i in wanted else 0 for i, value in enumerate(scope)])
    completions = _completions(alternative, arity, index, known)
    found = []
    for value in kept:
        n = completions.get(value)
        if n is None:
            after = options(alternative, arity, index + 1, (*scope, value))
            n = completions[value] = sum([count for _, count in after])
        if n:
            found.append((value, n))
    return tuple(found)


@lru_cache(maxsize=200_000)
def _allowed(
    alternative: Alternative, arity: int, index: int, place: int, scope: tuple[Value, ...]
) -> frozenset[Value]:
    """Values of variable `index` that keep one of the constraints that it is the last in."""
    comparison, _ = _ready(alternative, arity)[index][place]
    values = alternative.draws[index][1].values
    sides = []
    for side in (comparison.left, comparison.right):
        if len(scope) not in _in(side):
            sides.append([evaluate(side, (*scope, values[0]))] * len(values))
        elif isinstance(side, Variable):
            sides.append(list(values))
        else:
            sides.append([evaluate(side, (*scope, value)) for value in values])
    compare = COMPARE[comparison.operator]
    return frozenset([value for value, a, b in zip(values, *sides, strict=True) if compare(a, b)])


@lru_cache(maxsize=200_000)
def _completions(
    alternative: Alternative, arity: int, index: int, scope: tuple[Value, ...]
) -> dict[Value, int]:
    """Ways to go on behind each value of variable `index`, filled in as they are asked for.

    In a chain they hang on that value alone, whatever came before it.
    """
    return {}


@lru_cache(maxsize=4096)
def _ready(
    alternative: Alternative, arity: int
) -> tuple[tuple[tuple[Comparison, frozenset[int]], ...], ...]:
    """For each drawn variable, the constraints whose last one it is, and all their variables."""
    ready: list[list[tuple[Comparison, frozenset[int]]]] = [[] for _ in alternative.draws]
    for comparison in alternative.where:
        variables = frozenset(_in(comparison.left) | _in(comparison.right))
        last = max((*variables, arity))
        ready[max(0, last - arity)].append((comparison, variables))
    return tuple(map(tuple, ready))


@lru_cache(maxsize=4096)
def _looked_at(alternative: Alternative, arity: int) -> tuple[frozenset[int], ...]:
    """For each drawn variable, the earlier variables that constraints from it on look at."""
    ready = _ready(alternative, arity)
    later: set[int] = set()
    sets: list[frozenset[int]] = []
    for index in reversed(range(len(ready))):
        for _, variables in ready[index]:
            later |= variables
        sets.append(frozenset(i for i in later if i < arity + index))
    return tuple(reversed(sets))


def _in(expression: Expression) -> set[int]:
    if isinstance(expression, Variable):
        return {expression.index}
    if isinstance(expression, Arithmetic):
        return _in(expression.left) | _in(expression.right)
    return set()
