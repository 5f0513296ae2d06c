"""Branch and bound: the best design of programmes, with a proof of how good it is.

Boxes of designs are bounded by `nas.solver.lagrange`; the one with the largest bound is cut in two
until no box can hold a design that is better by more than the gap asked for. A programme with many
states is solved with few of them first: its boxes and prices are good ones to begin with. Several
programmes are solved at once, as if they were the first cut of one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Unpack

from nas.solver.coarse import Coarse, thin
from nas.solver.options import Asked, Effort, Listener, Options, Within
from nas.solver.programme import Programme
from nas.solver.solution import Progress, Solution
from nas.solver.tree import Best, Search

FEW = 64
"""States and modes of a layer in the programme that is solved first."""
_FIRST = 0.35
"""Part of the time for that."""


def branch(
    programme: Programme, *, mixed: Collection[int] = (), **options: Unpack[Options]
) -> Solution:
    """Solve a programme.

    Args:
        programme: what to solve.
        mixed: layers whose copies may be of several modes; the bound holds for such designs too.
        options: see `Options`.
    """
    asked = Asked(**options)
    best, end = Best(), time.perf_counter() + asked.seconds
    search = Search(programme, asked.gap, mixed, best)
    search.without = frozenset(asked.without)
    for seed in asked.seeds:
        search.offer(seed)
    return _solve([search], asked.gap, end, asked.listen)[0]


def union(
    programmes: Sequence[Programme],
    mixed: Sequence[Collection[int]],
    **effort: Unpack[Effort],
) -> list[Solution]:
    """Solve several programmes as one: each is cut only as far as the best design of all asks.

    Args:
        programmes: what to solve.
        mixed: as in `branch`, of each.
        effort: see `Effort`; the gap is that between the largest of all bounds and the best
            score, the progress that of all together.

    Returns:
        One solution for each programme, with its own designs and bound.
    """
    asked = Within(**effort)
    best, end = Best(), time.perf_counter() + asked.seconds
    searches = [Search(p, asked.gap, m, best) for p, m in zip(programmes, mixed, strict=True)]
    return _solve(searches, asked.gap, end, asked.listen)


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
        first.begin(alone=len(begun) == 1)
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
