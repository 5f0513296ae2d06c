"""What a search optimises: a name, a unit and a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One quantity of a trial that should be as large or as small as can be."""

    name: str
    """Key in `Trial.values`."""
    unit: str
    """Unit, for people; empty for a bare number."""
    direction: Literal["maximize", "minimize"]
    """Which way is better."""

    def loss(self, value: float) -> float:
        """The value as something to minimise."""
        return -value if self.direction == "maximize" else value


SCORE = Objective(name="score", unit="", direction="maximize")
ACCURACY = Objective(name="accuracy", unit="", direction="maximize")
LATENCY = Objective(name="latency_ms", unit="ms", direction="minimize")
