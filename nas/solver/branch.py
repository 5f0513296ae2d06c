"""Branch and bound: the best design of programmes, with a proof of how good it is.

Boxes of designs are bounded by `nas.solver.lagrange`; the one with the largest bound is cut in two
until no box can hold a design that is better by more than the gap asked for. A programme with many
states is solved with few of them first: its boxes and prices are good ones to begin with. Several
programmes are solved at once, as if they were the first cut of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence

from nas.solver.coarse import Coarse, thin
from nas.solver.programme import Design, Programme
from nas.solver.solution import Progress, Solution
from nas.solver.tree import Best, Search

FEW = 64
"""States and modes of a layer in the programme that is solved first."""
_FIRST = 0.35
"""Part of the time for that."""

Listener = Callable[[Progress], None]


def branch(
    programme: Programme,
    *,
    gap: float = 1e-3,
    seconds: float = 60.0,
    seeds: Iterable[Design] = (),
    mixed: Collection[int] = (),
    listen: Listener | None = None,
    without: Iterable[Design] = (),
) -> Solution:
    """Solve a programme.

    Args:
        programme: what to solve.
        gap: stop where (bound - score) / score is proven to be at most this.
        seconds: stop after about this long, with the gap that was reached.
        seeds: designs to begin with.
        mixed: layers whose copies may be of several modes; the bound holds for such designs too.
        listen: hears of the progress.
        without: designs that do not count, as if they were not allowed.
    """
    best, end = Best(), time.perf_counter() + seconds
    search = Search(programme, gap, mixed, best)
    search.without = frozenset(without)
    for seed in seeds:
        search.offer(seed)
    return _solve([search], gap, end, listen)[0]


def union(
    programmes: Sequence[Programme],
    mixed: Sequence[Collection[int]],
    *,
    gap: float = 1e-3,
    seconds: float = 60.0,
    listen: Listener | None = None,
) -> list[Solution]:
    """Solve several programmes as one: each is cut only as far as the best design of all asks.

    Args:
        programmes: what to solve.
        mixed: as in `branch`, of each.
        gap: between the largest of all bounds and the best score.
        seconds: stop after about this long.
        listen: hears of the progress of all together.

    Returns:
        One solution for each programme, with its own designs and bound.
    """
    best, end = Best(), time.perf_counter() + seconds
    searches = [Search(p, gap, m, best) for p, m in zip(programmes, mixed, strict=True)]
    return _solve(searches, gap, end, listen)


def _solve(
    searches: Sequence[Search], gap: float, end: float, listen: Listener | None
) -> list[Solution]:
    begun: list[tuple[Search, Coarse | None, Search]] = []
    for search in searches:
        coarse = thin(search.programme, FEW)
        first = search
        if coarse is not None:
            first = Search(coarse.programme, max(gap, 3e-3), search.mixed, search.best)
            first.whole = False
        begun.append((search, coarse, first))
    for _, _, first in begun:
        first.begin()
    now = time.perf_counter()
    thinned = [first for _, coarse, first in begun if coarse is not None]
    _cut(thinned, now + (end - now) * _FIRST, None)
    for search, coarse, first in sorted(begun, key=lambda entry: -entry[2].score):
        if coarse is not None:
            search.take(coarse, first)
    _cut(searches, end, listen)
    return [search.solution() for search in searches]


def _cut(searches: Sequence[Search], end: float, listen: Listener | None) -> None:
    """Cut the box with the largest bound of all until the gap is proven or time is up."""
    while searches and time.perf_counter() < end:
        search = max(searches, key=lambda search: search.open)
        if not search.parts:
            return
        search.step()
        if listen:
            listen(_together(searches))


def _together(searches: Sequence[Search]) -> Progress:
    found = [search.progress() for search in searches]
    return Progress(
        score=max(progress.score for progress in found),
        bound=max(progress.bound for progress in found),
        seconds=max(progress.seconds for progress in found),
        boxes=sum(progress.boxes for progress in found),
    )
