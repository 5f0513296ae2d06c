"""The front of score against one resource, and what a little more of each is worth.

Epsilon-constraint (Haimes et al., 1971): the programme is solved under a row of bounds on the
resource, each begun with the designs found under the tighter ones, which keep it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from nas.solver.branch import Listener
from nas.solver.programme import Design, Programme
from nas.solver.solution import Solution
from nas.solver.solve import solve


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
    solver: str = "auto",
    gap: float = 1e-3,
    seconds: float = 60.0,
    listen: Listener | None = None,
) -> list[Point]:
    """Best designs by bound on a resource, the tightest first; scores and bounds never fall.

    Args:
        programme: what to solve; its own bound on the resource is replaced.
        resource: its name.
        limits: bounds above 0.
        solver: a name in `nas.solver.solve.SOLVERS`.
        gap: for each.
        seconds: for each.
        listen: hears of the progress of each.

    Raises:
        ValueError: the programme does not bound such a resource.
    """
    names = [r.name for r in programme.resources]
    if resource not in names:
        raise ValueError(
            f"the front is over a resource that is bounded: {', '.join(names)}; got {resource!r}; "
            "set a bound on it first"
        )
    place = names.index(resource)
    points: list[Point] = []
    seeds: list[Design] = []
    for limit in sorted(set(limits)):
        bounded = within(programme, resource, limit)
        solution = solve(bounded, solver, gap=gap, seconds=seconds, seeds=seeds, listen=listen)
        used = None
        if solution.design is not None:
            seeds = [solution.design]
            used = bounded.figures(solution.design).used[place]
        points.append(Point(limit=limit, used=used, solution=solution))
    return _lowered(points, gap)


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
    """What one more unit of each resource is worth, by the prices of the relaxation.

    They are slopes of its bound, which is concave in the limits: nowhere does the bound rise by
    more than price times change. The score itself goes in steps, and follows where they are small.

    Returns:
        One for each resource; none where the solver had no prices.
    """
    if solution.prices is None:
        return []
    return [
        Shadow(name=r.name, unit=r.unit, price=float(price) / r.limit)
        for r, price in zip(programme.resources, solution.prices.resources, strict=True)
    ]


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
