"""Trees to trials, the cheapest check first.

Costs and latency are looked up block by block; only a candidate that keeps every constraint is
scored by the quality predictor and, where there are data, judged on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hwprofile.blocks import BlockTable, Costs
from hwprofile.estimate import Estimate
from nas.trial import Trial
from predictors.base import Predictor
from predictors.entropy import EntropyPredictor
from predictors.latency import LatencyPredictor
from searchspace.architecture import Architecture
from searchspace.shapes import ShapeError, vector
from searchspace.tree import Node

Judge = Callable[[Sequence[Node]], Iterator[tuple[int, float | str]]]
"""Judges trees on data: yields (position, accuracy in 0..1, or what went wrong), in any order."""


class PredictorFault(RuntimeError):
    """A quality predictor raised, or returned something that is not one number each."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Constraints on a candidate; None where there is none."""

    budget_ms: float | None = None
    """On the upper end of the predicted latency, in milliseconds."""
    max_params: int | None = None
    """On the number of parameters."""
    max_macs: int | None = None
    """On the multiply-adds for one image."""
    max_memory: int | None = None
    """On the peak activation memory for the batch, in bytes."""
    max_weights: int | None = None
    """On the bytes of all weights as stored."""
    max_effectiveness: float | None = None
    """On DeepMAD's effectiveness."""

    def violations(self, values: Mapping[str, float]) -> dict[str, float]:
        """For every constraint, by how much of the bound it is exceeded; 0 where it holds."""
        limits = {
            "high_ms": self.budget_ms,
            "params": self.max_params,
            "macs": self.max_macs,
            "peak_bytes": self.max_memory,
            "weight_bytes": self.max_weights,
            "effectiveness": self.max_effectiveness,
        }
        return {
            name: max(0.0, values[name] / limit - 1.0)
            for name, limit in limits.items()
            if limit is not None
        }


