"""The scale at which a network comes nearest to what it may cost, and not over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt

from hwprofile.blocks import BlockTable
from hwprofile.estimate import Estimate
from hwprofile.target import Target
from nas.quantities import format_count
from nas.scaling.rules import Rule
from predictors.latency import LatencyPredictor
from searchspace.build import flow
from searchspace.grammar import Grammar
from searchspace.scaled import Factors, OutOfSpaceError, Scaled, fitted, scaled
from searchspace.shapes import ShapeError, image
from searchspace.tree import Node

_STEPS = 60
"""Doublings or halvings until a scale is given up."""
_CLOSE = 1e-6
"""Ratio of two scales, less 1, at which they are one."""
_AROUND, _PITCH = 40, 1.01
"""Scales that are looked at to both sides of a first answer, and their ratio."""
_NEAR = 48
"""Pixels by which an input's size may lie off the wanted one."""


class ScaleError(ValueError):
    """No scale keeps the wanted values, or none comes up to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the network may cost; None where nothing is said. At least one is needed."""

    macs: int | None = None
    """Multiply-adds for one image."""
    params: int | None = None
    """Parameters."""
    budget_ms: float | None = None
    """Upper end of the predicted latency, in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network at one scale."""

    scale: float
    """The rule's parameter; 1 for the network that was given."""
    factors: Factors
    """What it multiplies, before rounding."""
    root: Node
    """The tree."""
    size: int
    """Height and width of the input."""
    macs: int
    """Multiply-adds for one image."""
    params: int
    """Parameters."""
    latency: Estimate | None
    """On the target, in milliseconds; None without one."""
    held: tuple[str, ...] = ()
    """Sizes at the end of their values, as the space has no others: `rule.variable`."""

    def part(self, wanted: Wanted) -> float:
        """The largest part of what is allowed that is used; above 1 it is too much."""
        used = [
            self.macs / wanted.macs if wanted.macs else 0.0,
            self.params / wanted.params if wanted.params else 0.0,
        ]
        if wanted.budget_ms and self.latency is not None:
            used.append(self.latency.high / wanted.budget_ms)
        return max(used)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the programme found."""

    before: Point
    """The network that was given."""
    after: Point
    """The nearest one that costs no more than is wanted."""
    beyond: Point
    """At the next larger scale at which anything changes: it costs more."""


class Programme:
    """One network, one rule.

    Args:
        grammar: the network's space, for its input.
        root: its tree.
        rule: how it scales.
        target: what its latency is predicted for.
        batch: images in one forward pass, for the latency.
        precision: number format, for the latency.
        same_input: whether the input keeps its size.
    """

    def __init__(
        self,
        grammar: Grammar,
        root: Node,
        rule: Rule,
        *,
        target: Target | None = None,
        batch: int = 1,
        precision: str = "fp16",
        same_input: bool = False,
    ) -> None:
        self._grammar, self._root, self._rule = grammar, root, rule
        self._latency = LatencyPredictor(target) if target is not None else None
        self._batch, self._precision = batch, precision
        self._same_input = same_input
        self._at: dict[int, tuple[Grammar, BlockTable]] = {}

    def before(self) -> Point:
        """The network as it is."""
        return self._point(1.0, Factors(), self._root, self._grammar.input.height, ())

    def at(self, scale: float) -> Point:
        """The network at a scale.

        Raises:
            OutOfSpaceError: the space does not hold it.
        """
        factors = self._rule.factors(scale)
        if self._same_input:
            factors = replace(factors, resolution=1.0)
        tree = scaled(self._grammar, self._root, factors)
        root, size = self._placed(tree, factors.resolution)
        return self._point(scale, factors, root, size, tree.held)

    def solve(self, wanted: Wanted) -> Answer:
        """Bisect the scale until what it gives is as near as possible to what is wanted.

        The cost is a step function of the scale, as sizes are rounded; of all networks seen that
        cost no more than is wanted, the one that costs most is taken.

        Raises:
            ScaleError: even the smallest costs too much, or the largest less than is wanted.
        """
        seen: dict[float, Point | None] = {}
        low, _ = self._bracket(wanted, seen)
        # Rounding makes the cost rise and fall by steps: it may cross what is wanted several times.
        for step in range(-_AROUND, _AROUND + 1):
            scale = low * _PITCH**step
            if scale <= self._rule.most:
                seen[scale] = self._try(scale)
        answers = [
            found
            for low, high in pairwise(sorted(seen))
            if _fits(seen[low], wanted) and not _fits(seen[high], wanted)
            for found in self._crossing(low, high, wanted, seen)
        ]
        if not answers:
            largest = max((p for p in seen.values() if p is not None), key=lambda p: p.part(wanted))
            raise ScaleError(_too_much(largest, wanted, self._rule))
        after, beyond = max(answers, key=lambda pair: (pair[0].part(wanted), -pair[0].scale))
        return Answer(before=self.before(), after=after, beyond=beyond)

    def _crossing(
        self, low: float, high: float, wanted: Wanted, seen: Mapping[float, Point | None]
    ) -> Iterator[tuple[Point, Point]]:
        """The last network that fits and the first that costs too much; none at the space's end."""
        below, above = seen[low], seen[high]
        while high / low - 1 > _CLOSE:
            middle = sqrt(low * high)
            point = self._try(middle)
            if _fits(point, wanted):
                low, below = middle, point
            else:
                high, above = middle, point
        if below is not None and above is not None:
            yield below, above

    def _bracket(self, wanted: Wanted, seen: dict[float, Point | None]) -> tuple[float, float]:
        """A scale that fits and a larger one that does not."""
        scale = min(1.0, self._rule.most)
        point = seen[scale] = self._try(scale)
        if point is not None and _fits(point, wanted):
            for _ in range(_STEPS):
                following = min(2 * scale, self._rule.most)
                if following == scale:
                    raise ScaleError(_too_much(point, wanted, self._rule))
                grown = seen[following] = self._try(following)
                if grown is None or grown.part(wanted) > 1:
                    return scale, following
                scale, point = following, grown
            raise ScaleError(_too_much(point, wanted, self._rule))
        for _ in range(_STEPS):
            smaller = scale / 2
            shrunk = seen[smaller] = self._try(smaller)
            if shrunk is None:
                return self._smallest(smaller, scale, wanted, seen)
            if shrunk.part(wanted) <= 1:
                return smaller, scale
            scale = smaller
        raise ScaleError(_too_little(_last(seen), wanted))

    def _smallest(
        self, low: float, high: float, wanted: Wanted, seen: dict[float, Point | None]
    ) -> tuple[float, float]:
        """As `_bracket`, where the space ends at `low` and `high` costs too much."""
        while high / low - 1 > _CLOSE:
            middle = sqrt(low * high)
            point = seen[middle] = self._try(middle)
            if point is None:
                low = middle
            elif point.part(wanted) <= 1:
                return middle, high
            else:
                high = middle
        raise ScaleError(_too_little(_last(seen), wanted))

    def _try(self, scale: float) -> Point | None:
        try:
            return self.at(scale)
        except OutOfSpaceError:
            return None

    def _placed(self, tree: Scaled, resolution: float) -> tuple[Node, int]:
        """The tree in the size of input nearest to the wanted one that serves it."""
        size = self._grammar.input.height
        goal = size * resolution
        sizes = [size] if resolution == 1 else _sizes(goal, self._rule.pixels)
        fault: Exception | None = None
        for size in sizes:
            try:
                flow(tree.root, image(self._grammar.input.channels, size, size))
                return fitted(self._grammar_at(size), tree), size
            except (OutOfSpaceError, ShapeError) as found:
                fault = fault or found
        if sizes:
            return fitted(self._grammar_at(sizes[0]), tree), sizes[0]
        raise OutOfSpaceError(f"no input of about {goal:.0f} pixels serves the network: {fault}")

    def _grammar_at(self, size: int) -> Grammar:
        return self._placing(size)[0]

    def _placing(self, size: int) -> tuple[Grammar, BlockTable]:
        found = self._at.get(size)
        if found is None:
            spec = image(self._grammar.input.channels, size, size)
            table = BlockTable(spec, batch=self._batch, precision=self._precision)
            found = self._at[size] = (replace(self._grammar, input=spec), table)
        return found

    def _point(
        self, scale: float, factors: Factors, root: Node, size: int, held: tuple[str, ...]
    ) -> Point:
        costs = self._placing(size)[1].costs(root)
        latency = self._latency.latency(costs) if self._latency is not None else None
        return Point(
            scale=scale,
            factors=factors,
            root=root,
            size=size,
            macs=costs.macs,
            params=costs.params,
            latency=latency,
            held=held,
        )


