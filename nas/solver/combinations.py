"""The combinations of one layer: how each is derived, what it adds up to, and all in arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nas.solver.policy import Label, Policy
from nas.solver.programme import Again, Array, Layer, Peaks, Sum
from predictors.entropy import height_of
from searchspace.scope import Scope
from searchspace.shapes import TensorSpec
from searchspace.tree import Value

State = tuple[TensorSpec, Scope]
"""What leaves an item, and the variables that are looked at behind it."""
Place = tuple[int, int, int]
"""Source state, target state and mode."""


class ChainError(ValueError):
    """A space, or an alternative of its start, that cannot be stated as a chain of stages."""


class EmptyError(ChainError):
    """Constraints that nothing keeps."""


class ScaleError(ChainError):
    """A layer at whose entrance the resolution falls in some forms and not in others."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a layer's combination is derived."""

    spec: TensorSpec
    scope: Scope
    policy: Policy
    base: int | None
    """The first count; None where nothing is counted."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What some blocks add up to."""

    entropy: float
    log_width: float
    convs: float
    costs: tuple[float, ...]
    counted: int
    """Blocks that count to the depth of a stage."""
    heights: frozenset[int]
    """Heights that leave the blocks; none where vectors do."""
    peak_bytes: int
    """Peak activation memory of the largest block."""

    def less(self, other: Attributes) -> Attributes:
        """What this has beyond another."""
        return Attributes(
            self.entropy - other.entropy,
            self.log_width - other.log_width,
            self.convs - other.convs,
            tuple(a - b for a, b in zip(self.costs, other.costs, strict=True)),
            self.counted - other.counted,
            self.heights,
            self.peak_bytes,
        )

    def figures(self) -> list[float]:
        """Entropy, convolutions, costs."""
        return [self.entropy, self.convs, *self.costs]


class WayTable(dict[Place, Way]):
    """How each combination is derived."""

    def places(self, source: int) -> Iterator[Place]:
        """Combinations that begin in a state."""
        return (place for place in self if place[0] == source)

    def modes(self, source: int, target: int) -> list[int]:
        """Modes that lead from one state to another."""
        return [mode for a, b, mode in self if (a, b) == (source, target)]


