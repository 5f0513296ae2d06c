"""A first design of a programme by continuous relaxation and rounding, with SLSQP.

States, modes and copies are positions on continuous axes; numbers between two indices are
interpolated linearly. What SLSQP finds is a local optimum of that, so it proves nothing: it is
rounded and bettered by local search until it keeps all bounds. What is proven is the bound beside
it, that of the Lagrangian relaxation of the whole programme (`nas.solver.branch` before it cuts).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Unpack

import numpy as np
from scipy.optimize import minimize

from nas.solver.branch import branch
from nas.solver.options import Asked, Options
from nas.solver.programme import Array, Design, Layer, Programme, Step
from nas.solver.solution import Solution

_STARTS = (0.5, 0.25, 0.75, 0.05)
"""Where on every axis SLSQP begins, as a part of it."""


def relax(programme: Programme, **options: Unpack[Options]) -> Solution:
    """A first design, and a bound on all.

    Args:
        programme: what to solve.
        options: see `Options`. Nothing is searched for the gap; the answer says whether it is
            proven. SLSQP begins at no further place after the seconds.
    """
    asked, start = Asked(**options), time.perf_counter()
    smooth = _Smooth(programme)
    found = [*asked.seeds]
    for part in _STARTS:
        if time.perf_counter() - start > asked.seconds:
            break
        found.extend(_rounded(programme, smooth.climb(part)))
    # Without time to cut, branch and bound is its first bound, and local search from the seeds.
    solution = branch(programme, gap=asked.gap, seconds=0.0, seeds=found, without=asked.without)
    progress = replace(solution.progress, seconds=time.perf_counter() - start)
    if asked.listen:
        asked.listen(progress)
    return replace(solution, progress=progress, solver="relax")


class _Smooth:
    """A programme's sums at continuous positions: `[T, 3]` of target, mode and copies."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        ranges = [
            ((0, la.shape[1] - 1), (0, la.shape[2] - 1), la.copies) for la in programme.layers
        ]
        self.low = np.array([low for axes in ranges for low, _ in axes], float)
        self.high = np.array([high for axes in ranges for _, high in axes], float)
        self._last: tuple[bytes, Array] = (b"", np.zeros(0))
        self._layers: dict[tuple[int, float, float, float, float], Array] = {}

    def climb(self, part: float) -> Array:
        """Positions to which SLSQP comes from some part of every axis."""
        start = self.low + part * (self.high - self.low)
        size = max(1.0, abs(float(self._at(start)[0])))
        if np.array_equal(self.low, self.high):
            found: Array = start
            return found
        held: dict[str, str | Callable[[Array], Array]] = {
            "type": "ineq",
            "fun": lambda place: self._at(place)[1:],
        }
        limits = list(zip(self.low, self.high, strict=True))
        result = minimize(
            lambda place: -self._at(place)[0] / size,
            start,
            method="SLSQP",
            bounds=limits,
            constraints=[held],
            options={"maxiter": 60, "eps": 1e-4},
        )
        place: Array = np.clip(np.nan_to_num(result.x, nan=0.0), self.low, self.high)
        return place

    def _at(self, place: Array) -> Array:
        """Score, then how far it is within each bound; the last says how much is not allowed."""
        key = place.tobytes()
        if self._last[0] != key:
            self._last = key, self._sums(place.reshape(-1, 3))
        return self._last[1]

    def _sums(self, places: Array) -> Array:
        programme = self.programme
        raw, depths, within, source = 0.0, list[float](), list[float](), 0.0
        sums = np.zeros(4 + len(programme.resources))
        for index, (layer, (target, mode, copies)) in enumerate(
            zip(programme.layers, places.tolist(), strict=True)
        ):
            blocks, *more = self._layer(index, source, target, mode, copies)
            sums += more
            entropy, width, convs = map(float, sums[:3])
            if layer.counted:
                depths.append(float(blocks))
            if layer.volume is not None:
                raw += float(np.interp(target, range(layer.shape[1]), layer.volume)) * entropy
                if programme.effectiveness is not None:
                    ratio = max(1e-9, convs) / programme.effectiveness
                    within.append((width - convs * math.log(ratio)) / max(1.0, width))
            source = target
        limits = np.array([resource.limit for resource in programme.resources])
        score = raw - programme.unevenness(depths)
        return np.array([score, *(1.0 - sums[4:] / limits), *within, -sums[3]])

    def _layer(self, index: int, source: float, target: float, mode: float, copies: float) -> Array:
        """Blocks, entropy, log-width, convolutions, how much is not allowed, and the resources.

        SLSQP moves one coordinate at a time, so most layers are asked for again.
        """
        key = (index, source, target, mode, copies)
        if key not in self._layers:
            layer = self.programme.layers[index]
            found = np.zeros(5 + len(layer.costs))
            for weight, corner in _corners(layer, source, target, mode):
                found += weight * (_first(layer, *corner) + copies * _more(layer, *corner[1:]))
            self._layers[key] = found
        return self._layers[key]


def _first(layer: Layer, a: int, b: int, m: int) -> Array:
    """What `Relaxation._layer` gives, of no copies and at one place."""
    numbers = (layer.blocks, layer.entropy, layer.log_width, layer.convs)
    costs = [cost.at(a, b, m) for cost in layer.costs]
    forbidden = float(math.isinf(layer.allowed.at(a, b, m)))
    return np.array([*(number.at(a, b, m) for number in numbers), forbidden, *costs])


def _more(layer: Layer, b: int, m: int) -> Array:
    """What each copy adds to that."""
    again = layer.again
    if again is None:
        return np.array([1.0, *[0.0] * (4 + len(layer.costs))])
    numbers = (again.entropy, again.log_width, again.convs)
    return np.array([1.0, *(number[b, m] for number in numbers), 0.0, *again.costs[:, b, m]])


def _corners(
    layer: Layer, source: float, target: float, mode: float
) -> Iterator[tuple[float, tuple[int, int, int]]]:
    """The indices around a position, and the weight of each."""
    ends = [
        _ends(value, count)
        for value, count in zip((source, target, mode), layer.shape, strict=True)
    ]
    for wa, a in ends[0]:
        for wb, b in ends[1]:
            for wm, m in ends[2]:
                yield wa * wb * wm, (a, b, m)


def _ends(value: float, count: int) -> list[tuple[float, int]]:
    left = int(min(max(0.0, value), count - 1.0))
    part = min(max(0.0, value - left), 1.0)
    if part == 0.0 or left + 1 == count:
        return [(1.0, left)]
    return [(1.0 - part, left), (part, left + 1)]


def _rounded(programme: Programme, place: Array) -> Iterator[Design]:
    """The designs nearest to a position, and next below it."""
    for shift in (0.5, 0.0):
        source, steps = 0, []
        for layer, values in zip(programme.layers, place.reshape(-1, 3), strict=True):
            target, mode, copies = (math.floor(value + shift) for value in values)
            steps.append(
                Step(
                    source,
                    min(target, layer.shape[1] - 1),
                    min(mode, layer.shape[2] - 1),
                    min(copies, layer.copies[1]),
                )
            )
            source = steps[-1].target
        yield tuple(steps)
