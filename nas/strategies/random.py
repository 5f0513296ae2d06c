"""Independent draws by the grammar's own probabilities: the baseline of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from nas.strategies.base import Problem
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.sample import sample

_PATIENCE = 200


class RandomStrategy:
    """Draws from the grammar; nothing twice."""

    def __init__(self, problem: Problem, *, rows: bool = False) -> None:
        """Begin to draw.

        Args:
            rows: every row repeats one block, see `searchspace.sample.sample`.
        """
        self._rows = rows
        self._problem = problem
        self._random = Random(problem.seed)
        self._seen: set[str] = set()
        self._first = list(problem.seeds)

    def ask(self, n: int) -> Sequence[Architecture]:
        """At most `n` new draws; fewer when draws bring nothing new 200 times in a row."""
        found: list[Architecture] = []
        misses = 0
        while len(found) < n and misses < _PATIENCE:
            architecture = self._next()
            identity = self._problem.identity(architecture)
            if identity in self._seen:
                misses += 1
                continue
            misses = 0
            self._seen.add(identity)
            found.append(architecture)
        return found

    def _next(self) -> Architecture:
        if self._first:
            return self._first.pop(0)
        return sample(self._problem.grammar, self._random, rows=self._rows)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learns nothing."""
