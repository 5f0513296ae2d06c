"""The space of a run, stated as programmes and solved: designs, and the proof of their worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from hwprofile.blocks import BlockTable
from nas.solver.branch import union
from nas.solver.chain import Chain
from nas.solver.combinations import ChainError
from nas.solver.compile import MODES, VALUES, Compiler
from nas.solver.conflict import conflict
from nas.solver.mix import mix
from nas.solver.solution import NoDesignError, Progress, Solution
from nas.solver.solve import solve
from predictors.base import Context
from predictors.entropy import EntropyPredictor
from predictors.latency import LatencyPredictor
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.text import from_text

FORMAT, VERSION = "nas-certificate", 1
AUTO = "auto"
_REASONING = 20.0
"""Seconds for finding out which bounds conflict."""
_MIXED = 10
"""Feasible designs whose stages are mixed, beside the relaxation's."""

Listener = Callable[[str, float, Progress | None], None]
"""Hears what is done, how far it is from 0 to 1, and how far the bounds have closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the best design takes of a bounded quantity."""

    name: str
    unit: str
    limit: float
    used: float
    price: float
    """What the bound on the score gains if the limit rises by one unit: the shadow price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Designs, and what is proven of the first one."""

    solver: str
    score: float
    """Of the first design, in nats."""
    bound: float
    """No design of the programmes scores more."""
    gap: float
    """(bound - score) / |score|."""
    seconds: float
    """To state and to solve."""
    optimal: bool
    """Whether the gap that was asked for is proven; else time ran out."""
    uses: tuple[Use, ...]
    values: int
    """Values that the programmes hold of each variable of the space's first rule, at most."""
    modes: int
    """Kinds of blocks that they hold for each item of it, at most."""
    left_out: tuple[str, ...]
    """Alternatives that are no chains of stages, so that nothing is proven of them."""
    designs: tuple[str, ...]
    """Trees as text, the best first."""

    def architectures(self, grammar: Grammar) -> tuple[Architecture, ...]:
        """The designs as trees of their space."""
        return tuple(Architecture(space=grammar.name, root=from_text(t)) for t in self.designs)

    def to_json(self) -> dict[str, Any]:
        """The JSON form, with format and version."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Certificate:
        """Read what `to_json` wrote."""
        given = {name: value for name, value in record.items() if name not in ("format", "version")}
        given["uses"] = tuple(Use(**use) for use in given["uses"])
        for name in ("left_out", "designs"):
            given[name] = tuple(given[name])
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be designed."""

    grammar: Grammar
    costs: BlockTable
    latency: LatencyPredictor
    bounds: dict[str, float]
    """By resource, as in `Compiler`."""
    effectiveness: float
    quantized: bool = False
    solver: str = AUTO
    """`dp` (`nas.solver.branch`), `milp` or `relax`; `auto` takes dp, which knows mixtures."""
    gap: float = 0.01
    """The gap that is asked for."""
    seconds: float = 60.0
    """Time to solve, after the programmes were stated."""
    count: int = 10
    """Designs wanted at most."""


def certify(task: Task, listen: Listener | None = None) -> Certificate:
    """Solve a task.

    Raises:
        ChainError: no alternative of the space is a chain of stages, or nothing is bounded.
        NoDesignError: no design keeps all bounds.
    """
    if not task.bounds:
        raise ChainError("a programme needs a bound: give --budget, --max-params or --max-macs")
    start = time.perf_counter()
    compiler = Compiler(
        task.grammar,
        task.costs,
        task.latency,
        task.bounds,
        effectiveness=task.effectiveness,
        quantized=task.quantized,
        listen=(lambda what, part: listen(f"state {what}", part, None)) if listen else None,
    )
    chains, left_out = compiler.chains()
    if not chains:
        raise ChainError(
            f"no alternative of {task.grammar.name} is a chain of stages: use another --strategy "
            f"({'; '.join(left_out)})"
        )
    solved = _solve(chains, task, listen)
    bound = max(solution.progress.bound for _, solution in solved)
    if all(solution.design is None for _, solution in solved):
        _explain(task, chains, bound)
    designs = [(*entry, *pair) for pair in solved for entry in _mixed(*pair)]
    designs.sort(key=lambda entry: -entry[0])
    score, first, chain, solution = designs[0]
    traced = _traced(task, first)
    if not math.isclose(traced, score, rel_tol=1e-6):
        raise AssertionError(f"the programme says {score}, its network scores {traced}: {first}")
    gap = max(0.0, bound - score) / max(1e-9, abs(score))
    return Certificate(
        solver=solution.solver,
        score=score,
        bound=bound,
        gap=gap,
        seconds=time.perf_counter() - start,
        optimal=gap <= task.gap,
        uses=_uses(task, chain, solution, first),
        values=VALUES,
        modes=MODES,
        left_out=tuple(left_out),
        designs=tuple(dict.fromkeys(entry[1] for entry in designs))[: task.count],
    )


