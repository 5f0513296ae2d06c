"""Solvers by name, and more than one answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, Unpack

from nas.solver.branch import branch
from nas.solver.linear import combinations_of
from nas.solver.milp import milp
from nas.solver.options import Asked, Effort, Options, Within
from nas.solver.polish import neighbours
from nas.solver.programme import Design, Programme
from nas.solver.relax import relax
from nas.solver.solution import Solution

SMALL = 20_000
"""Combinations of states and modes up to which `auto` tries a mixed-integer programme too."""


class Solver(Protocol):
    """What solves a programme."""

    def __call__(self, programme: Programme, **options: Unpack[Options]) -> Solution:
        """Solve it; see `solve`."""
        ...


def auto(programme: Programme, **options: Unpack[Options]) -> Solution:
    """Branch and bound with dynamic programming; HiGHS takes over where that does not end.

    A programme of more than `SMALL` combinations is left to dynamic programming for all of the
    time. A smaller one is for half of it; then a mixed-integer programme begins with the design
    found. The answer has the better design and the lower bound of both.
    """
    asked = Asked(**options)
    seeds, without = list(asked.seeds), list(asked.without)
    small = combinations_of(programme) <= SMALL
    share = asked.seconds / 2 if small else asked.seconds
    options |= {"seconds": share, "seeds": seeds, "without": without}
    first = branch(programme, **options)
    left = asked.seconds - first.progress.seconds
    if first.optimal or not small or left <= 0:
        return first
    if first.design is not None:
        seeds = [first.design, *seeds]
    options |= {"seconds": left, "seeds": seeds}
    second = milp(programme, **options)
    return _both(first, second, asked.gap)


SOLVERS: dict[str, Solver] = {"auto": auto, "dp": branch, "milp": milp, "relax": relax}
"""By the name that `--solver` takes."""


def solve(programme: Programme, solver: str = "auto", **options: Unpack[Options]) -> Solution:
    """Solve a programme by a solver of some name.

    Args:
        programme: what to solve.
        solver: a name in `SOLVERS`.
        options: see `Options`.

    Raises:
        ValueError: no solver has that name.
        TooLargeError: it is too large for the solver.
    """
    if solver not in SOLVERS:
        raise ValueError(f"the solver must be one of {', '.join(SOLVERS)}; got {solver!r}")
    return SOLVERS[solver](programme, **options)


def best(
    programme: Programme,
    count: int,
    solver: str = "auto",
    **effort: Unpack[Effort],
) -> list[Solution]:
    """The best designs that differ, the best first.

    Each is solved for without those before it; its bound holds for all designs but those. There
    are fewer where no more are feasible or time is up.

    Args:
        programme: what to solve.
        count: how many; at least 1.
        solver: a name in `SOLVERS`.
        effort: see `Effort`; the gap is for each, the seconds are for all of them together.
    """
    if count < 1:
        raise ValueError(f"the number of designs must be at least 1; got {count}")
    asked, start = Within(**effort), time.perf_counter()
    found: list[Solution] = []
    taken: list[Design] = []
    for rank in range(count):
        left = asked.seconds - (time.perf_counter() - start)
        if rank and left <= 0:
            break
        solution = solve(
            programme,
            solver,
            gap=asked.gap,
            seconds=left / (count - rank),
            seeds=_next(programme, found, taken),
            listen=asked.listen,
            without=taken,
        )
        if solution.design is None:
            # That none exists is an answer where it is the first one.
            return found or [solution]
        found.append(solution)
        taken.append(solution.design)
    return sorted(found, key=lambda solution: -solution.progress.score)


def _next(
    programme: Programme, found: Sequence[Solution], taken: Sequence[Design]
) -> Iterator[Design]:
    """The best feasible designs that were met, or that are one move from those taken."""
    met = [
        *(d for s in found for d in s.pool),
        *(o for d in taken for o in neighbours(programme, d)),
    ]
    scores = {}
    for design in set(met) - set(taken):
        figures = programme.figures(design)
        if not programme.excess(figures):
            scores[design] = figures.score
    yield from sorted(scores, key=lambda design: -scores[design])[:3]


def _both(first: Solution, second: Solution, gap: float) -> Solution:
    """One answer of two."""
    better = max(first, second, key=lambda solution: solution.progress.score)
    progress = replace(
        better.progress,
        bound=max(better.progress.score, min(first.progress.bound, second.progress.bound)),
        seconds=first.progress.seconds + second.progress.seconds,
        boxes=first.progress.boxes + second.progress.boxes,
    )
    return replace(
        better,
        progress=progress,
        prices=first.prices,
        pool=first.pool,
        solver="dp, then milp",
        optimal=progress.gap <= gap,
    )
