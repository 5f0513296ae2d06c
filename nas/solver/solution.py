"""What every solver answers: a design, what bounds it, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.solver.lagrange import Prices
from nas.solver.mix import Mixed
from nas.solver.programme import Design


class NoDesignError(RuntimeError):
    """No design of the programmes keeps all bounds, or none was found in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a solver is."""

    score: float
    """Of the best design so far; minus infinity before there is one."""
    bound: float
    """No design scores more; minus infinity if there is none."""
    seconds: float
    """Since the solver began."""
    boxes: int
    """Parts of the space that were bounded."""

    @property
    def design_known(self) -> bool:
        """Whether there is a design yet."""
        return self.score > -math.inf

    @property
    def gap(self) -> float:
        """(bound - score) / |score|; infinite before there is a design, 0 if there is none."""
        if self.score == -math.inf:
            return 0.0 if self.bound == -math.inf else math.inf
        return max(0.0, self.bound - self.score) / max(1e-9, abs(self.score))


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A solver's answer."""

    design: Design | None
    """None: none was found; none exists if the bound is minus infinity."""
    progress: Progress
    """Score, bound, gap and time."""
    solver: str
    """Which solver answered."""
    prices: Prices | None = None
    """Prices of the bounds at which the whole space is bounded best."""
    pool: tuple[Design, ...] = ()
    """Feasible designs that were met, the best first; the first is `design`."""
    blend: Mixed | None = None
    """The best design if its copies are of several modes; `design` is then the best without."""
    near: tuple[Design, ...] = ()
    """Designs that the relaxation mixes; they need not be feasible."""
    optimal: bool = False
    """Whether the gap that was asked for is proven; else the time ran out."""
