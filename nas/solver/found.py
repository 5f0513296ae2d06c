"""The designs that a solver met, as trees, and how a chain is solved once more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nas.solver.branch import branch
from nas.solver.mix import Mixture, mix
from nas.solver.programme import Design
from nas.solver.solution import Solution
from nas.solver.solve import Solver, solve
from predictors.base import Context
from predictors.entropy import EntropyPredictor
from searchspace.architecture import Architecture

if TYPE_CHECKING:
    from nas.solver.chain import Chain
    from nas.solver.design import Task

AUTO = "auto"
_MIXED = 10
"""Feasible designs whose stages are mixed, beside the relaxation's."""


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """A chain with its answer."""

    chain: Chain
    solution: Solution
    mixed: Collection[int]
    """Layers whose copies may be unlike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A design of some chain as a tree."""

    score: float
    """As its programme says."""
    architecture: Architecture
    chain: int
    """Which of the run's chains."""
    design: Design
    """Its states, depths and first blocks; mixtures of one design share it."""
    mixed: bool
    """Whether the copies in its stages may be unlike."""

    @property
    def text(self) -> str:
        """The tree."""
        return self.architecture.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a tree comes to as a search finds it."""

    score: float
    effectiveness: float
    high_ms: float
    params: int
    macs: int
    weight_bytes: int
    peak_bytes: int


class Measure:
    """Traces and prices trees as a search does, each once."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._entropy = EntropyPredictor(
            Context(
                grammar=task.grammar,
                spec=task.grammar.input,
                costs=lambda architecture: task.costs.costs(architecture.root),
                quantized=task.quantized,
            )
        )
        self._known: dict[str, Measured] = {}

    def __call__(self, architecture: Architecture) -> Measured:
        """What a tree comes to."""
        found = self._known.get(architecture.text)
        if found is None:
            costs = self._task.costs.costs(architecture.root)
            entropy = self._entropy.entropy(costs)
            found = self._known[architecture.text] = Measured(
                score=entropy.score,
                effectiveness=entropy.effectiveness,
                high_ms=self._task.latency.latency(costs).high,
                params=costs.params,
                macs=costs.macs,
                weight_bytes=costs.weight_bytes,
                peak_bytes=costs.peak_bytes,
            )
        return found


def gap_of(score: float, bound: float) -> float:
    """(bound - score) / |score|, at least 0."""
    return max(0.0, bound - score) / max(1e-9, abs(score))


def solver_of(name: str, mixed: Collection[int]) -> Solver:
    """A solver by name; `auto` and `dp` are branch and bound, which knows mixtures.

    Args:
        name: as `--solver` takes it.
        mixed: layers of the chain whose copies may be unlike.
    """
    if name in (AUTO, "dp"):
        return partial(branch, mixed=mixed)
    return partial(solve, solver=name)


def found_in(
    chain: Chain, index: int, solution: Solution, mixed: Collection[int], most: int = _MIXED
) -> list[Found]:
    """Designs of a solution, the copies in their stages mixed where that is better.

    Args:
        chain: what was solved; the bounds are those of its programme.
        index: of the chain in its run.
        solution: the answer.
        mixed: layers whose copies may be unlike.
        most: feasible designs to mix.

    Returns:
        The best first, each tree once.
    """
    programme, found = chain.programme, dict[str, Found]()

    def add(score: float, design: Design, mixture: Mixture | None) -> None:
        tree = chain.architecture(design, mixture)
        found[tree.text] = Found(
            score=score, architecture=tree, chain=index, design=design, mixed=mixture is not None
        )

    pool = dict.fromkeys((*([] if solution.design is None else [solution.design]), *solution.pool))
    for design in pool:
        add(programme.figures(design).score, design, None)
    near: Iterable[Design] = (*solution.near, *list(pool)[:most])
    for design in near if mixed else ():
        blend = mix(programme, design, mixed)
        if blend is not None:
            add(blend.figures.score, design, blend.mixture)
    if solution.blend is not None:
        add(solution.blend.figures.score, solution.blend.design, solution.blend.mixture)
    return sorted(found.values(), key=lambda f: (f.score, f.text), reverse=True)
