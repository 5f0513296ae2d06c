"""The fastest architecture of a space that a descent finds: whether a budget can be met at all."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from searchspace.architecture import Architecture
from searchspace.choose import InOrder
from searchspace.derivation import Derivation
from searchspace.grammar import Grammar
from searchspace.table import table_of
from searchspace.vary import mutate

PATIENCE = 400
"""Mutations in a row without gain after which a descent ends."""


def smallest(grammar: Grammar) -> Architecture:
    """The tree with the smallest alternatives and the first value of every domain.

    Where a constraint or a shape forbids the first value, the first that can be completed.
    """
    root = Derivation(table_of(grammar), InOrder()).root(smallest=True)
    return Architecture(space=grammar.name, root=root)


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
