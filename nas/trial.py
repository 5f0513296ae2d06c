"""One candidate and its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nas.objectives import Objective
from searchspace.architecture import Architecture

Status = Literal["feasible", "infeasible", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate and its outcome."""

    number: int
    """Position in the run, from 0."""
    architecture: Architecture
    """The candidate."""
    status: Status
    """`feasible`: all constraints hold. `infeasible`: some do not. `failed`: not evaluated."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What was found, by name: `score`, `latency_ms`, `low_ms`, `high_ms`, `macs`, `params`, …"""
    violations: Mapping[str, float] = field(default_factory=dict)
    """For each constraint, by how much it is exceeded, as a share of the bound; 0 if it holds."""
    reason: str = ""
    """Why it is not feasible, for people."""

    @property
    def violation(self) -> float:
        """Sum of the violations; 0 if all constraints hold."""
        return sum(self.violations.values())

    def losses(self, objectives: Sequence[Objective]) -> tuple[float, ...]:
        """The objectives as values to minimise; infinite where one was not found."""
        return tuple(
            o.loss(self.values[o.name]) if o.name in self.values else float("inf")
            for o in objectives
        )
