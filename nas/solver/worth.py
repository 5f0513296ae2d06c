"""What the choices in one layer are worth at some prices: tables, cut to a box of designs."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.solver.box import Box, Range
from nas.solver.programme import Again, Array, Layer, Sum

_HELD = 60_000
"""Sums of two tables that are held at once, so that they stay in the cache."""
_LARGE = 100_000
"""Sums from which on single precision does."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a unit of each attribute is worth in a layer, the entropy's volume aside."""

    log_width: float
    convs: float
    costs: Array

    def of(self, layer: Layer, part: str, cut: Callable[[Array], Array]) -> Array:
        """The worth of one part of a layer's first copy: source, target, pair or whole."""
        total = cut(_part(layer.allowed, part))
        if self.log_width:
            total = total + self.log_width * cut(_part(layer.log_width, part))
        if self.convs:
            total = total + self.convs * cut(_part(layer.convs, part))
        for worth, cost in zip(self.costs, layer.costs, strict=True):
            total = total + worth * cut(_part(cost, part))
        return total

    def again(self, again: Again, cut: Callable[[Array], Array]) -> Array:
        """The worth of one more copy, by target state and mode."""
        own = self.log_width * cut(again.log_width) + self.convs * cut(again.convs)
        for worth, cost in zip(self.costs, again.costs, strict=True):
            own = own + worth * cut(cost)
        return own


class _Part(NamedTuple):
    """Part of a layer's worth, cut to a box: entropy, by which V is multiplied, and the rest."""

    entropy: Array
    rest: Array

    def only(self, axis: int, row: int) -> _Part:
        """The part for one row of an axis; one of length 1 is for all."""
        return _Part(*[_only(array, axis, row) for array in self])

    def at(self, volumes: Array) -> Array:
        """The worth at each of some V, which come first."""
        axes = (slice(None), *[None] * max(self.entropy.ndim, self.rest.ndim))
        worth: Array = volumes[axes] * self.entropy + self.rest
        return worth


