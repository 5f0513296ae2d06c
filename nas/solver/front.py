"""The front of score against one resource, and what a little more of each is worth.

Epsilon-constraint (Haimes et al., 1971): the programme is solved under a row of bounds on the
resource, each begun with the designs found under the tighter ones, which keep it too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Unpack

from nas.solver.box import whole
from nas.solver.ceiling import ceiled, opened
from nas.solver.lagrange import Prices, Relaxation
from nas.solver.options import Effort, Within
from nas.solver.programme import Ceiling, Design, Programme
from nas.solver.solution import Solution
from nas.solver.solve import Solver, solve

_MORE = 0.25
"""Part of a ceiling by which it is raised to see what more of it is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bound, and the best design under it."""

    limit: float
    """The bound on the resource."""
    used: float | None
    """What the design uses; None: there is no design."""
    solution: Solution
    """Its bound holds for all designs within the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """What more of one resource is worth."""

    name: str
    unit: str
    """Of the resource."""
    price: float
    """Points of score for one more unit; 0 where the bound does not bind."""

    def __str__(self) -> str:
        """For people."""
        unit = f"{self.unit} of {self.name}" if self.unit else self.name
        return f"one more {unit} is worth {self.price:.4g} points"


def front(
    programme: Programme,
    resource: str,
    limits: Iterable[float],
    *,
    solver: str | Solver = "auto",
    seeds: Iterable[Design] = (),
    **effort: Unpack[Effort],
) -> list[Point]:
    """Best designs by bound on a resource, the tightest first; scores and bounds never fall.

    There are fewer points than limits where time is up: the loosest are missing.

    Args:
        programme: what to solve; its own bound on the resource is replaced.
        resource: its name.
        limits: bounds above 0.
        solver: a name in `nas.solver.solve.SOLVERS`, or what solves.
        seeds: designs to begin with under every bound; they need not keep it.
        effort: see `Effort`; the gap is for each, the seconds are for all of them together.

    Raises:
        ValueError: the programme does not bound such a resource.
    """
    names = [r.name for r in programme.resources]
    if resource not in names:
        raise ValueError(
            f"the front is over a resource that is bounded: {', '.join(names)}; got {resource!r}; "
            "set a bound on it first"
        )
    asked, place = Within(**effort), names.index(resource)
    solver = partial(solve, solver=solver) if isinstance(solver, str) else solver
    end = time.perf_counter() + asked.seconds
    given, ordered = list(seeds), sorted(set(limits))
    points: list[Point] = []
    for index, limit in enumerate(ordered):
        left = end - time.perf_counter()
        if points and left <= 0:
            break
        bounded = within(programme, resource, limit)
        before = points[-1].solution if points else None
        begin = [before.design] if before is not None and before.design is not None else []
        solution = solver(
            bounded,
            gap=asked.gap,
            seconds=left / (len(ordered) - index),
            seeds=[*begin, *given],
            listen=asked.listen,
        )
        if before is not None:
            solution = _raised(solution, before)
        used = None
        if solution.blend is not None:
            used = solution.blend.figures.used[place]
        elif solution.design is not None:
            used = bounded.figures(solution.design).used[place]
        points.append(Point(limit=limit, used=used, solution=solution))
    return _lowered(points, asked.gap)


def within(programme: Programme, resource: str, limit: float) -> Programme:
    """The programme with another bound on a resource."""
    resources = tuple(
        replace(r, limit=limit) if r.name == resource else r for r in programme.resources
    )
    return replace(programme, resources=resources, _steps={})


def undominated(points: Sequence[Point]) -> Iterator[Point]:
    """Those of a front's points that score more than all that use less."""
    best = -float("inf")
    for point in points:
        if point.used is not None and point.solution.progress.score > best:
            best = point.solution.progress.score
            yield point


def shadows(programme: Programme, solution: Solution) -> list[Shadow]:
    """What one more unit of each bound is worth, by the prices of the relaxation.

    They are slopes of its bound, which is concave in the limits of resources: nowhere does it rise
    by more than price times change. The score itself goes in steps, and follows where they are
    small. The effectiveness rho asks L >= D ln(D / rho) of each scale, for the sum L of its
    log-widths and the depth D, which a change of rho eases by D / rho for each unit of it. A
    ceiling has no slope: its price is that of a quarter more, for which the relaxation is bounded
    once more at the same prices.

    Returns:
        One for each resource, then the ceiling and the effectiveness if they are bounded; none
        where the solver had no prices.
    """
    prices, rho = solution.prices, programme.effectiveness
    if prices is None:
        return []
    found = [
        Shadow(name=r.name, unit=r.unit, price=float(price) / r.limit)
        for r, price in zip(programme.resources, prices.resources, strict=True)
    ]
    if programme.ceiling is not None:
        found.append(_raised_ceiling(programme, programme.ceiling, prices))
    if rho is not None:
        eased = float(prices.scales @ prices.depths) / rho
        found.append(Shadow(name="effectiveness", unit="", price=eased))
    return found


def _raised_ceiling(programme: Programme, ceiling: Ceiling, prices: Prices) -> Shadow:
    more = ceiled(opened(programme), (1 + _MORE) * ceiling.limit)
    before, after = (
        Relaxation(p).bound(whole(p), prices).value for p in (ceiled(opened(programme)), more)
    )
    price = max(0.0, after - before) / (_MORE * ceiling.limit)
    return Shadow(name=ceiling.name, unit=ceiling.unit, price=price)


def _raised(solution: Solution, before: Solution) -> Solution:
    """What keeps a tighter bound keeps this one too."""
    if before.progress.score <= solution.progress.score:
        return solution
    progress = replace(solution.progress, score=before.progress.score)
    return replace(solution, progress=progress, design=before.design, blend=before.blend)


def _lowered(points: list[Point], gap: float) -> list[Point]:
    """What no design exceeds under a bound, none exceeds under a tighter one."""
    ceiling, found = float("inf"), list[Point]()
    for point in reversed(points):
        ceiling = min(ceiling, point.solution.progress.bound)
        bound = max(ceiling, point.solution.progress.score)
        progress = replace(point.solution.progress, bound=bound)
        optimal = point.solution.optimal or progress.gap <= gap
        solution = replace(point.solution, progress=progress, optimal=optimal)
        found.append(replace(point, solution=solution))
    return found[::-1]
