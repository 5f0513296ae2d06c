"""Choices: what is asked in a derivation, and in which order the options are offered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar

from searchspace.grammar import Domain

_V = TypeVar("_V")
_NEAR = 4
"""Integers that a small step chooses from."""

Place = tuple[object, ...]
"""Where something is chosen: the place of the parent, then a label."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be chosen."""

    kind: str
    """`alternative`, `variable`, `argument`, `count` or `scheme`."""
    place: Place
    """Where; alike in trees that took the same way there."""
    domain: Domain | None = None
    """What the value is drawn from, if it is a domain."""


class Chooser(Protocol):
    """Decides in which order options are offered; the first that can be completed is taken."""

    def order(
        self,
        question: Question,
        options: Sequence[_V],
        weights: Sequence[float] | None,
        current: _V | None,
    ) -> Iterator[_V]:
        """The options, each once.

        Args:
            question: what is to be chosen.
            options: two values or more.
            weights: how likely each is; None: all alike.
            current: the value that shall change; not among the options.
        """
        ...


class RandomChooser:
    """Offers options in random order, so that the first that fits is drawn by its weight."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def order(
        self,
        question: Question,
        options: Sequence[_V],
        weights: Sequence[float] | None,
        current: _V | None,
    ) -> Iterator[_V]:
        """See `Chooser`.

        Of many integers that shall change, half of the orders begin with the four nearest to the
        current one, so that a search can also take small steps.
        """
        left = list(options)
        if len(left) > _NEAR and isinstance(current, int) and self._random.random() < 0.5:
            near = _nearest(left, current)[:_NEAR]
            self._random.shuffle(near)
            yield from near
            left = [value for value in left if value not in near]
        if weights is None or len(set(weights)) == 1:
            while left:
                yield left.pop(self._random.randrange(len(left)))
            return
        odds = list(weights)
        while left:
            (index,) = self._random.choices(range(len(left)), odds)
            odds.pop(index)
            yield left.pop(index)


class InOrder:
    """Offers options as the grammar lists them; integers by their distance from a wanted one.

    Args:
        wanted: by domain, the integer whose nearest values come first.
    """

    def __init__(self, wanted: Mapping[str, int] | None = None) -> None:
        self._wanted = wanted or {}

    def order(
        self,
        question: Question,
        options: Sequence[_V],
        weights: Sequence[float] | None,
        current: _V | None,
    ) -> Iterator[_V]:
        """See `Chooser`."""
        goal = self._wanted.get(question.domain.name) if question.domain else None
        return iter(options if goal is None else _nearest(options, goal))


def _nearest(options: Sequence[_V], goal: int) -> list[_V]:
    """The options, integers by their distance from the goal."""
    return sorted(options, key=lambda value: abs(value - goal) if isinstance(value, int) else 0)


def ordered(
    chooser: Chooser,
    question: Question,
    options: Sequence[_V],
    weights: Sequence[float] | None = None,
    current: _V | None = None,
    change: bool = False,
) -> Iterator[_V]:
    """The options in the order they are offered.

    Args:
        chooser: orders what is left to choose from.
        question: what is chosen.
        options: each once.
        weights: how likely each is; None: all alike.
        current: the guide's; comes first if it is among the options.
        change: let `current` come last instead.
    """
    kept = [option for option in options if option == current] if current is not None else []
    rest = [option for option in options if option != current] if kept else options
    if kept and weights is not None:
        odds = zip(weights, options, strict=True)
        weights = [weight for weight, option in odds if option != current]
    if not change:
        yield from kept
    if len(rest) == 1:
        yield rest[0]
    elif rest:
        yield from chooser.order(question, rest, weights, current if change else None)
    if change:
        yield from kept
