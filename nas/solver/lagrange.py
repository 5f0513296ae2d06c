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
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from nas.solver.box import Box, Range
from nas.solver.programme import Again, Array, Design, Layer, Programme, Step, Sum

POINTS = 4
"""Values of V at which the best values are kept."""
_ROWS = 16
"""Rows of a sum of two tables that are held at once, so that they stay in the cache."""
_LARGE = 500_000
"""Sums from which on single precision does."""


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
    """In 0..1: how far a tangent of the penalty stands in for its least value in the box."""
    centre: Array | None = None
    """Depths of the counted layers at which that tangent touches."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one relaxation gave."""

    value: float
    """No feasible design of the box scores more; minus infinity if it has no design at all."""
    design: Design | None
    """A design that comes about as close under these prices; it need not be feasible."""
    ends: Array = field(default_factory=lambda: np.zeros(0))
    """The same bound for each last state of the box alone."""


class Relaxation:
    """Relaxations of one programme."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.limits = np.array([r.limit for r in programme.resources])
        self.scales = [i for i, layer in enumerate(programme.layers) if layer.volume is not None]
        """Layers at the ends of scales."""
        self._blocks = [_range(layer.blocks) for layer in programme.layers]
        self.convex = not programme.groups or self._least_depth() > 0
        """Whether the penalty is convex: no depth can be 0."""
        self.floor = self._floor()
        """All designs that are allowed score more; a box with a lower bound has no feasible one."""

    def _floor(self) -> float:
        """Less than any allowed design scores, whether or not it keeps the bounds."""
        floor = low = high = 0.0
        depths = [0.0, 0.0]
        for layer, blocks in zip(self.programme.layers, self._blocks, strict=True):
            ranges = [_range(layer.entropy)]
            if layer.again is not None:
                many = layer.copies[1]
                again = layer.again.entropy
                ranges.append((min(0.0, many * float(again.min())), many * float(again.max())))
            low += sum(r[0] for r in ranges)
            high += sum(max(0.0, r[1]) for r in ranges)
            if layer.volume is not None:
                volumes = float(layer.volume.min()), float(layer.volume.max())
                floor += min(v * e for v in volumes for e in (low, high))
            if layer.group is not None:
                depths[1] += blocks[1] + layer.copies[1]
        return floor - self.programme.unevenness([1e-9, 2 * depths[1] + 1e-9]) - 1.0

    def _least_depth(self) -> float:
        depths = np.zeros(self.programme.groups)
        for layer, (least, _) in zip(self.programme.layers, self._blocks, strict=True):
            if layer.group is not None:
                depths[layer.group] += least + layer.copies[0]
        return float(depths.min())

    def slack(self, design: Design, prices: Prices) -> tuple[Array, Array]:
        """How far a design is within each relaxed bound: resources, scales."""
        totals = self.programme.totals(design)
        within = 1.0 - np.array(totals.used) / self.limits
        rho = self.programme.effectiveness
        if rho is None:
            return within, np.zeros(len(self.scales))
        slopes = np.log(prices.depths / rho) + 1.0
        return within, np.array(totals.log_width) - slopes * totals.convs + prices.depths

    def tangent(self, prices: Prices) -> tuple[float, Array]:
        """The penalty's tangent at the centre: for depths of 0, and for each block, by layer."""
        layers = self.programme.layers
        slopes = np.zeros(len(layers))
        if prices.centre is None:
            return self.programme.penalty, slopes
        centre = prices.centre
        height = self.programme.unevenness(list(centre))
        spread = float(centre.std())
        if spread > 1e-6 and (centre > 0).all():
            by_group = height * (centre - centre.mean()) / (spread * len(centre))
            for index, layer in enumerate(layers):
                if layer.group is not None:
                    slopes[index] = by_group[layer.group]
            height -= float(by_group @ centre)
        return height, slopes

    def bound(self, box: Box, prices: Prices) -> Bound:
        """The bound for a box at some prices."""
        ranges = self._volumes(box)
        best: list[tuple[Array, Array]] = []
        layers = self.programme.layers
        worth = [self._worth(index, prices) for index in range(len(layers))]
        for index, layer in enumerate(layers):
            grid = np.linspace(*ranges[index], POINTS if ranges[index][1] > ranges[index][0] else 1)
            before = np.stack([self._before(index, best, box, volume) for volume in grid])
            values = _Cut(layer, worth[index], box, index).best(grid, before)
            best.append((grid, values.T))
        volumes = self.programme.layers[-1].volume
        low, high = box.targets[-1]
        if volumes is None:
            volumes = np.zeros(high + 1)
        ends = _between(*best[-1], volumes[low : high + 1])
        end = int(np.argmax(ends))
        if ends[end] == -math.inf:
            return Bound(-math.inf, None)
        constant = float(prices.resources.sum() + prices.scales @ prices.depths)
        constant -= (1.0 - prices.evenness) * self.least_penalty(box)
        ends = ends + constant - prices.evenness * self.tangent(prices)[0]
        return Bound(float(ends[end]), self._design(box, best, worth, low + end), ends)

    def least_penalty(self, box: Box) -> float:
        """The smallest penalty of any depths in the box, between whole numbers too."""
        groups = self.programme.groups
        lows, highs = np.zeros(groups), np.zeros(groups)
        for layer, (low, high), (least, most) in zip(
            self.programme.layers, box.copies, self._blocks, strict=True
        ):
            if layer.group is not None:
                lows[layer.group] += low + least
                highs[layer.group] += high + most
        if not groups or lows.min() <= 0:
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

    def _before(
        self, index: int, best: list[tuple[Array, Array]], box: Box, volume: float
    ) -> Array:
        """Best values of all layers before one, by its source state, if it counts with `volume`."""
        if index == 0:
            return np.zeros(1)
        passed = self.programme.layers[index - 1].volume
        low, high = box.targets[index - 1]
        volumes = np.full(high - low + 1, volume)
        if passed is not None:
            volumes = volumes + passed[low : high + 1]
        return _between(*best[index - 1], volumes)

    def _worth(self, index: int, prices: Prices) -> _Worth:
        later = np.array([scale >= index for scale in self.scales])
        rho = self.programme.effectiveness
        width = conv = 0.0
        if rho is not None:
            width = float(prices.scales[later].sum())
            conv = float((prices.scales * (np.log(prices.depths / rho) + 1.0))[later].sum())
        copy = -prices.evenness * float(self.tangent(prices)[1][index])
        return _Worth(width, -conv, -prices.resources / self.limits, copy)

    def _design(
        self, box: Box, best: list[tuple[Array, Array]], worth: list[_Worth], end: int
    ) -> Design:
        """The choices that led to a state, from the last layer back."""
        volume, target = 0.0, end
        steps: list[Step] = []
        for index in range(len(self.programme.layers) - 1, -1, -1):
            layer = self.programme.layers[index]
            if layer.volume is not None:
                volume += float(layer.volume[target])
            before = self._before(index, best, box, volume)
            first = box.targets[index - 1][0] if index else 0
            cut = _Cut(layer, worth[index], box, index, (target, target))
            source, mode = cut.arrive(volume, before)
            copies = cut.count(volume, mode if cut.again and cut.again.rest.shape[1] > 1 else 0)
            mode += box.modes[index][0]
            steps.append(Step(first + source, target, mode, copies))
            target = first + source
        return tuple(reversed(steps))


