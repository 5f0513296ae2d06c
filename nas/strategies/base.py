"""The interface of a search strategy: ask and tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from nas.objectives import Objective
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar


def tree_key(architecture: Architecture) -> str:
    """The key of the tree, which tells all trees apart."""
    return architecture.key


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a strategy may know."""

    grammar: Grammar
    """The space."""
    objectives: tuple[Objective, ...]
    """What to optimise."""
    seed: int
    """Decides every random choice of the strategy."""
    evaluations: int
    """How many candidates will be evaluated in all."""
    seeds: tuple[Architecture, ...] = ()
    """Architectures worth proposing first."""
    identity: Callable[[Architecture], str] = tree_key
    """Equal for architectures that are one and the same network: one of them is enough."""


class Strategy(Protocol):
    """Proposes candidates and hears what became of them.

    A strategy never evaluates, times, writes or prints. Its proposals must follow from its problem
    and the trials it was told, and from nothing else: a stopped run is resumed by asking a new
    strategy again and telling it the recorded trials, so what it keeps need not be stored.
    """

    def ask(self, n: int) -> Sequence[Architecture]:
        """At most `n` candidates that it has not proposed before; none when it has no more.

        One whose `Problem.identity` is that of an earlier one is not evaluated: it is told the
        earlier one's outcome.
        """

    def tell(self, trials: Sequence[Trial]) -> None:
        """Outcomes of all candidates of the last `ask`, in the order they were proposed."""
