"""What a quality predictor is, and how one of one's own is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hwprofile.blocks import Costs
from hwprofile.estimate import Estimate
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.shapes import TensorSpec


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a predictor is made with."""

    grammar: Grammar
    """The space that is searched."""
    spec: TensorSpec
    """Input of its networks."""
    costs: Callable[[Architecture], Costs]
    """Traced costs of an architecture: multiply-adds, parameters, memory, operations."""
    quantized: bool = False
    """Whether the blocks' precision schemes are searched."""


class Predictor(Protocol):
    """Says what an architecture would be worth; larger is better.

    A predictor is constructed with a `Context`. It is called from one thread. With data, `fit` is
    called before `predict`, each time with everything that was judged; without, it never is.
    """

    def fit(self, architectures: Sequence[Architecture], values: Sequence[float]) -> None:
        """Learn from architectures and their measured values (accuracy, in 0..1)."""

    def predict(self, architectures: Sequence[Architecture]) -> Sequence[Estimate]:
        """One estimate for each architecture, in order; must not depend on earlier calls."""