@dataclass(frozen=True, slots=True)
class _Worth:
    """What a unit of each attribute is worth in a layer, the entropy's volume aside."""

    log_width: float
    convs: float
    costs: Array
    copy: float

    def of(self, layer: Layer, part: str) -> Array:
        """The worth of one part of a layer's first copy: source, target, pair or whole."""
        total: Array | float = _part(layer.allowed, part)
        if self.log_width:
            total = total + self.log_width * _part(layer.log_width, part)
        if self.convs:
            total = total + self.convs * _part(layer.convs, part)
        if self.copy:
            total = total + self.copy * _part(layer.blocks, part)
        for worth, cost in zip(self.costs, layer.costs, strict=True):
            total = total + worth * _part(cost, part)
        return np.asarray(total)

    def again(self, again: Again) -> Array:
        """The worth of one more copy, by target state and mode."""
        own = self.log_width * again.log_width + self.convs * again.convs + self.copy
        copies: Array = own + np.tensordot(self.costs, again.costs, axes=1)
        return copies


class _Part(NamedTuple):
    """One part of a layer's worth, cut to a box: entropy, by which V is multiplied, and the rest."""

    entropy: Array
    rest: Array

    def at(self, volumes: Array) -> Array:
        """The worth at each of some V, which come first."""
        axes = (slice(None), *[None] * max(self.entropy.ndim, self.rest.ndim))
        worth: Array = volumes[axes] * self.entropy + self.rest
        return worth


