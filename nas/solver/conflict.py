"""Why a programme has no design: a smallest set of bounds that conflict, and what each must give.

Whether some bounds can be kept together is asked of branch and bound: the least use of one of them
under the others, as a programme whose score is minus that use. A deletion filter (Chinneck and
Dravnieks, 1991) leaves a set of which no bound can be left out; smaller sets are then tried in
full, as there are few bounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from nas.solver.branch import branch
from nas.solver.ceiling import ceiled, opened
from nas.solver.linear import combinations_of
from nas.solver.milp import milp
from nas.solver.programme import Again, Ceiling, Layer, Programme, Resource, Sum
from nas.solver.solution import Solution
from nas.solver.solve import SMALL

EFFECTIVENESS = "effectiveness"
_SCALE = 1000.0
"""Score of a use that just fills its bound."""
_HALVINGS = 12
"""Of the range in which the least effectiveness lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """One bound of a conflict."""

    name: str
    """Of the resource or the ceiling, or `effectiveness`."""
    unit: str
    """For people."""
    limit: float
    """What it was set to."""
    least: float
    """A design exists with this value that keeps the other bounds of the conflict; infinite if
    none was found."""

    @property
    def give(self) -> float:
        """By which part of itself the bound would have to rise, the others as they are."""
        return self.least / self.limit - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Bounds that cannot be kept together."""

    bounds: tuple[Needed, ...]
    """Empty where even without any bound no chain of choices is allowed."""
    proven: bool
    """Whether it is certain that they conflict and that fewer of the bounds do not."""

    def __str__(self) -> str:
        """What must hold, what came, and the cure."""
        if not self.bounds:
            return (
                "some chain of choices must be allowed, and none is, whatever the bounds: relax "
                "the rules of the space, such as widths that may not fall"
            )
        kept = " and ".join(f"{b.name} <= {_number(b.limit, b.unit)}" for b in self.bounds)
        verb = "can be kept" if len(self.bounds) == 1 else "can be kept together"
        sure = "" if self.proven else " (as far as the time went)"
        ways = ", or ".join(_way(b, alone=len(self.bounds) == 1) for b in self.bounds)
        return f"no design exists: {kept} must hold, and none {verb}{sure}; raise {ways}"


def _number(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{math.ceil(value)} bytes"
    return f"{value:.6g} {unit}".rstrip()


def _way(bound: Needed, *, alone: bool) -> str:
    if not math.isfinite(bound.least):
        return f"{bound.name} by more than was found in time"
    rest = "" if alone else " while the rest stays"
    return f"{bound.name} to {_number(_up(bound.least), bound.unit)} (+{bound.give:.2%}){rest}"


def _up(value: float) -> float:
    """Rounded up to six digits, so that what is named is enough."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 5)
    return math.ceil(value / unit * (1 - 1e-12)) * unit


def conflict(programme: Programme, *, seconds: float = 60.0) -> Conflict | None:
    """A smallest set of bounds that conflict; None if a design keeps all of them.

    Args:
        programme: for which no design was found.
        seconds: for about how long to look.
    """
    asked = _Oracle(programme, time.perf_counter() + seconds)
    names = asked.names
    if asked.keeps(names):
        return None
    held = list(names)
    for name in names:
        fewer = [other for other in held if other != name]
        if not asked.keeps(fewer):
            held = fewer
    for size in range(1, len(held)):
        smaller = next((s for s in combinations(names, size) if not asked.keeps(s)), None)
        if smaller is not None:
            held = list(smaller)
            break
    needed = tuple(asked.needed(name, [n for n in held if n != name]) for name in held)
    return Conflict(bounds=needed, proven=asked.sure)


