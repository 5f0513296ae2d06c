"""The loop of a run: ask, evaluate, record, tell; and what follows when it ends.

A run that was stopped is resumed by replay: the strategy is asked again from the start, candidates
that the record holds are told from it, and only the others are evaluated. Strategies depend on
nothing but their problem and what they are told, so the front is that of a run never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nas.assemble import Parts
from nas.fastest import fastest
from nas.objectives import Objective
from nas.pareto import Front, pareto_front
from nas.record import Record
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.sample import DrawError

GENERATION = 100
"""Candidates asked for at once where evaluating them is cheap."""


class StrategyFault(RuntimeError):
    """A strategy raised."""


class NoFeasibleError(RuntimeError):
    """No architecture that was found keeps the constraints."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    """Candidates with an outcome."""
    total: int
    """Candidates to evaluate."""
    best: Trial | None
    """The best feasible one so far, by the first objective."""
    resumed: int
    """How many of the outcomes were read from the record."""


OnProgress = Callable[[Progress], None]


def first_proposals(parts: Parts) -> tuple[Architecture, ...]:
    """An architecture within the budget, to start from.

    Raises:
        NoFeasibleError: none was found; says the fastest that was.
    """
    budget = parts.config.budget_ms
    evaluator = parts.evaluator

    def high_ms(architecture: Architecture) -> float:
        trial = evaluator.check(0, architecture)
        return trial.values.get("high_ms", float("inf"))

    found, least = fastest(parts.grammar, high_ms, budget or float("inf"))
    if least == float("inf"):
        raise NoFeasibleError(
            f"no architecture of {parts.grammar.name} that was tried can be built: "
            f"{evaluator.check(0, found).reason}"
        )
    if budget is not None and least > budget:
        raise NoFeasibleError(
            f"no architecture of {parts.grammar.name} found meets {budget:g} ms on "
            f"{parts.config.target} at batch {parts.config.batch} and resolution "
            f"{parts.config.resolution}: the fastest takes up to {least:.3g} ms; raise the budget, "
            "or lower --batch or --resolution"
        )
    return (found,)


def run(
    parts: Parts,
    record: Record,
    first: tuple[Architecture, ...],
    on_progress: OnProgress | None = None,
) -> list[Trial]:
    """Evaluate as many candidates as the configuration says; returns all trials in order.

    Args:
        first: what the strategy proposes first: that of `first_proposals`, also on a resume.

    Every trial that cost something is on disk before it is told to the strategy; those that cost
    nothing, a generation at a time.

    Raises:
        StrategyFault: the strategy raised.
        OSError: the record cannot be written; what it held stays.
    """
    known = {trial.architecture.key: trial for trial in record.trials()}
    seen: dict[str, Trial] = {}
    strategy = parts.strategy(first)
    trials: list[Trial] = []
    resumed = 0
    while len(trials) < parts.config.evaluations:
        with _foreign(parts):
            asked = strategy.ask(min(GENERATION, parts.config.evaluations - len(trials)))
        if not asked:
            break
        old = [known[a.key] for a in asked if a.key in known]
        resumed += len(old)
        for trial in old:
            seen.setdefault(parts.identity(trial.architecture), trial)
        fresh = _evaluate(parts, record, len(trials), asked, known, seen)
        outcomes = {trial.architecture.key: trial for trial in (*old, *fresh)}
        told = [outcomes[a.key] for a in asked]
        with _foreign(parts):
            strategy.tell(told)
        trials.extend(told)
        if parts.config.data is not None:
            parts.evaluator.learn(trials)
        if on_progress is not None:
            best = best_of(trials, parts.objectives)
            on_progress(Progress(len(trials), parts.config.evaluations, best, resumed))
    return trials


@contextmanager
def _foreign(parts: Parts) -> Iterator[None]:
    """Run a strategy, which may be foreign code: any fault is told with its name."""
    try:
        yield
    except DrawError:  # the space's fault, told as it is
        raise
    except Exception as fault:
        raise StrategyFault(
            f"the strategy '{parts.config.strategy}' failed: {type(fault).__name__}: {fault}"
        ) from fault


def _evaluate(
    parts: Parts,
    record: Record,
    first: int,
    asked: Sequence[Architecture],
    known: dict[str, Trial],
    seen: dict[str, Trial],
) -> list[Trial]:
    """Evaluate and record the candidates that the record does not hold.

    Of those that are one network, the first is evaluated; the others get its outcome.

    Args:
        seen: outcomes by identity; grows.
    """
    fresh = {a.key: parts.identity(a) for a in asked if a.key not in known}
    if not fresh:
        return []
    numbers = {a.key: first + i for i, a in enumerate(asked)}
    alone: dict[str, Architecture] = {}
    for a in asked:
        if a.key in fresh and fresh[a.key] not in seen:
            alone.setdefault(fresh[a.key], a)
    found, batch = [], []
    for trial in parts.evaluator.evaluate(0, list(alone.values())):
        numbered = replace(trial, number=numbers[trial.architecture.key])
        found.append(numbered)
        batch.append(numbered)
        if parts.evaluator.judge is not None and trial.status != "infeasible":
            # It was judged, which is costly: on disk before the next one is awaited.
            record.append(batch, parts.grammar)
            batch = []
    seen.update((fresh[trial.architecture.key], trial) for trial in found)
    evaluated = {trial.architecture.key for trial in found}
    for a in asked:
        if a.key in fresh and a.key not in evaluated:
            batch.append(_same(seen[fresh[a.key]], a, numbers[a.key]))
            found.append(batch[-1])
    if batch:
        record.append(batch, parts.grammar)
    return found


def _same(trial: Trial, architecture: Architecture, number: int) -> Trial:
    """The trial of an architecture that computes what an evaluated one does."""
    reason = f"computes the same as {trial.architecture.key}"
    if trial.reason:
        reason = f"{reason}: {trial.reason}"
    return replace(trial, architecture=architecture, number=number, reason=reason)


def front_of(parts: Parts, trials: Sequence[Trial]) -> Front:
    """The Pareto front of a finished run, best first.

    Raises:
        NoFeasibleError: no trial keeps all constraints; says how near the nearest came.
    """
    front = pareto_front(trials, parts.objectives)
    if front:
        return front
    tried = [trial for trial in trials if trial.status == "infeasible"]
    if not tried:
        reasons = {trial.reason for trial in trials if trial.reason} or {"none was proposed"}
        raise NoFeasibleError(f"no candidate could be evaluated: {'; '.join(sorted(reasons)[:3])}")
    nearest = min(tried, key=lambda trial: trial.violation)
    exceeded = ", ".join(f"{k} by {v:.1%}" for k, v in nearest.violations.items() if v > 0)
    raise NoFeasibleError(
        f"none of {len(trials)} candidates keeps all constraints; the nearest exceeds {exceeded}: "
        "loosen that bound, or raise --evaluations"
    )


def best_of(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    """The feasible trial with the best first objective; equal ones by the others, then by key."""
    feasible = [trial for trial in trials if trial.status == "feasible"]
    if not feasible:
        return None
    return min(feasible, key=lambda t: (t.losses(objectives), t.architecture.key))
