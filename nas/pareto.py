"""What nothing dominates."""

from __future__ import annotations

from collections.abc import Sequence

from nas.objectives import Objective
from nas.trial import Trial

Front = tuple[Trial, ...]
"""Trials of which none dominates another, best first by the first objective."""


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Front:
    """The feasible trials that no other feasible trial dominates.

    A trial dominates another if it is nowhere worse and somewhere better. Of equal trials the one
    with the smallest key stays, so the front does not depend on the order of the trials.
    """
    ranked = sorted(
        (trial for trial in trials if trial.status == "feasible"),
        key=lambda trial: (trial.losses(objectives), trial.architecture.key),
    )
    front: list[Trial] = []
    kept: list[tuple[float, ...]] = []
    for trial in ranked:
        losses = trial.losses(objectives)
        # Sorted by losses, so whatever dominates or equals this trial comes before it.
        if not any(all(a <= b for a, b in zip(other, losses, strict=True)) for other in kept):
            front.append(trial)
            kept.append(losses)
    return tuple(front)
