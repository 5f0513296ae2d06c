"""The space of a run, stated as programmes and solved: designs, and the proof of their worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwprofile.blocks import BlockTable
from nas.solver.branch import union
from nas.solver.chain import Chain
from nas.solver.combinations import ChainError
from nas.solver.compile import MODES, Compiler
from nas.solver.conflict import conflict
from nas.solver.found import AUTO, Found, Measure, Measured, Solved, found_in, gap_of
from nas.solver.front import shadows
from nas.solver.ranking import Ranked, rank
from nas.solver.solution import NoDesignError, Progress, Solution
from nas.solver.solve import solve
from nas.solver.trade import Trade, trace_front, trade
from predictors.latency import LatencyPredictor
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.text import from_text

FORMAT, VERSION = "nas-certificate", 1
_REASONING = 20.0
"""Seconds for finding out which bounds conflict."""

Listener = Callable[[str, float, Progress | None], None]
"""Hears what is done, how far it is from 0 to 1, and how far the bounds have closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the best design takes of a bounded quantity."""

    name: str
    unit: str
    limit: float
    used: float
    price: float | None
    """What the bound on the score gains if the limit rises by one unit: the shadow price.

    None: the solver has no prices.
    """


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
    """Alternatives that are no chains of stages, and kinds of blocks in no closed form, so that
    nothing is proven of them."""
    designs: tuple[str, ...]
    """Trees as text, the best first."""
    ranked: tuple[Ranked, ...] = ()
    """The best designs that differ, as many as were asked for."""
    front: Trade | None = None
    """Score against a bounded quantity, where it was asked for."""

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
        given["ranked"] = tuple(Ranked(**entry) for entry in given.get("ranked", ()))
        if given.get("front") is not None:
            given["front"] = Trade.from_json(given["front"])
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
    """Designs to search on from, at most, beside those that are ranked and on the front."""
    ranked: int = 1
    """Designs that differ to rank; more than 1 may take half of `seconds` more."""
    front: int = 0
    """Points of the front; more than 0 take up to half of `seconds` more."""
    front_over: str | None = None
    """What the front is over; None: the first that is bounded of `nas.solver.trade.RESOURCES`."""


def certify(task: Task, listen: Listener | None = None) -> Certificate:
    """Solve a task.

    Raises:
        ChainError: no alternative of the space is a chain of stages, or nothing is bounded.
        NoDesignError: no design keeps all bounds.
    """
    if not task.bounds:
        raise ChainError(
            "a programme needs a bound: give --budget, --max-params, --max-macs, --max-weights or "
            "--max-memory"
        )
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
    more = _more(task, solved, bound, listen)
    best = more.found[0]
    chain, solution = solved[best.chain]
    measured = more.measure(best.architecture)
    if not math.isclose(measured.score, best.score, rel_tol=1e-6):
        raise AssertionError(
            f"the programme says {best.score}, its network scores {measured.score}: {best.text}"
        )
    bound = max(bound, best.score)
    gap = gap_of(best.score, bound)
    return Certificate(
        solver=solution.solver,
        score=best.score,
        bound=bound,
        gap=gap,
        seconds=time.perf_counter() - start,
        optimal=gap <= task.gap,
        uses=_uses(task, chain, solution, measured),
        values=compiler.values,
        modes=MODES,
        left_out=tuple(left_out),
        designs=more.designs(task.count),
        ranked=more.ranked,
        front=more.front,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _More:
    """All that is known beside the best design."""

    found: list[Found]
    """Designs, the best first."""
    measure: Measure
    ranked: tuple[Ranked, ...]
    front: Trade | None

    def designs(self, count: int) -> tuple[str, ...]:
        """Trees: those that are ranked, the best others, and those of the front."""
        points = self.front.points if self.front else ()
        texts = [
            *(entry.architecture for entry in self.ranked),
            *dict.fromkeys(f.text for f in self.found),
        ]
        on_front = [p.architecture for p in reversed(points) if p.architecture is not None]
        return tuple(dict.fromkeys([*texts[: max(count, len(self.ranked))], *on_front]))


def _more(
    task: Task, answers: Sequence[tuple[Chain, Solution]], bound: float, listen: Listener | None
) -> _More:
    """The front, and the designs that are ranked, where they were asked for."""
    measure = Measure(task)
    solved = [Solved(chain, solution, chain.mixable()) for chain, solution in answers]
    found = [
        design
        for index, entry in enumerate(solved)
        for design in found_in(entry.chain, index, entry.solution, entry.mixed)
    ]
    found.sort(key=lambda f: (f.score, f.text), reverse=True)
    start = time.perf_counter()
    limits = trace_front(task, solved, found, bound, measure, listen) if task.front else []
    seconds = time.perf_counter() - start
    ranked = rank(task, solved, found, bound, measure, listen)
    found.sort(key=lambda f: (f.score, f.text), reverse=True)
    front = trade(task, limits, found, measure, seconds) if task.front else None
    return _More(found=found, measure=measure, ranked=tuple(ranked), front=front)


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


def _uses(task: Task, chain: Chain, solution: Solution, measured: Measured) -> tuple[Use, ...]:
    """What a design takes, and what more would be worth."""
    programme = chain.programme
    limits = [(r.name, r.unit, r.limit) for r in programme.resources]
    if programme.ceiling is not None:
        ceiling = programme.ceiling
        limits.append((ceiling.name, ceiling.unit, ceiling.limit))
    if programme.effectiveness is not None:
        limits.append(("effectiveness", "", programme.effectiveness))
    prices = {shadow.name: shadow.price for shadow in shadows(programme, solution)}
    return tuple(
        Use(
            name=name,
            unit=unit,
            limit=limit,
            used=float(getattr(measured, name)),
            price=prices.get(name),
        )
        for name, unit, limit in limits
    )
