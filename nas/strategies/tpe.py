"""Optuna's tree-structured Parzen estimator over the draws of a derivation.

Bergstra et al. (2011), in Optuna's multi-objective form with constraints. To keep the number of
parameters within what the estimator can learn, copies of a rule under `^` are the same draw: the
strategy searches the part of the space in which every row repeats one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import optuna

from nas.strategies.base import Problem
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.choose import Question
from searchspace.derivation import Derivation
from searchspace.table import table_of

_V = TypeVar("_V")
_PATIENCE = 50


class TPEStrategy:
    """Proposes by Optuna's TPESampler."""

    def __init__(self, problem: Problem) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._problem = problem
        sampler = optuna.samplers.TPESampler(
            seed=problem.seed,
            n_startup_trials=max(10, min(50, problem.evaluations // 5)),
        )
        directions = [objective.direction for objective in problem.objectives]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._pending: list[optuna.Trial | None] = []
        self._seen: set[str] = set()
        self._first = list(problem.seeds)

    def ask(self, n: int) -> Sequence[Architecture]:
        """At most `n` new candidates; fewer when 50 proposals in a row bring nothing new."""
        found: list[Architecture] = []
        misses = 0
        while len(found) < n and misses < _PATIENCE:
            trial, architecture = self._next()
            identity = self._problem.identity(architecture)
            if identity in self._seen:
                misses += 1
                if trial is not None:
                    self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            misses = 0
            self._seen.add(identity)
            self._pending.append(trial)
            found.append(architecture)
        return found

    def _next(self) -> tuple[optuna.Trial | None, Architecture]:
        """A seed, which no draws of the estimator lead to, or what the estimator proposes."""
        if self._first:
            return None, self._first.pop(0)
        trial = self._study.ask()
        table = table_of(self._problem.grammar)
        root = Derivation(table, _Suggested(trial), rows=True).root()
        return trial, Architecture(space=self._problem.grammar.name, root=root)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Outcomes of the last `ask`, in order; the estimator hears those that it proposed."""
        objectives = self._problem.objectives
        for pending, trial in zip(self._pending, trials, strict=True):
            if pending is None:
                continue
            found = all(objective.name in trial.values for objective in objectives)
            if trial.status == "failed" or not found:
                self._study.tell(pending, state=optuna.trial.TrialState.FAIL)
                continue
            pending.set_constraint("violation", trial.violation)
            self._study.tell(pending, [trial.values[o.name] for o in objectives])
        self._pending = []


class _Suggested:
    """Offers options in the order in which a trial of the estimator ranks them.

    A choice is a parameter of the trial, named by its place. Which options there are may depend on
    earlier choices, so the parameter is the rank as a share of their number, whose range never
    changes. The other options follow by their distance, for where the first cannot be completed.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def order(
        self,
        question: Question,
        options: Sequence[_V],
        weights: Sequence[float] | None,
        current: _V | None,
    ) -> Iterator[_V]:
        """See `searchspace.choose.Chooser`."""
        share = self._trial.suggest_float(f"{question.kind} {_name(question.place)}", 0.0, 1.0)
        rank = min(int(share * len(options)), len(options) - 1)
        yield from (options[i] for i in sorted(range(len(options)), key=lambda i: abs(i - rank)))


def _name(place: object) -> str:
    """A place as text: its labels from the root on."""
    return ".".join(map(_name, place)) if isinstance(place, tuple) else str(place)