class _Cut:
    """A layer's worth at some prices, cut to a box, for any V."""

    def __init__(
        self, layer: Layer, worth: _Worth, box: Box, index: int, targets: Range | None = None
    ) -> None:
        sources = box.targets[index - 1] if index else None
        targets = targets or box.targets[index]
        modes = box.modes[index]
        self.copies = box.copies[index]
        self.modes = modes[1] - modes[0] + 1
        rows = (sources[1] - sources[0] + 1 if sources else 1, targets[1] - targets[0] + 1)

        def part(name: str, *ranges: Range | None) -> _Part:
            entropy = np.asarray(_part(layer.entropy, name), dtype=float)
            return _Part(_cut(entropy, *ranges), _cut(worth.of(layer, name), *ranges))

        self.source = part("source", sources, modes)
        self.target = part("target", targets, modes)
        self.pair = part("pair", sources, targets)
        wholes = (layer.entropy, layer.allowed, layer.blocks, *layer.costs)
        self.whole = None
        if any(total.whole is not None for total in wholes):
            self.whole = part("whole", sources, targets, modes)
        self.again = None
        if layer.again is not None:
            self.again = _Part(
                _cut(layer.again.entropy, targets, modes),
                _cut(worth.again(layer.again), targets, modes),
            )
        self._rows = rows

    def parts(self, volumes: Array, before: Array) -> tuple[Array, Array, Array, Array | None]:
        """`[V, A, M]`, `[V, B, M]`, `[V, A, B]` and `[V, A, B, M]`; any axis may have length 1.

        Args:
            volumes: `[V]`.
            before: `[V, A]`: best values of all layers before this one.
        """
        source = before[:, :, None] + _full(self.source.at(volumes), 3)
        target = _full(self.target.at(volumes), 3)
        if self.again is not None:
            again = self.again.at(volumes)
            low, high = self.copies
            target = target + np.where(again > 0, high * again, low * again)
        if target.shape[1] < self._rows[1]:
            target = np.broadcast_to(target, (len(volumes), self._rows[1], target.shape[2]))
        pair = _full(self.pair.at(volumes), 3)
        whole = None if self.whole is None else _full(self.whole.at(volumes), 4)
        return source, target, pair, whole

    def best(self, volumes: Array, before: Array) -> Array:
        """`[V, B]`: the best value by target state, over sources, modes and copies."""
        source, target, pair, whole = self.parts(volumes, before)
        if whole is not None:
            every = whole + source[:, :, None] + target[:, None] + pair[..., None]
            found: Array = every.max(axis=(1, 3))
            return found
        if source.shape[2] == 1 or target.shape[2] == 1:
            both = source.max(axis=2)[:, :, None] + target.max(axis=2)[:, None]
        else:
            both = np.stack([_longest(s, t) for s, t in zip(source, target, strict=True)])
        best: Array = (both + pair).max(axis=1)
        return best

    def arrive(self, volume: float, before: Array) -> tuple[int, int]:
        """Source and mode, counted from the box's first, of the best way to its only target."""
        source, target, pair, whole = self.parts(np.array([volume]), before[None])
        every = source[0] + target[0] + pair[0]
        if whole is not None:
            every = every + whole[0, :, 0]
        every = np.broadcast_to(every, (len(every), self.modes))
        a, m = np.unravel_index(int(np.argmax(every)), every.shape)
        return int(a), int(m)

    def count(self, volume: float, mode: int) -> int:
        """Copies of the only target's mode, counted from the box's first."""
        if self.again is None:
            return self.copies[0]
        worth = self.again.at(np.array([volume]))[0, 0, mode]
        return self.copies[1] if worth > 0 else self.copies[0]


