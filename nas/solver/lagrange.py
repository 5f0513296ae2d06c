"""Upper bounds on a programme's score by Lagrangian relaxation, exact dynamic programming inside.

The bounds on resources and effectiveness are moved into the objective at a price each. What is left
is a longest path through the layers, but for one coupling: the entropy of a layer counts once for
every scale from it on, with the volumes V of all these scales, which later choices decide. The best
value of the layers up to some state is convex in V (it is the largest of functions linear in V), so
it is kept at a few values of V, and chords between them never lie below it. The bound is valid for
any prices of at least 0.

Effectiveness D / exp(L / D) <= rho, for a depth D and a sum of log-widths L, holds just where
L >= D ln(D / rho). That is convex in D, so any tangent of it is a valid linear relaxation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from nas.solver.box import Box, whole
from nas.solver.evenness import NONE, Ends, Evenness, evenness
from nas.solver.programme import Array, Design, Programme, Step
from nas.solver.worth import Cut, Worth, extremes

POINTS = 4
"""Values of V at which the best values are kept."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What relaxed bounds are worth."""

    resources: Array
    """`[R]`: score for the whole of each resource's bound."""
    scales: Array
    """`[S]`: score for a nat of log-width beyond what the effectiveness needs, by scale."""
    depths: Array
    """`[S]`: depths at which the tangents of the effectiveness touch."""
    evenness: float = 0.0
    """In 0..1: how far `nas.solver.evenness` stands in for the least penalty in the box."""
    spread: float = 0.0
    """The spread of depths at which it touches."""
    totals: tuple[float, float] = (0.0, 0.0)
    """Score for a copy less than the box's least number of them, and for one more than its most."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one relaxation gave."""

    value: float
    """No feasible design of the box scores more; minus infinity if it has no design at all."""
    design: Design | None
    """A design that comes about as close under these prices; it need not be feasible."""
    way: Way | None = None
    """What it was found by; None if there is no design at all."""


@dataclass(frozen=True, slots=True)
class Way:
    """All that one relaxation computed, by layer."""

    grids: list[Array]
    """`[V]`: values of V, the volumes that the layer's entropy counts with."""
    best: list[Array]
    """`[B, V]`: best values of all layers up to this one."""
    before: list[Array]
    """`[V, A]`: best values of all layers before it."""
    worth: list[Array]
    """`[V, A, B]`: best values of the layer alone."""
    cuts: list[Cut]
    """Worths of its choices."""
    constant: float
    """What is added to the sum of all layers."""
    ends: Array
    """`[B]`: the bound for each last state alone."""