class Combinations:
    """The combinations of a layer, before they stand in arrays."""

    def __init__(self, name: str, sources: int) -> None:
        self.name, self.sources = name, sources
        self.targets: dict[State, int] = {}
        self.modes: dict[tuple[frozenset[tuple[Label, object]], int], int] = {}
        self.ways = WayTable()
        self.first: dict[Place, Attributes] = {}
        self.more: dict[tuple[int, int], tuple[Attributes, int]] = {}
        self.entered: dict[int, TensorSpec] = {}
        self.left_out: list[str] = []
        """Kinds that are not among them, and why."""

    def add(
        self,
        source: int,
        state: State,
        policy: Policy,
        way: Way,
        first: Attributes,
    ) -> tuple[int, int]:
        """Another combination; alike ones from one state to another become modes of their own.

        Returns:
            Its target state and mode.
        """
        target = self.targets.setdefault(state, len(self.targets))
        self.entered[source] = way.spec
        copy = 0
        while True:
            key = (frozenset(policy.items()), copy)
            mode = self.modes.setdefault(key, len(self.modes))
            if (source, target, mode) not in self.ways:
                break
            copy += 1
        self.ways[source, target, mode] = way
        self.first[source, target, mode] = first
        return target, mode

    @property
    def counts(self) -> bool:
        """Whether some block counts to the depth of a stage."""
        return any(a.counted for a in self.first.values()) or any(
            a.counted for a, _ in self.more.values()
        )

    def heights(self) -> set[int]:
        """Heights that leave."""
        return {height for a in self.first.values() for height in a.heights}

    def falls(self) -> bool:
        """Whether this layer's height is another than what leaves the one before it.

        Raises:
            ScaleError: for some combinations it is, for others not.
        """
        found = set()
        for (source, _, _), attributes in self.first.items():
            for height in attributes.heights:
                found.add(height != height_of(self.entered[source]))
        if len(found) > 1:
            raise ScaleError(
                f"the resolution falls in some forms of '{self.name}' and not in others"
            )
        return found == {True}

    def layer(self, resources: int, *, weight: float | None, counted: bool) -> Layer:
        """The layer in arrays."""
        shape = (self.sources, len(self.targets), len(self.modes))
        allowed = np.full(shape, -math.inf)
        tables = np.zeros((4 + resources, *shape))
        for place, attributes in self.first.items():
            allowed[place] = 0.0
            tables[(slice(None), *place)] = [
                attributes.entropy,
                attributes.log_width,
                attributes.convs,
                attributes.counted,
                *attributes.costs,
            ]
        again, copies = None, (0, 0)
        if self.more:
            copies = (0, min(most for _, most in self.more.values()))
            again = self._again(resources, shape)
            # What cannot be repeated has no further copies for free: it is no mode of this layer.
            repeats = np.zeros(shape[1:], dtype=bool)
            for here in self.more:
                repeats[here] = True
            allowed[:, ~repeats] = -math.inf
        volume = None
        if weight is not None:
            volume = np.array([weight * log_volume(spec) for spec, _ in self.targets])
        return Layer(
            name=self.name,
            shape=shape,
            entropy=Sum(whole=tables[0]),
            log_width=Sum(whole=tables[1]),
            convs=Sum(whole=tables[2]),
            blocks=Sum(whole=tables[3]) if counted else Sum(),
            costs=tuple(Sum(whole=table) for table in tables[4:]),
            allowed=Sum(whole=allowed),
            again=again,
            copies=copies,
            counted=counted,
            volume=volume,
        )

    def peaks(self) -> Peaks:
        """What the largest block of each combination needs."""
        shape = (self.sources, len(self.targets), len(self.modes))
        first, again = np.zeros(shape), np.zeros(shape[1:])
        for place, attributes in self.first.items():
            first[place] = attributes.peak_bytes
        for here, (attributes, _) in self.more.items():
            again[here] = attributes.peak_bytes
        return Peaks(first=first, again=again)

    def _again(self, resources: int, shape: tuple[int, int, int]) -> Again:
        entropy, log_width, convs = (np.zeros(shape[1:]) for _ in range(3))
        costs: Array = np.zeros((resources, *shape[1:]))
        for here, (attributes, _) in self.more.items():
            entropy[here] = attributes.entropy
            log_width[here] = attributes.log_width
            convs[here] = attributes.convs
            costs[(slice(None), *here)] = attributes.costs
        return Again(entropy=entropy, log_width=log_width, convs=convs, costs=costs)


def log_volume(spec: TensorSpec) -> float:
    """ln(C H^2) of what leaves a scale."""
    return math.log(spec.channels) + 2 * math.log(max(1, height_of(spec)))


@lru_cache(maxsize=1024)
def spread(values: tuple[Value, ...], most: int) -> tuple[Value, ...]:
    """So many values of a domain at most; integers as even in logarithm as they can be.

    An octave is cut into equal parts, the same in all domains, of which each has its roundest
    number: so widths of unlike domains meet. The first and the last value are always kept.
    """
    numbers = sorted(value for value in values if isinstance(value, int))
    if len(values) <= most or len(numbers) < len(values) or numbers[0] < 1:
        return values
    found: list[int] = []
    for parts in _PARTS:
        bins: dict[int, int] = {}
        for number in numbers:
            place = round(parts * math.log2(number))
            if place not in bins or number & -number > bins[place] & -bins[place]:
                bins[place] = number
        finer = sorted({numbers[0], *bins.values(), numbers[-1]})
        if found and len(finer) > most:
            break
        found = finer
    return tuple(found)


_PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Parts of an octave."""
