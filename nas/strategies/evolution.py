"""Multi-objective evolution: pymoo's NSGA-II over derivation trees.

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002). Departures: the
variation operators are those of `searchspace.vary`, an architecture that was proposed once is never
proposed again, the first generation repeats one block in every row, as published networks do, and
constraints are handled by pymoo's feasibility-first comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination

from nas.strategies.base import Problem
from nas.strategies.random import RandomStrategy
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.vary import crossover, mutate

_WORST = 1e30


class EvolutionStrategy:
    """NSGA-II with tree crossover and mutation."""

    def __init__(self, problem: Problem) -> None:
        size = max(8, min(50, problem.evaluations // 10))
        random = Random(problem.seed)
        self._objectives = problem.objectives
        self._algorithm: Any = NSGA2(
            pop_size=size,
            sampling=_Draw(RandomStrategy(problem, rows=True)),
            crossover=_Cross(problem.grammar, random),
            mutation=_Mutate(problem.grammar, random),
            eliminate_duplicates=_Once(problem),
        )
        shape = PymooProblem(n_var=1, n_obj=len(problem.objectives), n_ieq_constr=1)
        self._algorithm.setup(shape, termination=NoTermination(), seed=problem.seed)
        self._generation: Any = None
        self._asked = 0
        self._told: list[Trial] = []

    def ask(self, n: int) -> Sequence[Architecture]:
        """The next `n` of the generation; a new one begins when all of the last were told."""
        if self._generation is None:
            self._generation = self._algorithm.ask()
            self._asked, self._told = 0, []
        if self._generation is None or len(self._generation) == 0:
            return []
        part = self._generation[self._asked : self._asked + n]
        self._asked += len(part)
        return [individual.X[0] for individual in part]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Outcomes of the last `ask`; a whole generation is selected from when it is complete."""
        self._told.extend(trials)
        if self._generation is None or len(self._told) < len(self._generation):
            return
        losses = np.array([trial.losses(self._objectives) for trial in self._told])
        violations = [[_WORST if t.status == "failed" else t.violation] for t in self._told]
        self._generation.set("F", np.where(np.isfinite(losses), losses, _WORST))
        self._generation.set("G", np.array(violations))
        for individual in self._generation:
            individual.evaluated.update({"F", "G"})
        self._algorithm.tell(infills=self._generation)
        self._generation = None


def _column(architectures: Sequence[Architecture]) -> Any:
    """`[n, 1]` objects, pymoo's form of `n` individuals of one variable."""
    column = np.empty((len(architectures), 1), dtype=object)
    for row, architecture in enumerate(architectures):
        column[row, 0] = architecture
    return column


class _Draw(Sampling):  # type: ignore[misc]
    """The first generation: the seeds, then draws from the grammar."""

    def __init__(self, source: RandomStrategy) -> None:
        super().__init__()
        self._source = source

    def _do(self, problem: Any, n_samples: int, *args: Any, **kwargs: Any) -> Any:
        return _column(self._source.ask(n_samples))


class _Cross(Crossover):  # type: ignore[misc]
    """One child of two parents."""

    def __init__(self, grammar: Grammar, random: Random) -> None:
        super().__init__(n_parents=2, n_offsprings=1, prob=0.7)
        self._grammar, self._random = grammar, random

    def _do(self, problem: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        children = [crossover(self._grammar, a, b, self._random) for a, b in X[:, :, 0].T]
        return _column(children)[None]


class _Mutate(Mutation):  # type: ignore[misc]
    """Every child drawn anew at a site or a few."""

    def __init__(self, grammar: Grammar, random: Random) -> None:
        super().__init__()
        self._grammar, self._random = grammar, random

    def _do(self, problem: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        return _column([mutate(self._grammar, parent, self._random) for parent in X[:, 0]])


class _Once(DuplicateElimination):  # type: ignore[misc]
    """Drops what any earlier generation held, and repetitions within this one."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._identity = problem.identity
        self._seen: set[str] = set()

    def do(self, pop: Any, *others: Any, **kwargs: Any) -> Any:
        """The individuals that are new; they count as seen from now on."""
        fresh = []
        for index, individual in enumerate(pop):
            identity = self._identity(individual.X[0])
            if identity not in self._seen:
                self._seen.add(identity)
                fresh.append(index)
        return pop[fresh]
