"""The best designs that differ, and what is proven of each of them.

Two designs differ if some stage has another width, depth or kind of block, so that they are two
networks; how the copies of one stage are shared out among kinds does not count, and a design
stands for its best mixture that is known. What is not listed is bounded as a whole, by a solver
that begins anew without what is. So it is proven of the k-th that no design whose stages each
repeat one kind of block, but those listed before it, scores more than the larger of its own score
and that bound. Unlike copies are left out there: the mixtures of the first would come before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.solver.found import Found, Measure, Solved, found_in, gap_of, solver_of
from nas.solver.programme import Design
from nas.solver.solution import Progress
from searchspace.architecture import Architecture
from searchspace.canonical import canonical_key
from searchspace.tree import Node, units

if TYPE_CHECKING:
    from nas.solver.design import Task

_SEEDS = 3
"""Designs that a solver begins with."""
_MIXED = 3
"""Feasible designs of it whose stages are mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One of the best designs."""

    architecture: str
    """Its tree as text."""
    key: str
    """Of the tree."""
    score: float
    """In nats."""
    bound: float
    """No design with like copies but those listed before this one scores more."""
    gap: float
    """(bound - score) / |score|."""
    effectiveness: float
    high_ms: float
    """Upper end of the predicted latency, in milliseconds."""
    params: int
    macs: int


def rank(
    task: Task,
    solved: Sequence[Solved],
    found: list[Found],
    bound: float,
    measure: Measure,
    listen: Callable[[str, float, Progress | None], None] | None = None,
) -> list[Ranked]:
    """The best designs that differ, the best first.

    Nothing is solved where the bound at hand proves the gap of them all, or one is wanted.

    Args:
        task: what is designed; says how many are wanted, and how much time there is.
        solved: the chains, with their answers.
        found: designs that are known; those that are met are added.
        bound: on all designs.
        measure: traces designs.
        listen: hears how far it is.

    Returns:
        Fewer than wanted where no more exist, or time is up.
    """
    end = time.perf_counter() + task.seconds / 2
    listed, taken = differing(task, found)
    bounds = [min(bound, entry.solution.progress.bound) for entry in solved]
    """By chain: what no design of it that is not listed exceeds."""
    while task.ranked > 1 and (wanted := _open(listed, task, bounds)):
        for done, index in enumerate(wanted):
            left = (end - time.perf_counter()) / (len(wanted) - done)
            if left <= 0:
                break
            chain, without = solved[index].chain, [d for place, d in taken if place == index]
            solution = solver_of(task.solver, ())(
                chain.programme,
                gap=task.gap,
                seconds=left,
                seeds=_others(found, index, without),
                without=without,
                listen=(lambda p: listen("rank", 0.5, p)) if listen else None,
            )
            bounds[index] = min(bounds[index], solution.progress.bound)
            found += found_in(chain, index, solution, solved[index].mixed, _MIXED)
        before, known = listed, taken
        listed, taken = differing(task, found)
        # What was listed before, and no longer is, was not bounded: it scores what it does.
        for entry in before:
            if entry not in listed:
                bounds[entry.chain] = max(bounds[entry.chain], entry.score)
        if known == taken or time.perf_counter() >= end:
            break
    rest = max(bounds)
    return [_ranked(f, measure, rest) for f in listed]


Look = tuple[tuple[int, frozenset[Node]], ...]
"""By item of the first rule: how many blocks, and of which kinds."""
Place = tuple[int, Design]
"""A design of a chain, by the chain's number."""


def differing(task: Task, found: Sequence[Found]) -> tuple[list[Found], set[Place]]:
    """The best designs that differ, and all designs that are one of these networks."""
    listed: list[Found] = []
    taken: set[Place] = set()
    networks: set[str] = set()
    looks: set[Look] = set()
    for entry in sorted(found, key=lambda f: (f.score, f.text), reverse=True):
        place = entry.chain, entry.design
        if place in taken or (task.ranked == 1 and listed):
            continue
        network = canonical_key(entry.architecture, task.grammar.input)
        look = _look(entry.architecture)
        if network in networks and not entry.mixed:
            taken.add(place)
        elif len(listed) < task.ranked and network not in networks and look not in looks:
            networks.add(network)
            looks.add(look)
            taken.add(place)
            listed.append(entry)
    return listed, taken


def _look(architecture: Architecture) -> Look:
    """What a tree has in common with those that share out the same copies in another way."""
    rows = [
        [node for root in group for _, node in units(root)] for group in architecture.root.children
    ]
    return tuple((len(row), frozenset(row)) for row in rows)


def _open(listed: Sequence[Found], task: Task, bounds: Sequence[float]) -> list[int]:
    """Chains that may have a design that betters the last one by more than the gap."""
    if len(listed) < task.ranked:
        return [index for index, bound in enumerate(bounds) if bound > -math.inf]
    last = listed[-1].score
    return [index for index, bound in enumerate(bounds) if gap_of(last, bound) > task.gap]


def _others(found: Sequence[Found], chain: int, taken: Sequence[Design]) -> list[Design]:
    """The best designs of a chain that are not taken."""
    ranked = sorted((f for f in found if f.chain == chain), key=lambda f: -f.score)
    others = dict.fromkeys(f.design for f in ranked if f.design not in taken)
    return list(others)[:_SEEDS]


def _ranked(entry: Found, measure: Measure, rest: float) -> Ranked:
    measured = measure(entry.architecture)
    bound = max(measured.score, rest)
    return Ranked(
        architecture=entry.text,
        key=entry.architecture.key,
        score=measured.score,
        bound=bound,
        gap=gap_of(measured.score, bound),
        effectiveness=measured.effectiveness,
        high_ms=measured.high_ms,
        params=measured.params,
        macs=measured.macs,
    )
