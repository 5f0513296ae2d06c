"""The variables of one alternative: which items use them, and what values arguments can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

from searchspace import draws
from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Drawn,
    Expression,
    Item,
    Scalar,
    Variable,
    evaluate,
)
from searchspace.tree import Value

Scope = tuple[Value, ...]
"""Values of a rule's parameters, then of the variables that `with` draws, as far as known."""


def variables_of(expression: Expression) -> tuple[Variable, ...]:
    """The variables that an expression names, left to right."""
    if isinstance(expression, Variable):
        return (expression,)
    if isinstance(expression, Arithmetic):
        return (*variables_of(expression.left), *variables_of(expression.right))
    return ()


@lru_cache(maxsize=16_384)
def used(item: Item) -> tuple[int, ...]:
    """Indices of the variables that an item uses, its repetition and sequences included."""
    scalars = [*item.scalars, *([item.repeat.count] if item.repeat else [])]
    found = {v.index for s in scalars if not isinstance(s, Drawn) for v in variables_of(s)}
    for group in item.groups:
        for inner in group:
            found.update(used(inner))
    return tuple(sorted(found))


@lru_cache(maxsize=16_384)
def drawn(item: Item) -> bool:
    """Whether some argument of an item is drawn in place."""
    return any(isinstance(scalar, Drawn) for scalar in item.scalars)


@lru_cache(maxsize=16_384)
def needs(alternative: Alternative, arity: int) -> tuple[int, ...]:
    """For each item, how many variables must be known before it is expanded."""
    return tuple(max([arity, *(i + 1 for i in used(item))]) for item in alternative.items)


@lru_cache(maxsize=16_384)
def _live(alternative: Alternative, arity: int, index: int, known: int) -> frozenset[int]:
    wanted = {i for item in alternative.items[index:] for i in used(item) if i < known}
    return frozenset(wanted) | draws.looked_at(alternative, arity, known)


def live(alternative: Alternative, arity: int, index: int, scope: Scope) -> Scope:
    """The scope with 0 for all that neither items from `index` on nor open constraints look at."""
    wanted = _live(alternative, arity, index, len(scope))
    if len(wanted) == len(scope):
        return scope
    return tuple([value if i in wanted else 0 for i, value in enumerate(scope)])


def assignments(alternative: Alternative, arity: int, scope: Scope, known: int) -> Iterator[Scope]:
    """Every extension of a scope to `known` variables that leaves the constraints to be kept."""
    if len(scope) >= known:
        yield scope
        return
    for value, _ in draws.options(alternative, arity, len(scope) - arity, scope):
        yield from assignments(alternative, arity, (*scope, value), known)


def options(scalar: Scalar, scope: Sequence[Value]) -> tuple[Value, ...]:
    """The values that an argument or a count can take: a domain's, or the one that follows."""
    if isinstance(scalar, Drawn):
        return scalar.domain.values
    return (evaluate(scalar, scope),)


def arguments(item: Item, scope: Sequence[Value]) -> Iterator[tuple[Value, ...]]:
    """Every combination of scalar arguments that an item can have."""
    return product(*[options(scalar, scope) for scalar in item.scalars])


def counts(item: Item, scope: Sequence[Value]) -> tuple[int, ...]:
    """How often an item can stand in a row."""
    if item.repeat is None:
        return (1,)
    return tuple([int(value) for value in options(item.repeat.count, scope)])
