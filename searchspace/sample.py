"""Random derivations, by the grammar's own probabilities."""

from __future__ import annotations

from random import Random

from searchspace.architecture import Architecture
from searchspace.choose import RandomChooser
from searchspace.derivation import Derivation, DrawError
from searchspace.grammar import Grammar
from searchspace.table import table_of

__all__ = ["DrawError", "sample"]


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