def _fits(point: Point | None, wanted: Wanted) -> bool:
    return point is not None and point.part(wanted) <= 1


def _sizes(goal: float, step: int) -> list[int]:
    """Multiples of a step around a goal, nearest first."""

    def around() -> Iterator[int]:
        first = int(goal // step) * step
        for away in range(_NEAR // step + 1):
            yield first - away * step
            yield first + (away + 1) * step

    return sorted((n for n in around() if n > 0), key=lambda n: (abs(n - goal), n))


def _last(seen: dict[float, Point | None]) -> Point | None:
    """The network of the smallest scale that the space holds."""
    held = {scale: point for scale, point in seen.items() if point is not None}
    return held[min(held)] if held else None


def _too_much(point: Point, wanted: Wanted, rule: Rule) -> str:
    end = f"the rule '{rule.name}' only shrinks" if rule.most <= 1 else "the space ends there"
    return f"no scale comes up to {_said(wanted)}: the largest has {_costs(point)}, as {end}"


def _too_little(point: Point | None, wanted: Wanted) -> str:
    least = f"the smallest has {_costs(point)}" if point else "the space holds none at all"
    return f"no scale comes down to {_said(wanted)}: {least}, as the space ends there"


def _said(wanted: Wanted) -> str:
    parts = []
    if wanted.macs:
        parts.append(f"{format_count(wanted.macs)} MACs")
    if wanted.params:
        parts.append(f"{format_count(wanted.params)} parameters")
    if wanted.budget_ms:
        parts.append(f"{wanted.budget_ms:.4g} ms")
    return " and ".join(parts)


def _costs(point: Point) -> str:
    text = f"{format_count(point.macs)} MACs and {format_count(point.params)} parameters"
    if point.latency is not None:
        text += f", and takes up to {point.latency.high:.4g} ms"
    return text
