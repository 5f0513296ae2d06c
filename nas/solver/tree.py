"""One programme's tree of boxes: the largest bound is cut first, until the gap is proven."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from nas.solver.box import Box, whole
from nas.solver.coarse import Coarse
from nas.solver.evenness import spread
from nas.solver.lagrange import Prices, Relaxation
from nas.solver.mix import Mixed, mix
from nas.solver.polish import exchange, improve
from nas.solver.prices import Tightened, first_prices, tighten
from nas.solver.programme import Design, Programme, Step
from nas.solver.solution import Progress, Solution
from nas.solver.survivors import survivors

_FIRST, _SHARED = 30, 20
"""Relaxations of the whole at a time: of one programme, and of one among several."""
_STEPS = 12
"""Relaxations of a box that was cut."""
_LOOSE = 0.1
"""Of what a bound must still fall, how much the penalty may be taken too small for."""
_BLENDED = 2
"""Designs of a box whose copies are shared out."""
_POOL = 50
"""Feasible designs that are kept."""


@dataclass(slots=True)
class Best:
    """The best score of several searches: what does not better it is not looked for in any."""

    score: float = -math.inf


@dataclass(order=True, slots=True)
class _Part:
    """A box that may still hold a better design; the largest bound comes first."""

    key: tuple[float, int]
    box: Box = field(compare=False)
    prices: Prices = field(compare=False)
    """Those at which its bound was found."""
    moved: Prices = field(compare=False)
    """With tangents that touch where the relaxation goes: to begin with in parts of it."""
    designs: list[Design] = field(compare=False)
    weights: list[float] = field(compare=False)

    @property
    def bound(self) -> float:
        return -self.key[0]


class Search:
    """Branch and bound in one programme."""

    def __init__(
        self,
        programme: Programme,
        gap: float,
        mixed: Collection[int],
        best: Best,
    ) -> None:
        """Begin with nothing.

        Args:
            programme: what to solve.
            gap: that is to be proven.
            mixed: layers whose copies may be of several modes.
            best: shared with other searches.
        """
        self.mixed, self.best = frozenset(mixed), best
        self.blend: Mixed | None = None
        """The best design with unlike copies, where it is better than all others."""
        self.programme, self.gap, self.start = programme, gap, time.perf_counter()
        self.relaxation = Relaxation(programme)
        self.design: Design | None = None
        self.score = self._alone = -math.inf
        self.parts: list[_Part] = []
        self.left: list[_Part] = []
        """Parts that keep the gap."""
        self.top: Prices | None = None
        self.without: frozenset[Design] = frozenset()
        """Designs that do not count."""
        self.whole = True
        """Whether states that cannot be part of a better design may be dropped."""
        self.dropped = -math.inf
        """The largest bound of states that were dropped."""
        self._met: set[Design] = set()
        self._polished: set[Design] = set()
        self._pool: dict[Design, float] = {}
        self._numbers = count()
        self.boxes = 0

    # The best design so far.

    def offer(self, design: Design, *, polish: bool = True) -> None:
        """Take a design, or what local search makes of it, if it is better and keeps all bounds."""
        found = improve(self.programme, design) if polish else design
        if found in self.without:  # what it was made from may be one of the others
            found = design
        if found is None or found in self.without:
            return
        figures = self.programme.figures(found)
        if self.programme.excess(figures) or figures.score == -math.inf:
            return
        if figures.score > self._alone:
            better = exchange(self.programme, found)
            if better not in self.without:
                found, figures = better, self.programme.figures(better)
        self._pool[found] = figures.score
        if len(self._pool) > 2 * _POOL:
            ranked = sorted(self._pool.items(), key=lambda entry: -entry[1])
            self._pool = dict(ranked[:_POOL])
        if self.design is None or figures.score > self._alone:
            self.design, self._alone = found, figures.score
        if figures.score > self.score:
            self._raise(figures.score, None)

    def _raise(self, score: float, blend: Mixed | None) -> None:
        self.score, self.blend = score, blend
        self.best.score = max(self.best.score, score)

    @property
    def goal(self) -> float:
        """The bound at which a box need not be cut further."""
        best = self.best.score
        return best if best == -math.inf else best + self.gap * abs(best)

    # Boxes.

    def begin(self, *, alone: bool) -> None:
        """Bound the whole space; tangents are moved to where the relaxation goes.

        Args:
            alone: whether no other programmes are solved beside this one.
        """
        steps = _FIRST if alone else _SHARED
        box = whole(self.programme)
        prices = first_prices(self.relaxation, *_guess(self.programme, box))
        designs: list[Design] = []
        bound = math.inf
        for _ in range(3):
            tight = tighten(
                self.relaxation, box, prices, known=designs, enough=self.goal, steps=steps
            )
            bound = min(bound, tight.bound)
            if tight.bound == -math.inf:
                return
            self._meet(tight)
            if bound <= self.goal:
                break
            designs, prices = tight.designs, self._touching(tight)
        self.top = tight.prices
        self.boxes += 1
        if box.single():
            self.offer(tight.designs[0], polish=False)
            return
        self._push(bound, box, tight)

    def take(self, coarse: Coarse, inner: Search) -> None:
        """Begin with the parts of a thinned programme."""
        if inner.design is not None:
            self.offer(coarse.design(inner.design))
        self.top = inner.top
        for part in [*inner.parts, *inner.left]:
            known = [coarse.design(design) for design in part.designs]
            self._bound(coarse.box(part.box), part.prices, part.moved, known, math.inf, steps=1)
        if not self.boxes:
            self.begin(alone=True)

    @property
    def open(self) -> float:
        """The largest bound of what must still be cut; minus infinity if the gap is proven."""
        while self.parts and (
            self.parts[0].bound <= self.goal or self.parts[0].box.single(self.mixed)
        ):
            self.left.append(heapq.heappop(self.parts))
        return self.parts[0].bound if self.parts else -math.inf

    def step(self) -> None:
        """Cut the box with the largest bound."""
        part = heapq.heappop(self.parts)
        for box in part.box.cut(part.designs, part.weights, self.mixed, self._few(part)):
            self._bound(box, part.prices, part.moved, part.designs, part.bound, steps=_STEPS)

    def _few(self, part: _Part) -> float:
        """Totals that a box may span: as many as there are, unless the penalty's bound is loose."""
        even = self.relaxation.evenness(part.box, part.moved.spread)
        if even is None or not part.designs:
            return math.inf
        programme = self.programme
        paid = np.average(
            [programme.unevenness(programme.depths(design)) for design in part.designs],
            weights=part.weights,
        )
        loose = min(even.looseness, float(paid) - self.relaxation.least_penalty(part.box))
        return 1.0 if loose > _LOOSE * (part.bound - self.goal) else math.inf

    def _bound(
        self,
        box: Box,
        prices: Prices,
        moved: Prices,
        known: list[Design],
        ceiling: float,
        steps: int,
    ) -> None:
        """Bound a box, and keep it if it may hold something better."""
        tight = tighten(self.relaxation, box, prices, known=known, enough=self.goal, steps=1)
        if steps > 1 and tight.bound > self.goal:
            ceiling, seen = min(ceiling, tight.bound), tight.seen
            tight = tighten(self.relaxation, box, moved, known=known, enough=self.goal, steps=steps)
            tight.seen += seen
        self.boxes += 1
        if tight.bound == -math.inf or box.single():
            if not self.whole:  # where the whole has more designs there may be feasible ones
                key = (math.inf, next(self._numbers))
                self.left.append(_Part(key, box, prices, moved, known, []))
            if tight.bound > -math.inf:
                self.offer(tight.seen[0], polish=False)
            return
        self._meet(tight)
        if self.mixed:
            self._mix(tight)
        bound = min(tight.bound, ceiling)
        if self.whole and bound > self.goal and tight.way is not None:
            goal = self.goal
            found = survivors(self.relaxation, box, tight.way, goal, self.mixed)
            bound = min(bound, found.bound())
            if bound > goal:
                box, dropped = box.shrunk(found.states, found.modes, goal)
                self.dropped = max(self.dropped, dropped)
            if box.single():
                self.offer(box.first(), polish=False)
                return
        self._push(bound, box, tight)

    def _push(self, bound: float, box: Box, tight: Tightened) -> None:
        key, moved = (-bound, next(self._numbers)), self._touching(tight)
        part = _Part(key, box, tight.prices, moved, tight.designs, tight.weights)
        if bound <= self.goal:
            self.left.append(part)
        else:
            heapq.heappush(self.parts, part)

    def _meet(self, tight: Tightened) -> None:
        for design in tight.seen:
            if design not in self._met:
                self._met.add(design)
                self.offer(design, polish=False)
        if tight.bound > self.goal:
            _, design = max(zip(tight.weights, tight.designs, strict=True))
            if design not in self._polished:
                self._polished.add(design)
                self.offer(design)

    def _mix(self, tight: Tightened) -> None:
        """Share out the copies of the designs that the relaxation mixes."""
        for _, design in sorted(zip(tight.weights, tight.designs, strict=True))[-_BLENDED:]:
            found = mix(self.programme, design, self.mixed)
            if found is not None and found.figures.score > self.score:
                self._raise(found.figures.score, found)

    def _touching(self, tight: Tightened) -> Prices:
        """Prices whose tangents touch where the relaxation mixes its designs."""
        weights = np.array(tight.weights) / sum(tight.weights)
        convs = weights @ [self.programme.totals(design).convs for design in tight.designs]
        uneven = weights @ [spread(self.programme.depths(design)) for design in tight.designs]
        return replace(tight.prices, depths=np.maximum(convs, 1e-3), spread=float(uneven))

    def _near(self) -> tuple[Design, ...]:
        """The designs that are mixed in the parts with the largest bounds."""
        parts = heapq.nsmallest(20, [*self.parts, *self.left])
        return tuple(dict.fromkeys(design for part in parts for design in part.designs))

    # The answer.

    def progress(self) -> Progress:
        """How far the search is."""
        open_ = [self.parts[0].bound] if self.parts else []
        bound = max([*open_, *(part.bound for part in self.left), self.dropped, self.score])
        seconds = time.perf_counter() - self.start
        return Progress(score=self.score, bound=bound, seconds=seconds, boxes=self.boxes)

    def solution(self) -> Solution:
        """What was found."""
        progress = self.progress()
        return Solution(
            design=self.design,
            progress=progress,
            solver="dp",
            prices=self.top,
            near=self._near(),
            blend=self.blend,
            pool=tuple(sorted(self._pool, key=lambda design: -self._pool[design])[:_POOL]),
            optimal=progress.gap <= self.gap,
        )


def _guess(programme: Programme, box: Box) -> tuple[float, float]:
    """About what a design scores, and its depth: those of the one in the box's middle."""
    totals = programme.totals(tuple(_middle(box)))
    score = totals.raw if math.isfinite(totals.raw) else 1e4
    return max(1.0, score), max(1.0, totals.convs[-1])


def _middle(box: Box) -> Iterator[Step]:
    source = 0
    for targets, modes, copies in zip(box.targets, box.modes, box.copies, strict=True):
        step = Step(source, sum(targets) // 2, sum(modes) // 2, (copies[0] * 2 + copies[1]) // 3)
        yield step
        source = step.target
