"""Branch and bound: the best design of a programme, with a proof of how good it is.

Boxes of designs are bounded by `nas.solver.lagrange`; the one with the largest bound is cut in two
until no box can hold a design that is better by more than the gap asked for.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from nas.solver.box import Box, whole
from nas.solver.lagrange import Prices, Relaxation
from nas.solver.polish import improve
from nas.solver.prices import first_prices, tighten
from nas.solver.programme import Design, Programme, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a solver is."""

    score: float
    """Of the best design so far; minus infinity before there is one."""
    bound: float
    """No design scores more."""
    seconds: float
    boxes: int
    """Parts of the space that were looked at."""

    @property
    def gap(self) -> float:
        """(bound - score) / |score|; infinite before there is a design."""
        if self.score == -math.inf:
            return 0.0 if self.bound == -math.inf else math.inf
        return max(0.0, self.bound - self.score) / max(1e-9, abs(self.score))


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A solver's answer."""

    design: Design | None
    """None: no design was found; none exists if the bound is minus infinity."""
    progress: Progress
    solver: str
    prices: Prices | None = None
    """Prices of the bounds at which the whole space is bounded best."""
    optimal: bool = False
    """Whether the gap asked for is proven; else the time ran out."""


def branch(
    programme: Programme,
    *,
    gap: float = 1e-3,
    seconds: float = 60.0,
    seeds: Iterable[Design] = (),
    listen: Callable[[Progress], None] | None = None,
) -> Solution:
    """Solve a programme.

    Args:
        programme: what to solve.
        gap: stop where (bound - score) / score is proven to be at most this.
        seconds: stop after about this long, with the gap that was reached.
        seeds: designs to begin with.
        listen: hears of the progress.
    """
    start = time.perf_counter()
    relaxation = Relaxation(programme)
    best, score = None, -math.inf
    for seed in seeds:
        best, score = _better(programme, seed, best, score)
    ticket = count()
    root = whole(programme)
    prices = first_prices(relaxation, *_guess(relaxation, root))
    looked, tried = 0, set[Design]()
    heap: list[tuple[float, int, Box, Prices, list[Design], list[float]]] = [
        (-math.inf, next(ticket), root, prices, [], [])
    ]
    bound, top = math.inf, None
    fathomed = -math.inf
    """The largest bound of boxes that were left because the gap is kept there."""

    def progress(bound: float) -> Progress:
        return Progress(
            score=score, bound=bound, seconds=time.perf_counter() - start, boxes=looked
        )

    while heap:
        negative, _, box, prices, known, weights = heapq.heappop(heap)
        bound = max(-negative, fathomed) if looked else math.inf
        if bound <= _goal(score, gap):
            heapq.heappush(heap, (negative, next(ticket), box, prices, known, weights))
            break
        if time.perf_counter() - start > seconds and looked:
            heapq.heappush(heap, (negative, next(ticket), box, prices, known, weights))
            break
        parts = [box]
        if looked:
            parts = list(box.cut(known, weights))
        for part in parts:
            steps = 60 if not looked else 12
            tight = tighten(
                relaxation, part, prices, known=known, enough=_goal(score, gap), steps=steps
            )
            looked += 1
            if top is None:
                top = tight.prices
            for design in tight.seen:
                if design in tried or len(tried) > 20_000:
                    continue
                tried.add(design)
                best, score = _better(programme, design, best, score, polish=len(tried) % 5 == 1)
            ceiling = min(tight.bound, -negative if looked > 1 else math.inf)
            if part.single or tight.bound == -math.inf:
                if part.single and tight.bound > -math.inf:
                    only = tight.seen[0]
                    best, score = _better(programme, only, best, score, polish=False)
                continue
            if ceiling <= _goal(score, gap):
                fathomed = max(fathomed, ceiling)
                continue
            moved = _touching(relaxation, tight.prices, tight.designs, tight.weights)
            heapq.heappush(
                heap, (-ceiling, next(ticket), part, moved, tight.designs, tight.weights)
            )
        if listen:
            listen(progress(max([-heap[0][0] if heap else -math.inf, fathomed, score])))
    bound = max([-heap[0][0] if heap else -math.inf, fathomed, score])
    done = progress(bound)
    return Solution(
        design=best, progress=done, solver="dp", prices=top, optimal=done.gap <= gap
    )


def _goal(score: float, gap: float) -> float:
    """The bound at which a box need not be cut further."""
    return score + gap * abs(score) if score > -math.inf else -math.inf


def _better(
    programme: Programme, design: Design, best: Design | None, score: float, polish: bool = True
) -> tuple[Design | None, float]:
    """The better of the best design so far and what can be made of another one."""
    if polish:
        improved = improve(programme, design)
    else:
        improved = design if not programme.excess(programme.figures(design)) else None
    if improved is None:
        return best, score
    found = programme.figures(improved).score
    return (improved, found) if found > score else (best, score)


def _touching(
    relaxation: Relaxation, prices: Prices, designs: list[Design], weights: list[float]
) -> Prices:
    """Prices whose tangents touch at the designs' mean depth."""
    programme = relaxation.programme
    weights = np.array(weights) / sum(weights)
    convs = weights @ [programme.totals(design).convs for design in designs]
    blocks = weights @ [programme.depths(design) for design in designs]
    return replace(prices, depths=np.maximum(convs, 1e-3), centre=blocks)


def _guess(relaxation: Relaxation, box: Box) -> tuple[float, float]:
    """About what a design scores, and its depth: those of the one in the box's middle."""
    design = []
    source = 0
    for targets, modes, copies in zip(box.targets, box.modes, box.copies, strict=True):
        step = Step(source, sum(targets) // 2, sum(modes) // 2, (copies[0] * 2 + copies[1]) // 3)
        design.append(step)
        source = step.target
    totals = relaxation.programme.totals(tuple(design))
    return max(1.0, totals.raw), max(1.0, float(totals.convs[-1]))