class Evaluator:
    """Evaluates candidates of one space on one target.

    Args:
        table: traced costs.
        latency: prices them.
        entropy: DeepMAD's score, for the effectiveness bound.
        quality: scores what keeps the bounds.
        bounds: the constraints.
        judge: judges on data, if there are data.
        classes: size of the output that every network must have; None for any output.
    """

    def __init__(
        self,
        *,
        table: BlockTable,
        latency: LatencyPredictor,
        entropy: EntropyPredictor,
        quality: Predictor,
        bounds: Bounds,
        judge: Judge | None = None,
        classes: int | None = None,
    ) -> None:
        self.table, self.latency, self.entropy = table, latency, entropy
        self.quality, self.bounds, self.judge = quality, bounds, judge
        self.classes = classes

    def costs(self, architecture: Architecture) -> Costs:
        """Traced costs of a candidate."""
        return self.table.costs(architecture.root)

    def evaluate(self, first: int, architectures: Sequence[Architecture]) -> Iterator[Trial]:
        """The trials of some candidates, numbered from `first`; judged ones as they finish.

        Raises:
            PredictorFault: the quality predictor does not do what it must.
        """
        checked = self._checked(first, architectures)
        scores = self._scores([t.architecture for t in checked if t.status != "failed"])
        trials = [self._scored(trial, scores) for trial in checked]
        if self.judge is None:
            yield from trials
            return
        waiting = [trial for trial in trials if trial.status == "feasible"]
        yield from (trial for trial in trials if trial.status != "feasible")
        for position, accuracy in self.judge([t.architecture.root for t in waiting]):
            yield _judged(waiting[position], accuracy)

    def check(self, number: int, architecture: Architecture) -> Trial:
        """The trial of a candidate as far as its costs tell: not yet scored."""
        (trial,) = self._checked(number, [architecture])
        return trial

    def _checked(self, first: int, architectures: Sequence[Architecture]) -> list[Trial]:
        traced: dict[int, Costs] = {}
        trials: dict[int, Trial] = {}
        for number, architecture in enumerate(architectures, start=first):
            try:
                costs = self.costs(architecture)
                self._keeps_promise(costs)
                traced[number] = costs
            except ShapeError as fault:
                trials[number] = Trial(
                    number=number, architecture=architecture, status="failed", reason=str(fault)
                )
        latencies = self.latency.latencies(list(traced.values()))
        for (number, costs), latency in zip(traced.items(), latencies, strict=True):
            trials[number] = self._trial(number, architectures[number - first], costs, latency)
        return [trials[number] for number in sorted(trials)]

    def _trial(
        self, number: int, architecture: Architecture, costs: Costs, latency: Estimate
    ) -> Trial:
        values = {
            "latency_ms": latency.value,
            "low_ms": latency.low,
            "high_ms": latency.high,
            "macs": costs.macs,
            "params": costs.params,
            "peak_bytes": costs.peak_bytes,
            "weight_bytes": costs.weight_bytes,
            "effectiveness": self.entropy.entropy(costs).effectiveness,
        }
        violations = self.bounds.violations(values)
        exceeded = [name for name, by in violations.items() if by > 0]
        return Trial(
            number=number,
            architecture=architecture,
            status="infeasible" if exceeded else "feasible",
            values=values,
            violations=violations,
            reason=f"exceeds the bound on {', '.join(exceeded)}" if exceeded else "",
        )

    def learn(self, trials: Sequence[Trial]) -> None:
        """Fit the quality predictor to everything that was judged on data.

        Raises:
            PredictorFault: it raised.
        """
        judged = [trial for trial in trials if "accuracy" in trial.values]
        if judged:
            accuracies = [trial.values["accuracy"] for trial in judged]
            with self._foreign():
                self.quality.fit([trial.architecture for trial in judged], accuracies)

    @contextmanager
    def _foreign(self) -> Iterator[None]:
        """Run foreign code: any fault is told with the predictor's name, none is hidden."""
        try:
            yield
        except Exception as fault:
            name = type(self.quality).__qualname__
            raise PredictorFault(
                f"the predictor {name} failed: {type(fault).__name__}: {fault}"
            ) from fault

    def _keeps_promise(self, costs: Costs) -> None:
        """Raise unless the network's output is what the space's first line says."""
        out = costs.blocks[-1].left if costs.blocks else self.table.spec
        if self.classes is not None and out != vector(self.classes):
            raise ShapeError(
                f"the space promises classes[{self.classes}], but the network gives {out}: end the "
                "first rule with a classifier"
            )

    def _scores(self, architectures: Sequence[Architecture]) -> dict[str, float]:
        """Scores by key. Candidates out of bounds are scored too, to lead a search back."""
        if not architectures:
            return {}
        with self._foreign():
            estimates = self.quality.predict(architectures)
            scores = [float(estimate.value) for estimate in estimates]
        if len(scores) != len(architectures):
            raise PredictorFault(
                f"the predictor {type(self.quality).__qualname__} must give one estimate for each "
                f"of {len(architectures)} architectures; it gave {len(scores)}"
            )
        return {a.key: score for a, score in zip(architectures, scores, strict=True)}

    @staticmethod
    def _scored(trial: Trial, scores: Mapping[str, float]) -> Trial:
        if trial.status == "failed":
            return trial
        score = scores[trial.architecture.key]
        finite = math.isfinite(score)
        return Trial(
            number=trial.number,
            architecture=trial.architecture,
            status=trial.status if finite else "failed",
            values={**trial.values, "score": score} if finite else trial.values,
            violations=trial.violations,
            reason=trial.reason if finite else f"the predicted quality is {score}",
        )


def _judged(trial: Trial, accuracy: float | str) -> Trial:
    if not isinstance(accuracy, str) and not math.isfinite(accuracy):
        accuracy = f"the accuracy is {accuracy}"
    if isinstance(accuracy, str):
        return replace(trial, status="failed", reason=accuracy)
    return replace(trial, values={**trial.values, "accuracy": float(accuracy)})
