"""Upper bounds by state: which states of each layer a better design may pass through.

At the prices of a relaxation (`nas.solver.lagrange`), the best value of the layers up to a state is
known for any V, the volumes of all scales that end later. What follows the state is bounded by
dynamic programming from the last layer back, for V in an interval: values are convex in V, so they
are largest at an end. Intervals are short where the last two scales may only end in some of their
states; so these are taken in pieces, and the largest bound of any piece counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from nas.solver.box import Box, Range
from nas.solver.lagrange import Relaxation, Way, between
from nas.solver.programme import Array

_PIECES = (8, 4)
"""Of the states in which the last scale ends, and the one before it."""


def state_bounds(relaxation: Relaxation, box: Box, way: Way, goal: float) -> list[Array]:
    """`[B]` for each layer: no design of the box through a state scores more.

    Args:
        relaxation: of the programme.
        box: of the designs.
        way: what a relaxation of the box found.
        goal: where no design scores more, less is computed: these bounds are less close.
    """
    layers = relaxation.programme.layers
    pieces, rest_bound = _pieces(relaxation, box, way, goal)
    found = [np.full(high - low + 1, rest_bound) for low, high in box.targets]
    for kept in pieces:
        low, high = 0.0, 0.0
        rest = np.full(len(way.ends), way.constant)
        for index in range(len(layers) - 1, -1, -1):
            first, last = kept.get(index, box.targets[index])
            rest, volumes = rest.copy(), layers[index].volume
            start = first - box.targets[index][0]
            rest[:start] = rest[start + last - first + 1 :] = -math.inf
            own = np.zeros(len(rest))
            if volumes is not None:
                own = volumes[box.targets[index][0] : box.targets[index][1] + 1]
            ends = [own + low] if low == high else [own + low, own + high]
            grid = way.grids[index]
            here = np.max([between(grid, way.best[index], end) for end in ends], axis=0)
            np.maximum(found[index], here + rest, out=found[index])
            worth = np.max([_worth(grid, way.worth[index], end) for end in ends], axis=0)
            rest = (worth + rest).max(axis=1)
            if volumes is not None:
                low += float(volumes[first : last + 1].min())
                high += float(volumes[first : last + 1].max())
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
        seconds = _parts(box.targets[scales[1]], _PIECES[1]) if len(scales) > 1 else [None]
        for second in seconds:
            found.append({scales[0]: first} | ({} if second is None else {scales[1]: second}))
    return found, left_out


def _parts(range_: Range, count: int) -> Iterator[Range]:
    low, high = range_
    ends = np.unique(np.linspace(low, high + 1, count + 1).astype(int))
    for start, end in pairwise(ends):
        yield int(start), int(end) - 1


def _worth(grid: Array, worth: Array, volumes: Array) -> Array:
    """`[A, B]`: a layer's worth where each target has its own V, on chords between the grid's."""
    if len(grid) == 1:
        return worth[0]
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    place = np.clip((volumes - grid[0]) / step, 0.0, len(grid) - 1.0)
    left = np.minimum(place.astype(int), len(grid) - 2)
    part = place - left
    if (left == left[0]).all():
        before, after = worth[left[0]], worth[left[0] + 1]
    else:
        columns = np.arange(worth.shape[2])
        before, after = worth[left, :, columns].T, worth[left + 1, :, columns].T
    with np.errstate(invalid="ignore"):
        mixed = before * (1 - part) + after * part
    found: Array = np.where(np.isnan(mixed), -math.inf, mixed)
    return found