class Cut:
    """A layer's worth at some prices, cut to a box, for any V."""

    def __init__(self, layer: Layer, worth: Worth, box: Box, index: int, counts: Array) -> None:
        """Of one layer.

        Args:
            layer: whose worth it is.
            worth: of its attributes.
            box: to which it is cut.
            index: of the layer.
            counts: what each number of copies in the box is worth besides; concave.
        """
        sources = box.targets[index - 1] if index else None
        targets = box.targets[index]
        modes = box.modes[index]
        self.least, self.counts, self.gains = box.copies[index][0], counts, -np.diff(counts)
        self.modes = modes[1] - modes[0] + 1
        rows = (sources[1] - sources[0] + 1 if sources else 1, targets[1] - targets[0] + 1)

        def part(name: str, *ranges: Range | None) -> _Part:
            def cut(array: Array) -> Array:
                return _cut(array, *ranges)

            return _Part(cut(_part(layer.entropy, name)), worth.of(layer, name, cut))

        self.source = part("source", sources, modes)
        self.target = part("target", targets, modes)
        self.pair, self.kinds = self._pair(layer, worth, sources, targets, modes)
        wholes = (layer.entropy, layer.allowed, *layer.costs)
        self.whole = None
        if any(total.whole is not None for total in wholes):
            self.whole = part("whole", sources, targets, modes)
        self.again = None
        if layer.again is not None:
            self.again = _Part(
                _cut(layer.again.entropy, targets, modes),
                worth.again(layer.again, lambda array: _cut(array, targets, modes)),
            )
        self._rows = rows

    def only(self, target: int) -> Cut:
        """For one target, counted from the box's first."""
        found = copy(self)
        found.target, found.pair = self.target.only(0, target), self.pair.only(2, target)
        found.whole = None if self.whole is None else self.whole.only(1, target)
        found.again = None if self.again is None else self.again.only(0, target)
        found._rows = (self._rows[0], 1)
        return found

    def _pair(
        self, layer: Layer, worth: Worth, sources: Range | None, targets: Range, modes: Range
    ) -> tuple[_Part, tuple[slice, ...]]:
        """Worth by source and target, `[K, A, B]`, and each kind's modes within the box."""
        sums = (layer.entropy, layer.log_width, layer.convs, layer.allowed)
        kinds = next((t.kinds for t in (*sums, *layer.costs) if t.kinds), ())
        here = kinds[modes[0] : modes[1] + 1]
        present = sorted(set(here)) or [0]

        def tables(array: Array) -> Array:
            if array.ndim == 3:
                array = array[present]
            elif not array.ndim:
                array = array.reshape(1, 1)
            cut = _cut(array.reshape(-1, *array.shape[-2:]), None, sources, targets)
            return np.broadcast_to(cut, (len(present), *cut.shape[1:]))

        part = _Part(tables(_part(layer.entropy, "pair")), worth.of(layer, "pair", tables))
        if not here:
            return part, (slice(None),)
        firsts = [here.index(kind) for kind in present]
        ends = [*firsts[1:], len(here)]
        return part, tuple(map(slice, firsts, ends))

    def parts(self, volumes: Array) -> tuple[Array, Array, Array, Array | None]:
        """`[V, A, M]`, `[V, B, M]`, `[V, K, A, B]`, `[V, A, B, M]`; axes may have length 1."""
        source = _full(self.source.at(volumes), 3)
        if source.shape[1] < self._rows[0]:
            source = np.broadcast_to(source, (len(volumes), self._rows[0], source.shape[2]))
        target = _full(self.target.at(volumes), 3)
        if self.again is not None:
            again = self.again.at(volumes)
            more = self.more(again)
            target = target + ((self.least + more) * again + self.counts[more])
        else:
            target = target + self.counts[0]
        if target.shape[1] < self._rows[1]:
            target = np.broadcast_to(target, (len(volumes), self._rows[1], target.shape[2]))
        pair = self.pair.at(volumes)
        whole = None if self.whole is None else _full(self.whole.at(volumes), 4)
        return source, target, pair, whole

    def best(self, volumes: Array) -> Array:
        """`[V, A, B]`: the best value by source and target, over modes and copies."""
        source, target, pair, whole = self.parts(volumes)
        best: Array | None = None
        for kind, modes in enumerate(self.kinds):
            from_, to = _modes(source, modes), _modes(target, modes)
            if whole is not None:
                every = _modes(whole, modes) + from_[:, :, None] + to[:, None]
                both = every.max(axis=3)
            elif from_.shape[2] == 1 or to.shape[2] == 1:
                both = from_.max(axis=2)[:, :, None] + to.max(axis=2)[:, None]
            else:
                both = _longest(from_, to)
            found = both + pair[:, kind]
            best = found if best is None else np.maximum(best, found)
        assert best is not None
        return best

    def each(self, volumes: Array, sources: NDArray[np.intp], targets: NDArray[np.intp]) -> Array:
        """`[V, n, M]`: what every mode is worth between n sources and as many targets."""
        source, target, pair, whole = self.parts(volumes)
        worth: Array = source[:, sources] + target[:, targets]
        worth = np.broadcast_to(worth, (*worth.shape[:2], self.modes)).copy()
        pair = np.broadcast_to(pair, (*pair.shape[:2], *self._rows))
        for kind, modes in enumerate(self.kinds):
            worth[:, :, modes] += pair[:, kind, sources, targets, None]
        if whole is not None:
            worth += np.broadcast_to(whole, (len(volumes), *self._rows, self.modes))[
                :, sources, targets
            ]
        return worth

    def arrive(self, volume: float, before: Array) -> tuple[int, int]:
        """Source and mode, counted from the box's first, of the best way to its only target."""
        source, target, pair, whole = self.parts(np.array([volume]))
        every = before[:, None] + source[0] + target[0]
        if whole is not None:
            every = every + whole[0, :, 0]
        rows = max(len(every), pair.shape[2])
        every = np.broadcast_to(every, (rows, self.modes)).copy()
        for kind, modes in enumerate(self.kinds):
            every[:, modes] += pair[0, kind]
        a, m = np.unravel_index(int(np.argmax(every)), every.shape)
        return int(a), int(m)

    def count(self, volume: float, mode: int) -> int:
        """Copies of the only target's mode, counted from the box's first."""
        if self.again is None:
            return self.least
        return self.least + int(self.more(self.again.at(np.array([volume]))[0, 0, mode]))

    def more(self, again: Array) -> NDArray[np.intp]:
        """By the worth of one copy: how many more than the least are worth most."""
        if len(self.gains) == 1:
            return np.asarray(again > self.gains[0], dtype=np.intp)
        found: NDArray[np.intp] = np.asarray(np.searchsorted(self.gains, again), dtype=np.intp)
        return found


