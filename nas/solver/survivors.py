"""Which states and modes of each layer a better design may have.

At the prices of a relaxation (`nas.solver.lagrange`) the best value of the layers up to one is
known for any V, the volumes of all scales that end later. What follows is bounded by dynamic
programming from the last layer back, for V in an interval: values are convex in V, so they are
largest at an end. Intervals are short where the last two scales may only end in some of their
states; so these are taken in pieces, and the largest bound of any piece counts. Together they bound
what goes from a state to the next; and a mode is worth less there than the best one by a gap that
is known.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nas.solver.box import Box, Range
from nas.solver.lagrange import Relaxation, Way, on_chords
from nas.solver.programme import Array

_PIECES = (8, 4)
"""Of the states in which the last scale ends, and the one before it."""
_MOST = 4_000_000
"""Values of modes that are looked at in a layer: beyond, few could be left out anyway."""


@dataclass(frozen=True, slots=True)
class Survivors:
    """Upper bounds by layer: no design of the box with this choice scores more."""

    states: list[Array]
    """`[B]`: by target state."""
    modes: list[Array]
    """`[M]`."""

    def bound(self) -> float:
        """No design of the box scores more."""
        return min(float(here.max()) for here in self.states)


def survivors(
    relaxation: Relaxation, box: Box, way: Way, goal: float, mixed: Collection[int] = ()
) -> Survivors:
    """Bound a box's choices, one by one.

    Args:
        relaxation: of the programme.
        box: of the designs.
        way: what a relaxation of the box found.
        goal: where no design scores more, less is computed: these bounds are less close.
        mixed: layers whose modes are not looked at.
    """
    pieces, left_out = _pieces(relaxation, box, way, goal)
    arcs = [np.full(worth.shape[1:], left_out) for worth in way.worth]
    for kept in pieces:
        _through(relaxation, box, way, kept, arcs)
    modes = []
    for index, here in enumerate(arcs):
        count = box.modes[index][1] - box.modes[index][0] + 1
        better = np.argwhere(here > goal)
        if index in mixed or count == 1 or len(better) * count * len(way.grids[index]) > _MOST:
            modes.append(np.full(count, math.inf))
            continue
        rest = np.full(count, here[here <= goal].max(initial=-math.inf))
        modes.append(np.maximum(rest, _by_mode(way, index, better, here)) if len(better) else rest)
    return Survivors([here.max(axis=0) for here in arcs], modes)


def _through(
    relaxation: Relaxation, box: Box, way: Way, kept: dict[int, Range], arcs: list[Array]
) -> None:
    """Raise the bounds `[A, B]` on what goes from state to state to those of one piece."""
    low, high = 0.0, 0.0
    rest = np.full(len(way.ends), way.constant)
    for index in range(len(arcs) - 1, -1, -1):
        volumes, (start, end) = relaxation.programme.layers[index].volume, box.targets[index]
        first, last = kept.get(index, (start, end))
        rest = rest.copy()
        rest[: first - start] = rest[last - start + 1 :] = -math.inf
        own = np.zeros(len(rest)) if volumes is None else volumes[start : end + 1]
        grid, worth = way.grids[index], way.worth[index]
        ends = [own + low] if low == high else [own + low, own + high]
        whole = way.before[index][:, :, None] + worth
        np.maximum(
            arcs[index],
            np.max([on_chords(grid, whole, v) for v in ends], axis=0) + rest,
            out=arcs[index],
        )
        rest = (np.max([on_chords(grid, worth, v) for v in ends], axis=0) + rest).max(axis=1)
        if volumes is not None:
            low += float(volumes[first : last + 1].min())
            high += float(volumes[first : last + 1].max())


def _by_mode(way: Way, index: int, places: NDArray[np.intp], arcs: Array) -> Array:
    """`[M]`: bounds by mode, for what goes between some states.

    On the chords between values of V a mode is worth less than the best by no less than at the
    nearest of these values where that is least.
    """
    sources, targets = places.T
    each = way.cuts[index].each(way.grids[index], sources, targets)
    gaps = (way.worth[index][:, sources, targets, None] - each).min(axis=0)
    found: Array = (arcs[sources, targets, None] - gaps).max(axis=0)
    return found


def _pieces(
    relaxation: Relaxation, box: Box, way: Way, goal: float
) -> tuple[list[dict[int, Range]], float]:
    """Ranges of states by layer, which part the box, and a bound for what is left out."""
    scales, last = relaxation.scales[::-1], len(box.targets) - 1
    found: list[dict[int, Range]] = []
    left_out = -math.inf
    for first in _parts(box.targets[scales[0]], _PIECES[0]):
        if scales[0] == last:
            low = box.targets[last][0]
            most = float(way.ends[first[0] - low : first[1] - low + 1].max())
            if most <= goal:
                left_out = max(left_out, most)
                continue
        if len(scales) == 1:
            found.append({scales[0]: first})
            continue
        for second in _parts(box.targets[scales[1]], _PIECES[1]):
            found.append({scales[0]: first, scales[1]: second})
    return found, left_out


def _parts(range_: Range, count: int) -> Iterator[Range]:
    low, high = range_
    ends = np.unique(np.linspace(low, high + 1, count + 1).astype(int))
    for start, end in pairwise(ends):
        yield int(start), int(end) - 1
