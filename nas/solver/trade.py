"""Score against one bounded quantity, over all chains of a space: the front of a run.

`nas.solver.front` solves each chain under a row of limits. What was found anywhere stands under
every limit that it keeps, so scores rise with the limit. The bound of a limit is the largest of its
chains', and what no design exceeds under a limit, none exceeds under a tighter one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.solver.found import Found, Measure, Measured, Solved, found_in, gap_of, solver_of
from nas.solver.front import Point as FrontPoint
from nas.solver.front import front, within
from nas.solver.programme import UNITS, Array, Programme, Sum
from nas.solver.solution import Progress
from nas.usage import UsageError
from searchspace.architecture import Architecture

if TYPE_CHECKING:
    from nas.solver.design import Task

RESOURCES = ("high_ms", "macs", "params", "weight_bytes")
"""What a front can be over; the first one that is bounded is taken where none is named."""
SPAN = 8.0
"""The tightest limit is this part of what the best design takes, or the least that any does."""
_MIXED = 3
"""Feasible designs of each limit whose stages are mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The best design under one limit."""

    limit: float
    used: float | None
    """What the design takes; None: none was found."""
    score: float | None
    """Of the design, in nats."""
    bound: float | None
    """No design of the programmes within the limit scores more; None: none exists."""
    gap: float | None
    """(bound - score) / |score|; None where there is no design."""
    architecture: str | None
    """Its tree as text."""
    key: str | None
    """Of the tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """The front."""

    name: str
    """Of the quantity: one of `RESOURCES`."""
    unit: str
    seconds: float
    """To solve it."""
    points: tuple[Point, ...]
    """The tightest limit first."""

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Trade:
        """Read what `dataclasses.asdict` made of it."""
        return cls(**{**record, "points": tuple(Point(**point) for point in record["points"])})


Hearer = Callable[[str, float, Progress | None], None]
"""See `nas.solver.design.Listener`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A limit, and what no design within it exceeds."""

    limit: float
    bound: float


def resource_of(task: Task) -> str:
    """What the front of a task is over.

    Raises:
        UsageError: the one that is named is not bounded.
    """
    known = [name for name in RESOURCES if name in task.bounds]
    if not known:
        raise UsageError(
            "a front is over latency, multiply-adds, parameters or bytes of weights: bound one, by "
            "--budget, --max-macs, --max-params or --max-weights"
        )
    if task.front_over is None:
        return known[0]
    if task.front_over not in known:
        raise UsageError(
            f"a front is over a quantity that is bounded: {', '.join(known)}; "
            f"got '{task.front_over}'; bound it first"
        )
    return task.front_over


def trace_front(
    task: Task,
    solved: Sequence[Solved],
    found: list[Found],
    bound: float,
    measure: Measure,
    listen: Hearer | None = None,
) -> list[Bounded]:
    """Solve all chains under each limit.

    Args:
        task: what is designed; says how many points, and how much time there is.
        solved: the chains, solved under the task's own bounds.
        found: designs that are known, the best first; those that are met are added.
        bound: on all designs under the task's own bounds.
        measure: traces designs.
        listen: hears how far it is.
    """
    name = resource_of(task)
    used = float(getattr(measure(found[0].architecture), name))
    limits = limits_of([entry.chain.programme for entry in solved], name, used, task.front)
    end = time.perf_counter() + task.seconds / 2
    bounds = dict.fromkeys(limits, -math.inf)
    order = sorted(range(len(solved)), key=lambda index: -solved[index].solution.progress.score)
    for done, index in enumerate(order):
        chain, solution, mixed = solved[index].chain, solved[index].solution, solved[index].mixed
        left = (end - time.perf_counter()) / (len(solved) - done)
        known = _scores(name, limits, found, measure)
        wanted = [v for v in limits[:-1] if left > 0 and solution.progress.bound > known[v]]
        points: list[FrontPoint] = []
        if wanted:
            points = front(
                chain.programme,
                name,
                wanted,
                solver=solver_of(task.solver, mixed),
                gap=task.gap,
                seconds=left,
                seeds=() if solution.design is None else [solution.design],
                listen=_hearing(listen, done, len(solved)),
            )
        proven = {point.limit: point.solution.progress.bound for point in points}
        for limit in limits:
            bounds[limit] = max(bounds[limit], proven.get(limit, solution.progress.bound))
        for point in points:
            tight = replace(chain, programme=within(chain.programme, name, point.limit))
            found += found_in(tight, index, point.solution, mixed, _MIXED)
    bounds[limits[-1]] = bound
    return [Bounded(limit=limit, bound=value) for limit, value in bounds.items()]


