"""Random derivations, by the grammar's own probabilities."""

from __future__ import annotations

from random import Random

from searchspace.architecture import Architecture
from searchspace.choose import RandomChooser
from searchspace.derivation import Derivation
from searchspace.grammar import Grammar
from searchspace.parameters import parameters
from searchspace.room import DrawError
from searchspace.table import table_of

__all__ = ["DrawError", "sample", "sample_within"]

Range = tuple[int, int]
"""Smallest and largest number allowed."""
TRIES = 10_000
"""Draws after which a range is taken for empty."""


def sample(grammar: Grammar, random: Random, *, rows: bool = False) -> Architecture:
    """One architecture, drawn by the grammar's weights among what can be completed.

    Every alternative, variable, argument and count is drawn in turn, from left to right, among the
    options after which a tree within the grammar's limits is known to exist.

    Args:
        grammar: the space.
        random: decides the draw.
        rows: make all copies under `^` one draw where that keeps its shape, so that every row
            repeats one block.

    Raises:
        DrawError: the space has no tree within its limits.
    """
    root = Derivation(table_of(grammar), RandomChooser(random), rows=rows).root()
    return Architecture(space=grammar.name, root=root)


def sample_within(
    grammar: Grammar,
    random: Random,
    *,
    nodes: Range | None = None,
    params: Range | None = None,
) -> Architecture:
    """One architecture as `sample` draws it, among those within ranges.

    Args:
        grammar: the space.
        random: decides the draw.
        nodes: of the tree's number of nodes, every built copy counted; None: any.
        params: of the network's number of parameters; None: any.

    Raises:
        DrawError: none of `TRIES` draws lies within the ranges.
    """
    table = table_of(grammar)
    for _ in range(TRIES):
        found = sample(grammar, random)
        if nodes is not None and not nodes[0] <= table.nodes(found.root) <= nodes[1]:
            continue
        if params is None or params[0] <= parameters(found.root, grammar.input) <= params[1]:
            return found
    asked = [f"{low} to {high} {name}" for name, (low, high) in _asked(nodes, params)]
    raise DrawError(
        f"none of {TRIES} draws of {grammar.name} has {' and '.join(asked)}: widen the range"
    )


def _asked(nodes: Range | None, params: Range | None) -> list[tuple[str, Range]]:
    given = (("nodes", nodes), ("parameters", params))
    return [(name, bounds) for name, bounds in given if bounds is not None]