def _range(total: Sum) -> tuple[float, float]:
    """Bounds of a sum's numbers."""
    parts = [total.source, total.target, total.pair, 0.0 if total.whole is None else total.whole]
    return sum(float(np.min(p)) for p in parts), sum(float(np.max(p)) for p in parts)


def _part(total: Sum, part: str) -> Array | float:
    found: Array | float | None = getattr(total, part)
    return 0.0 if found is None else found


def _cut(array: Array, *ranges: Range | None) -> Array:
    """The part of an array that lies in ranges; axes of length 1 stay, and so does a number."""
    if not array.ndim:
        return array
    cuts = [
        slice(None) if range_ is None or size == 1 else slice(range_[0], range_[1] + 1)
        for range_, size in zip(ranges, array.shape, strict=True)
    ]
    cut: Array = array[tuple(cuts)]
    return cut


def _full(array: Array, axes: int) -> Array:
    """An array of one axis with further ones of length 1; others as they are."""
    return array.reshape(-1, *[1] * (axes - 1)) if array.ndim < axes else array


def _longest(source: Array, target: Array) -> Array:
    """`[A, B]`: the largest source[a, m] + target[b, m] over all m, or a little more.

    Large tables are added up in single precision, which is twice as fast; what that may round off
    is added to the result, so that it remains an upper bound.
    """
    size = len(source) * target.size
    kind, slack = (np.float64, 0.0) if size < _LARGE else (np.float32, 4e-7)
    from_ = torch.from_numpy(source.astype(kind, copy=False))
    to = torch.from_numpy(np.ascontiguousarray(target, dtype=kind))
    both = torch.empty((len(from_), len(to)), dtype=from_.dtype)
    sums = torch.empty((_ROWS, *to.shape), dtype=from_.dtype)
    for first in range(0, len(from_), _ROWS):
        rows = from_[first : first + _ROWS, None]
        torch.add(rows, to, out=sums[: len(rows)])
        torch.amax(sums[: len(rows)], dim=2, out=both[first : first + _ROWS])
    found: Array = both.numpy().astype(np.float64)
    if slack:
        finite = np.isfinite(source).any() and np.isfinite(target).any()
        largest = max(np.abs(x[np.isfinite(x)]).max() for x in (source, target)) if finite else 0.0
        found += slack * largest
    return found


def _between(grid: Array, values: Array, volumes: Array) -> Array:
    """Values at some volumes, one for each row, on chords between the points of a grid."""
    if len(grid) == 1:
        return values[:, 0]
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    place = np.clip((volumes - grid[0]) / step, 0.0, len(grid) - 1.0)
    left = np.minimum(place.astype(int), len(grid) - 2)
    part, rows = place - left, np.arange(len(values))
    before, after = values[rows, left], values[rows, left + 1]
    with np.errstate(invalid="ignore"):
        mixed = before * (1 - part) + after * part
    found: Array = np.where(np.isneginf(mixed) | np.isnan(mixed), -math.inf, mixed)
    return found
