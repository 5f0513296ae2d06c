"""No search at all: the designs that a solver found, with its proof."""

from __future__ import annotations

from collections.abc import Sequence

from nas.strategies.base import Problem
from nas.trial import Trial
from searchspace.architecture import Architecture


class SolveStrategy:
    """Proposes what `nas.solver.design` found, the best first, and nothing else."""

    def __init__(self, problem: Problem) -> None:
        self._left = list(dict.fromkeys(problem.seeds))

    def ask(self, n: int) -> Sequence[Architecture]:
        """The next `n` designs; none when all were proposed."""
        part, self._left = self._left[:n], self._left[n:]
        return part

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learns nothing."""
