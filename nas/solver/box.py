"""Boxes: parts of a programme's designs, and how one is cut in two."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.solver.programme import Array, Design, Programme, Step

Range = tuple[int, int]
"""First and last, both included."""
_KINDS = ("copies", "targets", "modes")
"""Numbers of copies are cut first: all else varies little once the depths are known."""


@dataclass(frozen=True, slots=True)
class Box:
    """All designs whose choices lie in ranges; one of each for every layer."""

    targets: tuple[Range, ...]
    modes: tuple[Range, ...]
    copies: tuple[Range, ...]
    summed: tuple[int, ...]
    """Layers whose copies have bounds together: those at which the penalty looks, or all."""
    total: Range
    """What these copies add up to."""

    def holds(self, design: Design) -> bool:
        """Whether a design is in the box."""
        return self.total[0] <= self.sum_of(design) <= self.total[1] and all(
            low <= value <= high
            for kind in _KINDS
            for (low, high), value in zip(getattr(self, kind), values(design, kind), strict=True)
        )

    def sum_of(self, design: Design) -> int:
        """The copies of a design that have bounds together."""
        return sum(design[index].copies for index in self.summed)

    def extent(self) -> Range:
        """What these copies could add up to by the range of each alone."""
        least, most = zip(*(self.copies[index] for index in self.summed), strict=True)
        return sum(least), sum(most)

    def single(self, mixed: Collection[int] = ()) -> bool:
        """Whether no two designs of it differ, but for the modes of `mixed` layers."""
        return not any(length for length, _, _ in self._lengths(mixed))

    def first(self) -> Design:
        """The design with the first of each range, whether or not their total is in the box."""
        sources = (0, *(low for low, _ in self.targets))
        ranges = zip(sources, self.targets, self.modes, self.copies, strict=False)
        return tuple(Step(a, b[0], m[0], n[0]) for a, b, m, n in ranges)

    def _lengths(self, mixed: Collection[int]) -> Iterator[tuple[int, str, int]]:
        for kind in _KINDS:
            for index, (low, high) in enumerate(getattr(self, kind)):
                if kind != "modes" or index not in mixed:
                    yield high - low, kind, index

    def cut(
        self,
        designs: Sequence[Design],
        weights: Sequence[float],
        mixed: Collection[int] = (),
        few: float = math.inf,
    ) -> tuple[Box, Box]:
        """Two boxes that share nothing, cut where weighted designs of this box disagree most.

        The total is cut first, while it spans `few` or more: it decides what depth costs.

        Where they agree on everything, the longest range is halved. The modes of `mixed` layers,
        whose copies may be of several, are never cut. Designs outside the box say nothing.
        """
        here = [index for index, design in enumerate(designs) if self.holds(design)]
        designs, weights = [designs[i] for i in here], [weights[i] for i in here]
        totals = [self.sum_of(design) for design in designs]
        if self.total[1] - self.total[0] >= few:
            middle = np.average(totals, weights=weights) if designs else sum(self.total) / 2
            return self._parted(int(min(max(middle // 1, self.total[0]), self.total[1] - 1)))
        for kind in _KINDS if designs else ():
            ranges: tuple[Range, ...] = getattr(self, kind)
            table = np.array([values(design, kind) for design in designs], dtype=float)
            mean = np.average(table, axis=0, weights=weights)
            spread = np.average((table - mean) ** 2, axis=0, weights=weights)
            if kind == "modes":
                spread[list(mixed)] = 0.0
            index = int(np.argmax(spread))
            if spread[index] > 1e-9:
                low, high = ranges[index]
                return self._halves(kind, index, int(min(max(mean[index] // 1, low), high - 1)))
        length, kind, index = max(self._lengths(mixed))
        if not length:
            raise ValueError("a box of one design cannot be cut")
        return self._halves(kind, index, sum(getattr(self, kind)[index]) // 2)

    def shrunk(
        self, states: Sequence[Array], modes: Sequence[Array], goal: float
    ) -> tuple[Box, float]:
        """The box without each layer's first and last choices that no better design has.

        Args:
            states: `[B]`, bounds by target state.
            modes: `[M]`, bounds by mode.
            goal: the bound up to which a choice need not be kept.

        Returns:
            It, and the largest bound of what it lacks.
        """
        places = [np.flatnonzero(bounds > goal) for bounds in (*states, *modes)]
        ranges = [
            (low + int(kept[0]), low + int(kept[-1]))
            for (low, _), kept in zip((*self.targets, *self.modes), places, strict=True)
        ]
        dropped = [float(b[b <= goal].max(initial=-math.inf)) for b in (*states, *modes)]
        count = len(self.targets)
        found = replace(self, targets=tuple(ranges[:count]), modes=tuple(ranges[count:]))
        return found, max(dropped)

    def _halves(self, kind: str, index: int, middle: int) -> tuple[Box, Box]:
        ranges: tuple[Range, ...] = getattr(self, kind)
        low, high = ranges[index]
        before, after = ranges[:index], ranges[index + 1 :]
        first = (*before, (low, middle), *after)
        second = (*before, (middle + 1, high), *after)
        parts = [replace(self, **{kind: part}) for part in (first, second)]  # type: ignore[arg-type]
        return parts[0]._propagated(), parts[1]._propagated()

    def _parted(self, middle: int) -> tuple[Box, Box]:
        low, high = self.total
        return (
            replace(self, total=(low, middle))._propagated(),
            replace(self, total=(middle + 1, high))._propagated(),
        )

    def _propagated(self) -> Box:
        """The same designs, in the smallest ranges of copies and their total."""
        least, most = self.extent()
        low, high = max(self.total[0], least), min(self.total[1], most)
        copies = tuple(
            (max(first, low - most + last), min(last, high - least + first))
            if index in self.summed
            else (first, last)
            for index, (first, last) in enumerate(self.copies)
        )
        return replace(self, copies=copies, total=(low, high))


def whole(programme: Programme) -> Box:
    """The box of all designs."""
    box = Box(
        targets=tuple((0, layer.shape[1] - 1) for layer in programme.layers),
        modes=tuple((0, layer.shape[2] - 1) for layer in programme.layers),
        copies=tuple(layer.copies for layer in programme.layers),
        summed=tuple(programme.counted or range(len(programme.layers))),
        total=(0, 0),
    )
    return replace(box, total=box.extent())


def values(design: Design, kind: str) -> list[int]:
    """The choices of one kind, layer by layer."""
    return [_value(step, kind) for step in design]


def _value(step: Step, kind: str) -> int:
    if kind == "copies":
        return step.copies
    return step.target if kind == "targets" else step.mode