class Relaxation:
    """Relaxations of one programme."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.limits = np.array([r.limit for r in programme.resources])
        self.scales = [i for i, layer in enumerate(programme.layers) if layer.volume is not None]
        """Layers at the ends of scales."""
        self._depths: dict[tuple[object, ...], Ends] = {}
        self.floor = self._floor()
        """All designs that are allowed score more; a box with a lower bound has no feasible one."""

    def _floor(self) -> float:
        """Less than any allowed design scores, whether or not it keeps the bounds."""
        floor = low = high = 0.0
        box = whole(self.programme)
        for index, layer in enumerate(self.programme.layers):
            ranges = [extremes(layer, layer.entropy, box, index)]
            if layer.again is not None:
                many = layer.copies[1]
                again = layer.again.entropy
                ranges.append((min(0.0, many * float(again.min())), many * float(again.max())))
            low += sum(r[0] for r in ranges)
            high += sum(max(0.0, r[1]) for r in ranges)
            if layer.volume is not None:
                volumes = float(layer.volume.min()), float(layer.volume.max())
                floor += min(v * e for v in volumes for e in (low, high))
        deepest = sum(depth for _, depth in self.depths(box))
        return floor - self.programme.unevenness([1e-9, 2 * deepest + 1e-9]) - 1.0

    def blocks(self, index: int, box: Box) -> Ends:
        """What the first copy of a layer may count as in a box."""
        layer = self.programme.layers[index]
        key = (index, box.targets[max(0, index - 1) : index + 1], box.modes[index])
        if key not in self._depths:
            low, high = extremes(layer, layer.blocks, box, index)
            self._depths[key] = max(0.0, low), high
        return self._depths[key]

    def depths(self, box: Box) -> list[Ends]:
        """What the depths that the penalty looks at may be in a box."""
        found = []
        for index in self.programme.counted:
            (least, most), (low, high) = self.blocks(index, box), box.copies[index]
            found.append((least + low, most + high))
        return found

    def evenness(self, box: Box, spread: float) -> Evenness | None:
        """The penalty in a box from below; None where there is none but its least."""
        programme = self.programme
        if not programme.counted:
            return None
        first = [self.blocks(index, box) for index in programme.counted]
        low, high = (
            copies + sum(ends)
            for copies, ends in zip(box.total, zip(*first, strict=True), strict=True)
        )
        return evenness(programme.penalty, self.depths(box), (low, high), spread)

    def slack(self, design: Design, prices: Prices, box: Box) -> tuple[Array, Array, Array]:
        """How far a design is within each relaxed bound: resources, scales, totals."""
        totals = self.programme.totals(design)
        within = 1.0 - np.array(totals.used) / self.limits
        copies, (low, high) = box.sum_of(design), box.total
        ends = np.array([copies - low, high - copies], dtype=float)
        rho = self.programme.effectiveness
        if rho is None:
            return within, np.zeros(len(self.scales)), ends
        slopes = np.log(prices.depths / rho) + 1.0
        return within, np.array(totals.log_width) - slopes * totals.convs + prices.depths, ends

    def bound(self, box: Box, prices: Prices) -> Bound:
        """The bound for a box at some prices."""
        ranges = self._volumes(box)
        layers = self.programme.layers
        way = Way([], [], [], [], [], 0.0, np.zeros(0))
        worth = [self._worth(index, prices) for index in range(len(layers))]
        even = self.evenness(box, prices.spread) if prices.evenness else None
        even = NONE if even is None else even.scaled(prices.evenness)
        price = prices.totals[0] - prices.totals[1]
        for index, layer in enumerate(layers):
            here = even if layer.counted else NONE
            blocks = self.blocks(index, box) if layer.counted else (0.0, 0.0)
            each = price if index in box.summed else 0.0
            counts = here.worth(blocks, box.copies[index], each)
            grid = np.linspace(*ranges[index], POINTS if ranges[index][1] > ranges[index][0] else 1)
            before = np.stack([self._before(index, way, box, volume) for volume in grid])
            way.cuts.append(Cut(layer, worth[index], box, index, counts))
            way.worth.append(way.cuts[-1].best(grid))
            way.before.append(before)
            way.grids.append(grid)
            way.best.append((before[:, :, None] + way.worth[-1]).max(axis=1).T)
        volumes = self.programme.layers[-1].volume
        low, high = box.targets[-1]
        if volumes is None:
            volumes = np.zeros(high + 1)
        ends = between(way.grids[-1], way.best[-1], volumes[low : high + 1])
        end = int(np.argmax(ends))
        if ends[end] == -math.inf:
            return Bound(-math.inf, None)
        constant = float(prices.resources.sum() + prices.scales @ prices.depths)
        constant += prices.totals[1] * box.total[1] - prices.totals[0] * box.total[0]
        constant -= even.constant + (1.0 - prices.evenness) * self.least_penalty(box)
        way = replace(way, constant=constant, ends=ends + constant)
        return Bound(float(way.ends[end]), self._design(box, way, low + end), way)

    def least_penalty(self, box: Box) -> float:
        """The smallest penalty of any depths in the box, between whole numbers too."""
        lows, highs = np.array(self.depths(box)).reshape(-1, 2).T
        if not lows.size or lows.min() <= 0:
            return self.programme.penalty
        middle = (float(lows.min()), float(highs.max()))
        for _ in range(60):  # the nearest common depth, by bisection on what clips to it
            centre = sum(middle) / 2
            pull = float(np.clip(centre, lows, highs).mean()) - centre
            middle = (centre, middle[1]) if pull > 0 else (middle[0], centre)
        nearest = np.clip(sum(middle) / 2, lows, highs)
        return self.programme.penalty * math.exp(max(0.0, float(nearest.std()) - 1e-9))

    def _volumes(self, box: Box) -> list[tuple[float, float]]:
        """For each layer, the least and largest sum of volumes that its entropy counts with."""
        low = high = 0.0
        found = []
        for layer, (first, last) in zip(
            reversed(self.programme.layers), reversed(box.targets), strict=True
        ):
            if layer.volume is not None:
                low += float(layer.volume[first : last + 1].min())
                high += float(layer.volume[first : last + 1].max())
            found.append((low, high))
        return found[::-1]

    def _before(self, index: int, way: Way, box: Box, volume: float) -> Array:
        """Best values of all layers before one, by its source state, if it counts with `volume`."""
        if index == 0:
            return np.zeros(1)
        passed = self.programme.layers[index - 1].volume
        low, high = box.targets[index - 1]
        volumes = np.full(high - low + 1, volume)
        if passed is not None:
            volumes = volumes + passed[low : high + 1]
        return between(way.grids[index - 1], way.best[index - 1], volumes)

    def _worth(self, index: int, prices: Prices) -> Worth:
        later = np.array([scale >= index for scale in self.scales])
        rho = self.programme.effectiveness
        width = conv = 0.0
        if rho is not None:
            width = float(prices.scales[later].sum())
            conv = float((prices.scales * (np.log(prices.depths / rho) + 1.0))[later].sum())
        return Worth(width, -conv, -prices.resources / self.limits)

    def _design(self, box: Box, way: Way, end: int) -> Design:
        """The choices that led to a state, from the last layer back."""
        volume, target = 0.0, end
        steps: list[Step] = []
        for index in range(len(self.programme.layers) - 1, -1, -1):
            layer = self.programme.layers[index]
            if layer.volume is not None:
                volume += float(layer.volume[target])
            before = self._before(index, way, box, volume)
            first = box.targets[index - 1][0] if index else 0
            cut = way.cuts[index].only(target - box.targets[index][0])
            source, mode = cut.arrive(volume, before)
            copies = cut.count(volume, mode if cut.again and cut.again.rest.shape[1] > 1 else 0)
            mode += box.modes[index][0]
            steps.append(Step(first + source, target, mode, copies))
            target = first + source
        return tuple(reversed(steps))


def between(grid: Array, values: Array, volumes: Array) -> Array:
    """`[B]`: values `[B, V]` at a volume for each row, on chords between the points of a grid."""
    found: Array = on_chords(grid, values.T[:, None], volumes)[0]
    return found


def on_chords(grid: Array, values: Array, volumes: Array) -> Array:
    """`[A, B]`: values `[V, A, B]` at a volume for each column, on chords between a grid's."""
    if len(grid) == 1:
        first: Array = values[0]
        return first
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    place = np.clip((volumes - grid[0]) / step, 0.0, len(grid) - 1.0)
    left = np.minimum(place.astype(int), len(grid) - 2)
    part = place - left
    if (left == left[0]).all():
        before, after = values[left[0]], values[left[0] + 1]
    else:
        columns = np.arange(values.shape[2])
        before, after = values[left, :, columns].T, values[left + 1, :, columns].T
    with np.errstate(invalid="ignore"):
        mixed = before * (1 - part) + after * part
    found: Array = np.where(np.isneginf(mixed) | np.isnan(mixed), -math.inf, mixed)
    return found
