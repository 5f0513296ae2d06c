"""What every solver may be asked: how near, how long, where it begins and what does not count.

The keywords are declared once, as typed dictionaries that signatures unpack (PEP 692), and their
defaults once, in the records that solvers read them from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypedDict

from nas.solver.programme import Design
from nas.solver.solution import Progress

Listener = Callable[[Progress], None]


class Effort(TypedDict, total=False):
    """Keywords of what solves one programme or several; see `Within` for their defaults."""

    gap: float
    """Stop where (bound - score) / score is proven to be at most this."""
    seconds: float
    """Stop after about this long, with the gap that was reached."""
    listen: Listener | None
    """Hears of the progress."""


class Options(Effort, total=False):
    """Keywords of every solver; see `Asked` for their defaults."""

    seeds: Iterable[Design]
    """Designs to begin with."""
    without: Iterable[Design]
    """Designs that do not count, as if they were not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """`Effort`, with what they are where they are left out."""

    gap: float = 1e-3
    seconds: float = 60.0
    listen: Listener | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Within):
    """`Options`, with what they are where they are left out."""

    seeds: Iterable[Design] = ()
    without: Iterable[Design] = ()
