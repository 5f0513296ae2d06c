"""Joint draws of several variables under constraints, exact and without rejection.

The number of ways to complete a partial assignment is counted once and kept, under the values that
later constraints look at; a chain such as ``w1 <= w2 <= w3`` so needs one small table a variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random

from searchspace.grammar import Alternative, Arithmetic, Comparison, Expression, Variable
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
    ready = _ready(alternative, arity)[index]
    last = index + 1 == len(alternative.draws)
    found = []
    for value in alternative.draws[index][1].values:
        extended = (*scope, value)
        if not all(comparison.holds(extended) for comparison in ready):
            continue
        n = 1
        if not last:
            n = sum(c for _, c in options(alternative, arity, index + 1, extended))
        if n:
            found.append((value, n))
    return tuple(found)


@lru_cache(maxsize=4096)
def _ready(alternative: Alternative, arity: int) -> tuple[tuple[Comparison, ...], ...]:
    """For each drawn variable, the constraints whose last variable it is."""
    ready: list[list[Comparison]] = [[] for _ in alternative.draws]
    for comparison in alternative.where:
        last = max((*_variables(comparison), arity))
        ready[max(0, last - arity)].append(comparison)
    return tuple(map(tuple, ready))


@lru_cache(maxsize=4096)
def _looked_at(alternative: Alternative, arity: int) -> tuple[frozenset[int], ...]:
    """For each drawn variable, the earlier variables that constraints from it on look at."""
    ready = _ready(alternative, arity)
    later: set[int] = set()
    sets: list[frozenset[int]] = []
    for index in reversed(range(len(ready))):
        for comparison in ready[index]:
            later |= _variables(comparison)
        sets.append(frozenset(i for i in later if i < arity + index))
    return tuple(reversed(sets))


def _variables(comparison: Comparison) -> set[int]:
    return _in(comparison.left) | _in(comparison.right)


def _in(expression: Expression) -> set[int]:
    if isinstance(expression, Variable):
        return {expression.index}
    if isinstance(expression, Arithmetic):
        return _in(expression.left) | _in(expression.right)
    return set()