def _scores(
    name: str, limits: Sequence[float], found: Sequence[Found], measure: Measure
) -> dict[float, float]:
    """The best score known under each limit; minus infinity where there is none."""
    known = [measure(f.architecture) for f in found]
    return {
        limit: max((m.score for m in known if getattr(m, name) <= limit), default=-math.inf)
        for limit in limits
    }


def _hearing(listen: Hearer | None, done: int, count: int) -> Callable[[Progress], None] | None:
    """Tells a solver's progress as a part of all chains; how many steps it takes is not known."""
    if listen is None:
        return None
    steps = 0

    def hear(progress: Progress) -> None:
        nonlocal steps
        steps += 1
        listen("front", (done + steps / (steps + 20)) / count, progress)

    return hear


def limits_of(programmes: Sequence[Programme], name: str, used: float, count: int) -> list[float]:
    """Limits evenly spread in logarithm, up to the programmes' own one.

    Args:
        programmes: of the chains.
        name: of the resource.
        used: what the best design takes of it.
        count: how many limits, at most.
    """
    place = [resource.name for resource in programmes[0].resources].index(name)
    own = programmes[0].resources[place].limit
    top = min(own, used)
    low = max(1.01 * min(least(programme, place) for programme in programmes), top / SPAN)
    if count < 2 or low >= top:
        return [own]
    rounded = [float(f"{limit:.3g}") for limit in np.geomspace(low, top, count)[:-1]]
    return [*sorted({limit for limit in rounded if limit < own}), own]


def least(programme: Programme, place: int) -> float:
    """The least that any design takes of a resource, whatever its effectiveness."""
    ways = np.zeros(1)
    for layer in programme.layers:
        cost, allowed = layer.costs[place], layer.allowed
        best = np.full(layer.shape[1], np.inf)
        for mode in range(layer.shape[2]):  # one at a time: there can be very many in all
            table = _of_mode(cost, mode) - _of_mode(allowed, mode)
            if layer.again is not None:
                table = table + layer.copies[0] * layer.again.costs[place][:, mode]
            best = np.minimum(best, (ways[:, None] + table).min(axis=0))
        ways = best
    return float(ways.min())


def _of_mode(total: Sum, mode: int) -> Array:
    """`[A, B]`, or what broadcasts to it: a sum's numbers in one mode."""
    source, target, pair = (np.asarray(p) for p in (total.source, total.target, total.pair))
    if source.ndim:
        source = source[:, min(mode, source.shape[1] - 1), None]
    if target.ndim:
        target = target[None, :, min(mode, target.shape[1] - 1)]
    if total.kinds:
        pair = pair[total.kinds[mode]]
    table: Array = source + target + pair
    return table if total.whole is None else table + total.whole[:, :, mode]


def trade(
    task: Task,
    limits: Sequence[Bounded],
    found: Sequence[Found],
    measure: Measure,
    seconds: float,
) -> Trade:
    """The best design known under each limit, with what bounds it.

    Args:
        task: says what the front is over.
        limits: as `trace_front` made them.
        found: designs that keep all bounds but perhaps the limits.
        measure: traces them.
        seconds: that it took.
    """
    name = resource_of(task)
    known = [(f.architecture, measure(f.architecture)) for f in found]
    points: list[Point] = []
    ceiling = math.inf
    for limit in sorted(limits, key=lambda b: -b.limit):
        ceiling = min(ceiling, limit.bound)
        keeps = [(a, m) for a, m in known if getattr(m, name) <= limit.limit]
        points.append(_point(name, limit.limit, ceiling, keeps))
    unit = UNITS.get(name, "")
    return Trade(name=name, unit=unit, seconds=seconds, points=tuple(points[::-1]))


def _point(
    name: str, limit: float, bound: float, keeps: Sequence[tuple[Architecture, Measured]]
) -> Point:
    if not keeps:
        none = None if bound == -math.inf else bound
        return Point(
            limit=limit, used=None, score=None, bound=none, gap=None, architecture=None, key=None
        )
    best, measured = max(keeps, key=lambda entry: (entry[1].score, entry[0].key))
    bound = max(bound, measured.score)
    return Point(
        limit=limit,
        used=float(getattr(measured, name)),
        score=measured.score,
        bound=bound,
        gap=gap_of(measured.score, bound),
        architecture=best.text,
        key=best.key,
    )
