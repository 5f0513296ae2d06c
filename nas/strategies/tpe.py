"""Optuna's tree-structured Parzen estimator over the draws of a derivation.

Bergstra et al. (2011), in Optuna's multi-objective form with constraints. To keep the number of
parameters within what the estimator can learn, copies of a rule under `^` are the same draw: the
strategy searches the part of the space in which every row repeats one block.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from nas.strategies.base import Problem
from nas.trial import Trial
from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.grammar import Alternative, Drawn, Item, Scalar, evaluate
from searchspace.sample import DEEPEST
from searchspace.tree import PRIMITIVE, Node, Value

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
        root = _Derivation(self._problem, trial).rule(self._problem.grammar.start, (), "")
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


class _Derivation:
    """One derivation whose every draw is a parameter of an Optuna trial, named by its place."""

    def __init__(self, problem: Problem, trial: optuna.Trial) -> None:
        self._grammar, self._trial = problem.grammar, trial

    def rule(self, symbol: str, arguments: Sequence[Value], place: str, depth: int = 0) -> Node:
        rule = self._grammar.rules[symbol]
        fits = [i for i, a in enumerate(rule.alternatives) if draws.count(a, arguments)]
        height = DEEPEST - depth
        low = [i for i in fits if rule.heights[i] <= height] or [
            min(fits, key=lambda i: rule.heights[i])
        ]
        index = int(self.choose(f"{place}{symbol}", low))
        alternative = rule.alternatives[index]
        where = f"{place}{symbol}:{index}."
        scope = self.variables(alternative, arguments, where)
        children = tuple(
            self.group(item, scope, f"{where}{i}.", depth + 1)
            for i, item in enumerate(alternative.items)
        )
        scheme = ""
        if rule.is_block:
            scheme = str(self.choose(f"{where}scheme", self._grammar.schemes))
        return Node(symbol, index, scope, children, scheme)

    def variables(
        self, alternative: Alternative, arguments: Sequence[Value], where: str
    ) -> tuple[Value, ...]:
        scope = tuple(arguments)
        for index, (name, _) in enumerate(alternative.draws):
            options = draws.options(alternative, len(arguments), index, scope)
            scope = (*scope, self.choose(f"{where}{name}", [value for value, _ in options]))
        return scope

    def group(self, item: Item, scope: Sequence[Value], where: str, depth: int) -> tuple[Node, ...]:
        if item.repeat is None:
            return (self.one(item, scope, where, depth),)
        count = self.scalar(item.repeat.count, scope, f"{where}count")
        assert isinstance(count, int)
        return (self.one(item, scope, where, depth),) * count

    def one(self, item: Item, scope: Sequence[Value], where: str, depth: int) -> Node:
        values = tuple(
            self.scalar(scalar, scope, f"{where}{item.symbol}.{i}")
            for i, scalar in enumerate(item.scalars)
        )
        if not item.is_primitive:
            return self.rule(item.symbol, values, where, depth)
        children = tuple(
            tuple(
                self.one(inner, scope, f"{where}{g}.{i}.", depth + 1)
                for i, inner in enumerate(sequence)
            )
            for g, sequence in enumerate(item.groups)
        )
        return Node(item.symbol, PRIMITIVE, values, children)

    def scalar(self, scalar: Scalar, scope: Sequence[Value], name: str) -> Value:
        if isinstance(scalar, Drawn):
            return self.choose(name, scalar.domain.values)
        return evaluate(scalar, scope)

    def choose(self, name: str, options: Sequence[Value]) -> Value:
        """One of the options, by its rank: ordered options keep their order for the estimator.

        Which options there are may depend on earlier draws, so the parameter is the rank as a
        share of their number, whose range never changes.
        """
        if len(options) == 1:
            return options[0]
        share = self._trial.suggest_float(name, 0.0, 1.0)
        return options[min(int(share * len(options)), len(options) - 1)]