def _solve(
    chains: list[Chain], task: Task, listen: Listener | None
) -> list[tuple[Chain, Solution]]:
    """Each chain's solution."""

    def hear(progress: Progress) -> None:
        if listen:
            listen("solve", min(1.0, progress.seconds / task.seconds), progress)

    programmes = [chain.programme for chain in chains]
    if task.solver in (AUTO, "dp"):
        mixed = [chain.mixable() for chain in chains]
        solutions = union(programmes, mixed, gap=task.gap, seconds=task.seconds, listen=hear)
        return list(zip(chains, solutions, strict=True))
    end, solutions = time.perf_counter() + task.seconds, []
    for index, programme in enumerate(programmes):
        share = (end - time.perf_counter()) / (len(chains) - index)
        solutions.append(
            solve(programme, task.solver, gap=task.gap, seconds=max(1.0, share), listen=hear)
        )
    return list(zip(chains, solutions, strict=True))


def _explain(task: Task, chains: list[Chain], bound: float) -> None:
    bounds = ", ".join(f"{name} <= {limit:g}" for name, limit in task.bounds.items())
    bounds += f", effectiveness <= {task.effectiveness:g}"
    if bound == -math.inf:
        reasons = {str(conflict(c.programme, seconds=_REASONING / len(chains))) for c in chains}
        raise NoDesignError(
            f"no chain of stages of {task.grammar.name} keeps {bounds}, among the values and "
            f"blocks that its programmes hold: {'; or '.join(sorted(reasons))}"
        )
    raise NoDesignError(
        f"no design of {task.grammar.name} that keeps {bounds} was found in {task.seconds:g} s: "
        "raise --solve-seconds, loosen a bound, or use another --strategy"
    )


def _traced(task: Task, text: str) -> float:
    """The score of a tree as a search finds it."""
    context = Context(
        grammar=task.grammar,
        spec=task.grammar.input,
        costs=lambda architecture: task.costs.costs(architecture.root),
        quantized=task.quantized,
    )
    return EntropyPredictor(context).entropy(task.costs.costs(from_text(text))).score


def _uses(task: Task, chain: Chain, solution: Solution, text: str) -> tuple[Use, ...]:
    """What a design takes, and what more would be worth."""
    costs = task.costs.costs(from_text(text))
    used = {
        "high_ms": task.latency.latency(costs).high,
        "params": float(costs.params),
        "macs": float(costs.macs),
    }
    prices = solution.prices
    return tuple(
        Use(
            name=resource.name,
            unit=resource.unit,
            limit=resource.limit,
            used=used[resource.name],
            price=0.0 if prices is None else float(prices.resources[index]) / resource.limit,
        )
        for index, resource in enumerate(chain.programme.resources)
    )


def _mixed(chain: Chain, solution: Solution) -> list[tuple[float, str]]:
    """Scores and texts of designs, the copies in their stages mixed where that is better."""
    programme, found = chain.programme, dict[str, float]()
    for design in solution.pool:
        found[chain.architecture(design).text] = programme.figures(design).score
    layers = chain.mixable()
    for design in (*solution.near, *solution.pool[:_MIXED]) if layers else ():
        mixed = mix(programme, design, layers)
        if mixed is not None:
            found[chain.architecture(design, mixed.mixture).text] = mixed.figures.score
    if solution.blend is not None:
        text = chain.architecture(solution.blend.design, solution.blend.mixture).text
        found[text] = solution.blend.figures.score
    return sorted(((score, text) for text, score in found.items()), reverse=True)
