"""The best design of a programme by mixed-integer linear programming, with HiGHS.

`nas.solver.linear` states the programme. What is convex in it is cut by tangents: where the answer
breaks one, or counts less of a penalty than it has, tangents there are added and the rest is solved
again (Kelley's method). Every answer's bound holds for the programme itself.
"""

from __future__ import annotations

import math
import time
from typing import Unpack

import numpy as np
from scipy.optimize import OptimizeResult
from scipy.optimize import milp as solve_milp

from nas.solver.linear import Linear, combinations_of
from nas.solver.options import Asked, Listener, Options
from nas.solver.polish import improve
from nas.solver.programme import Design, Programme
from nas.solver.solution import Progress, Solution

MOST = 300_000
"""Combinations of source, target and mode from which on this is refused."""
PRECISION = 1e-6
"""HiGHS keeps rows and bounds to about this much; a smaller gap is taken as this one."""


class TooLargeError(ValueError):
    """A programme has more combinations than a mixed-integer programme may hold."""


def milp(programme: Programme, **options: Unpack[Options]) -> Solution:
    """Solve a programme.

    Args:
        programme: what to solve.
        options: see `Options`; the gap is `PRECISION` at least.

    Raises:
        TooLargeError: there are more than `MOST` combinations.
    """
    asked, count = Asked(**options), combinations_of(programme)
    if count > MOST:
        raise TooLargeError(
            f"a mixed-integer programme may have {MOST:,} combinations of states and modes; this "
            f"one has {count:,}: solve it with --solver dp, or with fewer widths"
        )
    search = _Search(programme, max(asked.gap, PRECISION), frozenset(asked.without))
    for seed in asked.seeds:
        search.offer(seed)
    search.run(asked.seconds, asked.listen)
    return search.solution()


class _Search:
    """Answers of ever closer mixed-integer programmes."""

    def __init__(self, programme: Programme, gap: float, without: frozenset[Design]) -> None:
        self.programme, self.gap, self.without = programme, gap, without
        self.start = time.perf_counter()
        self.design: Design | None = None
        self.score, self.bound = -math.inf, math.inf
        self.solved = 0
        self.linear = Linear(programme)
        for design in without:
            self.linear.forbid(design)

    def offer(self, design: Design) -> bool:
        """Take a design, or what local search makes of it; whether it keeps all bounds itself."""
        figures = self.programme.figures(design)
        kept = math.isfinite(figures.score) and not self.programme.excess(figures)
        for found in (design, improve(self.programme, design)):
            if found is None or found in self.without:
                continue
            figures = self.programme.figures(found)
            if figures.score > self.score and not self.programme.excess(figures):
                self.design, self.score = found, figures.score
        return kept

    def run(self, seconds: float, listen: Listener | None) -> None:
        """Solve, cut, and solve again until the gap is proven or time is up."""
        while not self._proven():
            left = seconds - (time.perf_counter() - self.start)
            if left <= 0:
                return
            result = self._solve(left)
            self.solved += 1
            if result.status == 2:  # infeasible: nothing is better than what was found
                self.bound = self.score
                return
            if result.mip_dual_bound is not None:
                self.bound = min(self.bound, -float(result.mip_dual_bound))
            if result.x is None:
                if result.status != 1:
                    raise ArithmeticError(f"HiGHS failed on a mixed-integer programme: {result}")
                return
            design = self.linear.design(result.x)
            kept = self.offer(design)
            if listen:
                listen(self.progress())
            if self._proven() or result.status == 1:
                return
            if not self.linear.cut(design):
                # Nothing left to cut: it breaks a bound, or falls short, by less than HiGHS sees.
                if kept and design not in self.without:
                    return
                self.linear.forbid(design)

    def _proven(self) -> bool:
        return self.bound < math.inf and self.progress().gap <= self.gap

    def _solve(self, seconds: float) -> OptimizeResult:
        linear = self.linear
        return solve_milp(
            -np.array(linear.gains),
            integrality=np.array(linear.whole),
            bounds=linear.bounds(),
            constraints=linear.constraints(),
            options={"time_limit": seconds, "mip_rel_gap": self.gap / 4},
        )

    def progress(self) -> Progress:
        """How far it is."""
        seconds = time.perf_counter() - self.start
        bound = max(self.bound, self.score)
        return Progress(score=self.score, bound=bound, seconds=seconds, boxes=self.solved)

    def solution(self) -> Solution:
        """What was found."""
        progress = self.progress()
        return Solution(
            design=self.design,
            progress=progress,
            solver="milp",
            optimal=progress.gap <= self.gap,
        )
