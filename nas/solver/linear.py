"""A programme as a mixed-integer linear one: columns, rows and what an answer means.

Binary y[t, a, b, m] says whether layer t leads from state a to b in mode m, integer x[t, b, m] how
many further copies there are, 0 unless b and m are chosen. A scale's entropy E times the volume of
its last state b is linear in z[b], the entropy if it ends in b and else 0: low Y[b] <= z[b] <=
high Y[b] for Y[b] the sum of y over what ends in b, and z adds up to E. What is convex, the
effectiveness and the penalty, is cut from below by tangents, which a solver adds where it needs
them: `Linear.cut`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint
from scipy.sparse import csr_array

from nas.solver.programme import Array, Design, Layer, Programme, Step, Sum

Indices = NDArray[np.int64]


class Linear:
    """The columns and rows of a programme."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.gains: list[float] = []
        """Of each column: its part of the score."""
        self.lows: list[float] = []
        self.highs: list[float] = []
        self.whole: list[int] = []
        """1 where a column must be a whole number."""
        self._rows: list[tuple[Indices, Array, float, float]] = []
        self._places = [_allowed(layer) for layer in programme.layers]
        """By layer: source, target and mode of each y."""
        self._y: list[Indices] = []
        self._x: list[Indices] = []
        """By layer: `[B * M]`; empty where nothing is repeated."""
        for layer, place in zip(programme.layers, self._places, strict=True):
            self._y.append(self._columns(len(place[0]), 0, 1, whole=True))
            many = layer.shape[1] * layer.shape[2] if layer.copies[1] else 0
            self._x.append(self._columns(many, 0, layer.copies[1], whole=True))
        self.choices = len(self.gains)
        self._chain()
        self._resources()
        self._entropies()
        self._spread, self._raised = -1, -1
        self._nonzero: Indices = np.zeros(0, np.int64)
        if programme.penalty:
            self._evenness()
        self._effectiveness()

    def constraints(self) -> LinearConstraint:
        """All rows so far."""
        sizes = [len(index) for index, *_ in self._rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        table = csr_array(
            (
                np.concatenate([values for _, values, *_ in self._rows]),
                np.concatenate([index for index, *_ in self._rows]),
                starts,
            ),
            shape=(len(self._rows), len(self.gains)),
        )
        return LinearConstraint(table, [r[2] for r in self._rows], [r[3] for r in self._rows])

    def bounds(self) -> Bounds:
        """Of all columns."""
        return Bounds(self.lows, self.highs)

    def design(self, values: Array) -> Design:
        """The design that an answer stands for."""
        steps = []
        for layer, place, y, x in zip(
            self.programme.layers, self._places, self._y, self._x, strict=True
        ):
            chosen = int(np.argmax(values[y]))
            source, target, mode = (int(axis[chosen]) for axis in place)
            copies = round(values[x[target * layer.shape[2] + mode]]) if len(x) else 0
            steps.append(Step(source, target, mode, copies))
        return tuple(steps)

    def cut(self, design: Design) -> bool:
        """Add tangents that touch where a design is; False if all of them were there already."""
        before = len(self._rows)
        totals, rho = self.programme.totals(design), self.programme.effectiveness
        if rho is not None:
            for scale, (width, convs) in enumerate(
                zip(totals.log_width, totals.convs, strict=True)
            ):
                if convs > 0 and width < convs * math.log(convs / rho):
                    self._touch(scale, convs)
        if self._spread >= 0:
            self._flatten(np.array(self.programme.depths(design)))
        return len(self._rows) > before

    def forbid(self, design: Design) -> None:
        """Leave out one design, and no other."""
        parts: list[tuple[int, float]] = []
        for layer, place, y, x, step in zip(
            self.programme.layers, self._places, self._y, self._x, design, strict=True
        ):
            source, target, mode = place
            same = (source == step.source) & (target == step.target) & (mode == step.mode)
            parts.extend((int(column), -1.0) for column in y[same])
            low, high = layer.copies
            if low == high:
                continue
            more, less = (int(c) for c in self._columns(2, 0, 1, whole=True))
            parts += [(more, 1.0), (less, 1.0)]
            ones = np.ones(len(x))
            self._row([*x, more], [*ones, -(step.copies + 1.0 - low)], low, math.inf)
            self._row([*x, less], [*ones, high - step.copies + 1.0], -math.inf, high)
        columns, values = zip(*parts, strict=True)
        self._row(columns, values, 1.0 - len(design), math.inf)

    # Columns and rows.

    def _columns(
        self, count: int, low: float, high: float, *, whole: bool = False, gain: float = 0.0
    ) -> Indices:
        first = len(self.gains)
        self.gains += [gain] * count
        self.lows += [float(low)] * count
        self.highs += [float(high)] * count
        self.whole += [int(whole)] * count
        return np.arange(first, first + count)

    def _row(
        self,
        columns: Sequence[int] | Indices,
        values: Sequence[float] | Array,
        low: float,
        high: float,
    ) -> None:
        """low <= values @ columns <= high."""
        index, coefficients = np.asarray(columns, np.int64), np.asarray(values, float)
        kept = coefficients != 0
        self._rows.append((index[kept], coefficients[kept], low, high))

    def _dense(self, values: Array, low: float, high: float) -> None:
        self._row(np.flatnonzero(values), values[np.flatnonzero(values)], low, high)

    def _sum(self, parts: Sequence[tuple[Sum | None, Array | float | None]]) -> Array:
        """What each choice adds to a sum: by layer, of its first copy and of one more."""
        row = np.zeros(self.choices)
        for layer, place, y, x, (first, again) in zip(
            self.programme.layers, self._places, self._y, self._x, parts, strict=True
        ):
            if first is not None:
                row[y] = full(first, layer.shape)[place]
            if len(x) and again is not None:
                row[x] = np.broadcast_to(again, layer.shape[1:]).ravel()
        return row

    def _named(self, name: str, last: int) -> Array:
        """The sum of one attribute up to a layer."""
        return self._sum(
            [
                (None, None)
                if index > last
                else (getattr(la, name), None if la.again is None else getattr(la.again, name))
                for index, la in enumerate(self.programme.layers)
            ]
        )

    # The parts of a programme.

    def _chain(self) -> None:
        """One choice for each layer, each from where the one before it ends; copies only there."""
        layers = self.programme.layers
        self._row(self._y[0], np.ones(len(self._y[0])), 1, 1)
        for index, layer in enumerate(layers):
            _, target, mode = self._places[index]
            y, x = self._y[index], self._x[index]
            if index + 1 < len(layers):
                for state in range(layer.shape[1]):
                    out = self._y[index + 1][self._places[index + 1][0] == state]
                    into = y[target == state]
                    ones = [1.0] * len(into) + [-1.0] * len(out)
                    self._row([*into, *out], ones, 0, 0)
            here = target * layer.shape[2] + mode
            for place, column in enumerate(x):
                chosen = y[here == place]
                low, high = (float(n) for n in layer.copies)
                self._row([column, *chosen], [1.0, *[-high] * len(chosen)], -math.inf, 0)
                if low:
                    self._row([column, *chosen], [1.0, *[-low] * len(chosen)], 0, math.inf)

    def _resources(self) -> None:
        for which, resource in enumerate(self.programme.resources):
            row = self._sum(
                [
                    (la.costs[which], None if la.again is None else la.again.costs[which])
                    for la in self.programme.layers
                ]
            )
            self._dense(row / resource.limit, -math.inf, 1.0)

    def _entropies(self) -> None:
        """Each scale's volume times the entropy so far."""
        layers = self.programme.layers
        ranges = _ranges(self.programme)
        for index, layer in enumerate(layers):
            if layer.volume is None:
                continue
            target, places = self._places[index][1], []
            for state in range(layer.shape[1]):
                low, high = (float(side[state]) for side in ranges[index])
                if not math.isfinite(low):
                    continue
                gain = float(layer.volume[state])
                column = self._columns(1, min(0.0, low), max(0.0, high), gain=gain)
                into = self._y[index][target == state]
                self._row([*column, *into], [1.0, *[-high] * len(into)], -math.inf, 0)
                self._row([*column, *into], [1.0, *[-low] * len(into)], 0, math.inf)
                places.append(int(column[0]))
            entropy = self._named("entropy", index)
            taken = np.flatnonzero(entropy)
            self._row([*places, *taken], [*np.ones(len(places)), *-entropy[taken]], 0, 0)

    def _effectiveness(self) -> None:
        self._scales = [i for i, la in enumerate(self.programme.layers) if la.volume is not None]
        if self.programme.effectiveness is None:
            return
        self._convs = [self._named("convs", index) for index in self._scales]
        self._widths = [self._named("log_width", index) for index in self._scales]
        for scale, index in enumerate(self._scales):
            layers = self.programme.layers[: index + 1]
            most = sum(
                float(full(la.convs, la.shape).max())
                + (0.0 if la.again is None else la.copies[1] * float(la.again.convs.max()))
                for la in layers
            )
            for depth in np.geomspace(1.0, max(1.0, most), 6):
                self._touch(scale, float(depth))

    def _touch(self, scale: int, depth: float) -> None:
        """L >= D ln(D / rho), by its tangent at a depth: slope D - L <= depth."""
        assert self.programme.effectiveness is not None
        slope = math.log(depth / self.programme.effectiveness) + 1.0
        row = slope * self._convs[scale] - self._widths[scale]
        self._dense(row, -math.inf, depth)

    # The penalty on unequal depths: a standard deviation, and its exponential.

    def _evenness(self) -> None:
        programme, counted = self.programme, self.programme.counted
        count = len(counted)
        self._depths = [
            self._sum(
                [
                    (la.blocks, 1.0) if i == index else (None, None)
                    for i, la in enumerate(programme.layers)
                ]
            )
            for index in counted
        ]
        self._most, self._least = np.zeros(count), np.zeros(count)
        steps = np.full(count, math.inf)
        for number, index in enumerate(counted):
            layer, place = programme.layers[index], self._places[index]
            if not len(place[0]):
                continue
            blocks = full(layer.blocks, layer.shape)[place]
            self._least[number] = blocks.min() + layer.copies[0]
            self._most[number] = blocks.max() + layer.copies[1]
            some = [*blocks[blocks > 0], *([1.0] if layer.copies[1] else [])]
            steps[number] = min([steps[number], *some])
            if blocks.min() < 0:
                raise ValueError(f"layer {layer.name} must count at least 0 blocks")
        # exp(700) is what `Programme.unevenness` stops at; no programme comes near.
        top = math.exp(min(700.0, float(self._most.max(initial=0.0)) / 2 + 1))
        self._spread = int(self._columns(1, 0, self._most.max(initial=0.0) / 2 + 1)[0])
        self._raised = int(self._columns(1, 1, top, gain=-programme.penalty)[0])
        self._steep: set[float] = set()
        self._leaning: set[tuple[float, ...]] = set()
        for spread in range(int(min(12.0, self._most.max(initial=0.0) / 2)) + 1):
            self._lift(float(spread))
        self._nonzero = self._columns(count, 0, 1, whole=True)
        for which, column in enumerate(self._nonzero):
            if self._least[which] > 0:
                self.lows[column] = 1.0
                continue
            # A depth is above 0, and then at least the smallest step, just where this is 1.
            depth = self._depths[which]
            filled = np.flatnonzero(depth)
            step = steps[which] if math.isfinite(steps[which]) else 1.0
            self._row([*filled, column], [*depth[filled], -self._most[which]], -math.inf, 0)
            self._row([*filled, column], [*depth[filled], -step], 0, math.inf)
        unit = np.eye(count)
        for one, other in combinations(range(count), 2):
            self._lean(unit[one] - unit[other], np.ones(count, bool))
            self._lean(unit[other] - unit[one], np.ones(count, bool))
        for one in range(count):
            self._lean(unit[one], np.ones(count, bool))
            self._lean(-unit[one], np.ones(count, bool))

    def _flatten(self, depths: Array) -> None:
        counted = depths > 0
        if counted.sum() > 1:
            self._lean(depths, counted)
            self._lift(float(depths[counted].std()))

    def _lift(self, spread: float) -> None:
        """raised >= exp(spread), by its tangent at a spread."""
        if spread in self._steep:
            return
        self._steep.add(spread)
        height = math.exp(spread)
        # Both sides over the height, which may be large.
        columns, values = [self._raised, self._spread], [1.0 / height, -1.0]
        self._row(columns, values, 1.0 - spread, math.inf)

    def _lean(self, depths: Array, counted: NDArray[np.bool_]) -> None:
        """spread >= the standard deviation, by its tangent: slopes @ depths, through the origin.

        It holds where just the counted depths are above 0; elsewhere it is lifted out of the way.
        """
        deviation = np.where(counted, depths - depths[counted].mean(), 0.0)
        length = math.sqrt(float((deviation**2).sum() * counted.sum()))
        if length < 1e-12:
            return
        slopes = deviation / length
        key = (*(slopes.round(9)), *counted.astype(float))
        if key in self._leaning:
            return
        self._leaning.add(key)
        row = np.zeros(len(self.gains))
        for slope, depth in zip(slopes, self._depths, strict=True):
            row[: self.choices] -= slope * depth
        row[self._spread] = 1.0
        height = float(np.maximum(0.0, slopes * self._most).sum())
        row[self._nonzero] += np.where(counted, -height, height)
        self._dense(row, -height * float(counted.sum()), math.inf)


def full(total: Sum, shape: tuple[int, int, int]) -> Array:
    """`[A, B, M]`: all numbers of a sum."""
    values = np.zeros(shape)
    if not isinstance(total.source, float):
        values = values + total.source[:, None, :]
    else:
        values = values + total.source
    values = values + (
        total.target if isinstance(total.target, float) else total.target[None, :, :]
    )
    if isinstance(total.pair, float):
        values = values + total.pair
    elif total.kinds:
        values = values + np.moveaxis(total.pair[list(total.kinds)], 0, 2)
    else:
        values = values + total.pair[:, :, None]
    return values if total.whole is None else values + total.whole


def combinations_of(programme: Programme) -> int:
    """How many choices of source, target and mode the layers have, allowed or not."""
    return sum(math.prod(layer.shape) for layer in programme.layers)


def _allowed(layer: Layer) -> tuple[Indices, Indices, Indices]:
    source, target, mode = np.nonzero(np.isfinite(full(layer.allowed, layer.shape)))
    return source, target, mode


def _ranges(programme: Programme) -> list[tuple[Array, Array]]:
    """Least and largest entropy up to each layer's target states; infinite where none leads."""
    low, high, found = np.zeros(1), np.zeros(1), []
    for layer in programme.layers:
        entropy = full(layer.entropy, layer.shape)
        out = np.isneginf(full(layer.allowed, layer.shape))
        less = more = np.zeros(layer.shape[1:])
        if layer.again is not None:
            ends = [n * layer.again.entropy for n in layer.copies]
            less, more = np.minimum(*ends), np.maximum(*ends)
        low = np.where(out, np.inf, low[:, None, None] + entropy + less).min(axis=(0, 2))
        high = np.where(out, -np.inf, high[:, None, None] + entropy + more).max(axis=(0, 2))
        found.append((low, high))
    return found