class _Oracle:
    """Whether bounds can be kept together."""

    def __init__(self, programme: Programme, end: float) -> None:
        self.programme, self.end = programme, end
        self._open = opened(programme)
        self.names = tuple(resource.name for resource in programme.resources)
        if programme.ceiling is not None:
            self.names += (programme.ceiling.name,)
        if programme.effectiveness is not None:
            self.names += (EFFECTIVENESS,)
        self.sure = True
        self._known: dict[frozenset[str], bool] = {}

    def keeps(self, names: Sequence[str]) -> bool:
        """Whether some design keeps these bounds; unproven, it is taken not to."""
        key = frozenset(names)
        if key not in self._known:
            self._known[key] = self._ask(names)
        return self._known[key]

    def _ask(self, names: Sequence[str]) -> bool:
        known = [resource.name for resource in self.programme.resources]
        resources = [name for name in names if name in known]
        if not resources:
            solution = self._solve(least(self.programme, None, names))
            return solution.design is not None
        # The bound of the least use decides, not the time that finding a design may take.
        first, rest = resources[0], [name for name in names if name != resources[0]]
        solution = self._solve(least(self.programme, first, rest))
        if solution.design is not None and self._used(solution, first) <= self._limit(first):
            return True
        if solution.progress.bound >= -_SCALE:
            self.sure = False
        return False

    def needed(self, name: str, others: Sequence[str]) -> Needed:
        """The least value of one bound where others stay."""
        ceiling = self.programme.ceiling
        if name == EFFECTIVENESS:
            limit, value, unit = self.programme.effectiveness or 0.0, self._flattest(others), ""
        elif ceiling is not None and name == ceiling.name:
            limit, value, unit = ceiling.limit, self._lowest(ceiling, others), ceiling.unit
        else:
            solution = self._solve(least(self.programme, name, others))
            value = math.inf if solution.design is None else self._used(solution, name)
            limit = self._limit(name)
            unit = next(r.unit for r in self.programme.resources if r.name == name)
        return Needed(name=name, unit=unit, limit=limit, least=value)

    def _flattest(self, others: Sequence[str]) -> float:
        """About the least effectiveness under the other bounds, by halving on a log scale."""
        known = [resource.name for resource in self.programme.resources]
        first = next((name for name in others if name in known), None)
        rest = [name for name in others if name != first]
        found, low = math.inf, self.programme.effectiveness or 1.0
        trial: float | None = None
        for _ in range(_HALVINGS):
            bounded = replace(self.programme, effectiveness=trial or 1.0, _steps={})
            names = [*rest, *([EFFECTIVENESS] if trial else [])]
            solution = self._solve(least(bounded, first, names))
            reached = solution.design is not None and (
                first is None or self._used(solution, first) <= self._limit(first)
            )
            if solution.design is not None and reached:
                found = min(found, self.programme.figures(solution.design).effectiveness)
            elif trial is None:
                return math.inf
            else:
                low = trial
            if found <= low * 1.001:
                break
            trial = math.sqrt(low * found)
        return found

    def _lowest(self, ceiling: Ceiling, others: Sequence[str]) -> float:
        """The least peak of any block under the other bounds, by halving the peaks there are."""
        peaks = [np.concatenate((p.first.ravel(), p.again.ravel())) for p in ceiling.peaks]
        offered = np.unique(np.concatenate(peaks))
        offered = offered[offered > ceiling.limit]
        low, high = 0, len(offered)
        while low < high:
            middle = (low + high) // 2
            raised = replace(ceiling, limit=float(offered[middle]))
            oracle = _Oracle(replace(self.programme, ceiling=raised, _steps={}), self.end)
            if oracle.keeps([*others, ceiling.name]):
                high = middle
            else:
                low = middle + 1
            self.sure = self.sure and oracle.sure
        return float(offered[low]) if low < len(offered) else math.inf

    def _solve(self, programme: Programme) -> Solution:
        left = max(0.05, self.end - time.perf_counter())
        # Prices of the effectiveness close slowly where there is little else; HiGHS cuts it.
        cut = programme.effectiveness is not None and combinations_of(programme) <= SMALL
        solution = (milp if cut else branch)(programme, gap=1e-6, seconds=left)
        if solution.design is None and solution.progress.bound > -math.inf:
            self.sure = False
        return solution

    def _used(self, solution: Solution, name: str) -> float:
        assert solution.design is not None
        return self._open.figures(solution.design).used[self._place(name)]

    def _limit(self, name: str) -> float:
        return self.programme.resources[self._place(name)].limit * (1 + 1e-12)

    def _place(self, name: str) -> int:
        return [resource.name for resource in self.programme.resources].index(name)


def least(programme: Programme, name: str | None, others: Sequence[str]) -> Programme:
    """The programme whose score is minus the use of a resource, under some of the other bounds.

    A use that fills its bound scores -1000. The scales stay for the effectiveness, with volumes of
    0; all use counts at the last layer.

    Args:
        programme: whose choices are taken.
        name: the resource; None: all designs score 0.
        others: bounds to keep.
    """
    names = [resource.name for resource in programme.resources]
    kept = [index for index, other in enumerate(names) if other in others and other != name]
    which = None if name is None else names.index(name)
    factor = 0.0 if which is None else -_SCALE / programme.resources[which].limit
    ceiling, programme = programme.ceiling, opened(programme)
    ends = [index for index, la in enumerate(programme.layers) if la.volume is not None]
    layers = []
    for index, layer in enumerate(programme.layers):
        last = index + 1 == len(programme.layers)
        costed = _costed(layer, which, factor, kept)
        if last or layer.volume is not None:
            costed = replace(costed, volume=np.full(layer.shape[1], float(last)))
        if index > ends[-1]:
            # The last scale is moved to the end of the chain; what lies between is not part of it.
            costed = replace(costed, log_width=Sum(), convs=Sum(), again=_blind(costed.again))
        layers.append(replace(costed, counted=False))
    found = replace(
        programme,
        layers=tuple(layers),
        resources=tuple(programme.resources[index] for index in kept),
        effectiveness=programme.effectiveness if EFFECTIVENESS in others else None,
        penalty=0.0,
        _steps={},
    )
    if ceiling is None or ceiling.name not in others:
        return found
    return ceiled(found if kept else _with_spare(found))


def _costed(layer: Layer, which: int | None, factor: float, kept: Sequence[int]) -> Layer:
    again = layer.again
    if again is not None:
        entropy = np.zeros_like(again.entropy)
        if which is not None:
            entropy = factor * again.costs[which]
        again = replace(again, entropy=entropy, costs=again.costs[list(kept)])
    return replace(
        layer,
        entropy=Sum() if which is None else _times(layer.costs[which], factor),
        costs=tuple(layer.costs[index] for index in kept),
        again=again,
    )


def _with_spare(programme: Programme) -> Programme:
    """The programme with a resource that nothing uses, for `nas.solver.ceiling` to exceed."""
    layers = []
    for layer in programme.layers:
        again = layer.again
        if again is not None:
            again = replace(again, costs=np.zeros((1, *layer.shape[1:])))
        costs = (Sum(whole=np.zeros(layer.shape)),)
        layers.append(replace(layer, costs=costs, again=again))
    spare = Resource(name="copies", unit="", limit=1.0)
    return replace(programme, layers=tuple(layers), resources=(spare,), _steps={})


def _times(total: Sum, factor: float) -> Sum:
    return Sum(
        source=total.source * factor,
        target=total.target * factor,
        pair=total.pair * factor,
        whole=None if total.whole is None else total.whole * factor,
        kinds=total.kinds,
    )


def _blind(again: Again | None) -> Again | None:
    if again is None:
        return None
    zero = np.zeros_like(again.convs)
    return replace(again, log_width=zero, convs=zero)