def extremes(layer: Layer, total: Sum, box: Box, index: int) -> tuple[float, float]:
    """Bounds of a sum's numbers in a box, where the combination is allowed."""
    sources = box.targets[index - 1] if index else None
    targets, modes = box.targets[index], box.modes[index]
    kinds = total.kinds or layer.allowed.kinds
    present = sorted(set(kinds[modes[0] : modes[1] + 1]))
    low = high = 0.0
    for part, ranges in (
        ("source", (sources, modes)),
        ("target", (targets, modes)),
        ("pair", (sources, targets)),
        ("whole", (sources, targets, modes)),
    ):
        found, allowed = (_part(table, part) for table in (total, layer.allowed))
        if part == "pair":
            found, allowed = (a[present] if a.ndim == 3 else a for a in (found, allowed))
            ranges = (None, *ranges) if max(found.ndim, allowed.ndim) == 3 else ranges
            found, allowed = (a[None] if 2 == a.ndim < len(ranges) else a for a in (found, allowed))
        if not found.ndim:
            numbers = found.reshape(1)
        else:
            found, allowed = _cut(found, *ranges), _cut(allowed, *ranges)
            found, allowed = np.broadcast_arrays(found, allowed)
            numbers = found[allowed > -math.inf]
        if numbers.size:
            low, high = low + float(numbers.min()), high + float(numbers.max())
    return low, high


def _part(total: Sum, part: str) -> Array:
    found: Array | float | None = getattr(total, part)
    return np.asarray(0.0 if found is None else found, dtype=float)


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


def _only(array: Array, axis: int, row: int) -> Array:
    if array.ndim <= axis or array.shape[axis] == 1:
        return array
    return array.take([row], axis)


def _modes(array: Array, modes: slice) -> Array:
    """The part of an array for some modes, the last axis; one of length 1 is for all."""
    return array if array.shape[-1] == 1 else array[..., modes]


def _full(array: Array, axes: int) -> Array:
    """An array of one axis with further ones of length 1; others as they are."""
    return array.reshape(-1, *[1] * (axes - 1)) if array.ndim < axes else array


def _longest(source: Array, target: Array) -> Array:
    """`[V, A, B]`: the largest source[v, a, m] + target[v, b, m] over all m, or a little more.

    Large tables are added up in single precision, which is twice as fast; what that may round off
    is added to the result, so that it remains an upper bound.
    """
    volumes, rows, modes = source.shape
    columns = target.shape[1]
    single = rows * columns * modes >= _LARGE
    kind = np.float32 if single else np.float64
    from_ = np.ascontiguousarray(np.moveaxis(source, 2, 0), dtype=kind)
    to = np.ascontiguousarray(np.moveaxis(target, 2, 0), dtype=kind)
    both = np.empty((volumes, rows, columns), dtype=kind)
    step = max(1, _HELD // (volumes * columns))
    for first in range(0, rows, step):
        part = from_[:, :, first : first + step, None]
        best = part[0] + to[0, :, None]
        sums = np.empty_like(best)
        for mode in range(1, modes):
            np.add(part[mode], to[mode, :, None], out=sums)
            np.maximum(best, sums, out=best)
        both[:, first : first + step] = best
    found: Array = both.astype(np.float64)
    if single:
        finite = np.isfinite(source).any() and np.isfinite(target).any()
        largest = max(np.abs(x[np.isfinite(x)]).max() for x in (source, target)) if finite else 0.0
        found += 4e-7 * largest
    return found
