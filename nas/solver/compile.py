"""A grammar's chains of stages, stated as programmes.

The items of the start's alternatives are the layers. A state is what leaves an item with the
variables that later items and constraints look at; a mode is a policy (`nas.solver.policy`), so
that all blocks that an item repeats are alike. Where latency or peak memory is bounded, every
combination is derived, traced and priced; else families of them are in closed form
(`nas.solver.grid`).

A programme is a part of its space, which it states: of the start's variables it holds so many
values, evenly spread in logarithm, and of the blocks those that are best at some ratio of prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from hwprofile.blocks import BlockTable
from nas.solver.ceiling import ceiled
from nas.solver.chain import Chain
from nas.solver.combinations import (
    ChainError,
    Combinations,
    EmptyError,
    ScaleError,
    State,
    Way,
    spread,
)
from nas.solver.family import WIDE, Families
from nas.solver.grid import Grid, Tables
from nas.solver.items import Items
from nas.solver.members import Entered
from nas.solver.programme import UNITS, Ceiling, Layer, Programme, Resource
from predictors.entropy import DEPTH_PENALTY, LAST_WEIGHT
from predictors.latency import LatencyPredictor
from searchspace.grammar import Alternative, Grammar, Item
from searchspace.scope import Scope, assignments, counts, live, needs, options
from searchspace.table import table_of
from searchspace.tree import Value

VALUES = 16
"""Values of each of the start's variables that a programme holds where all is traced."""
WIDTHS = 64
"""Values of each width that it holds where families are in closed form, at most; fewer where there
would be more than `STATES`."""
STATES = 300
"""States of a layer at most, where widths can be left out for it."""
MODES = 24
"""Kinds of blocks that it holds for each item, at most."""
PEAK = "peak_bytes"
"""The bound on what does not add up over blocks: a network has its largest block's."""
_TRACED = frozenset({"high_ms", PEAK})
"""Bounds on what is in no closed form."""


@dataclass(slots=True)
class Compiler:
    """States the alternatives of a grammar's start as programmes.

    Args:
        grammar: the space.
        costs: traces blocks.
        latency: prices them.
        bounds: by resource; `high_ms` (milliseconds), `params`, `macs`, `weight_bytes` and
            `peak_bytes` are known.
        effectiveness: bound on it; None: none.
        quantized: whether bits count in the entropy.
        listen: hears what is done, and how far, from 0 to 1.
    """

    grammar: Grammar
    costs: BlockTable
    latency: LatencyPredictor
    bounds: Mapping[str, float]
    effectiveness: float | None = None
    quantized: bool = False
    listen: Callable[[str, float], None] | None = None
    items: Items = field(init=False)
    sums: dict[str, float] = field(init=False)
    """Bounds on what adds up over blocks."""
    _found: dict[object, tuple[Families, Tables]] = field(default_factory=dict, init=False)
    closed: bool = field(init=False)
    """Whether families are in closed form."""
    values: int = field(default=0, init=False)
    """Values of each variable that the chains hold, at most."""

    def __post_init__(self) -> None:
        self.sums = {name: limit for name, limit in self.bounds.items() if name != PEAK}
        self.items = Items(
            self.grammar,
            self.costs,
            self.latency,
            self.sums,
            self.quantized,
            MODES,
            peaks=PEAK in self.bounds,
        )
        self.closed = not _TRACED & set(self.bounds)

    def chains(self) -> tuple[list[Chain], list[str]]:
        """A chain for each alternative that is one, or several; and what no chain holds.

        That is alternatives that are no chains and kinds of items in no closed form, with reasons.
        """
        found, faults = [], dict[str, None]()
        for index, alternative in enumerate(self._alternatives()):
            where = f"alternative {index + 1} of '{self.grammar.start}'"
            try:
                chains = self._chains(index, alternative, {})
            except ChainError as fault:
                faults[f"{where}: {fault}"] = None
                continue
            found += chains
            faults.update((f"{where}, {why}", None) for chain in chains for why in chain.left_out)
        return found, list(faults)

    def _alternatives(self) -> Sequence[Alternative]:
        return self.grammar.rules[self.grammar.start].alternatives

    def _chains(
        self, index: int, alternative: Alternative, fixed: Mapping[int, Value]
    ) -> list[Chain]:
        """The chain of an alternative, or a chain for each value of one of its variables.

        A variable of few values is fixed where families are in closed form, and where the ends of
        scales depend on it.
        """
        free = [place for place in range(len(alternative.draws)) if place not in fixed]
        few = [place for place in free if len(alternative.draws[place][1].values) < WIDE]
        if not (self.closed and few):
            try:
                return [self._chain(index, alternative, fixed)]
            except ScaleError:
                if not few:
                    raise
        found = []
        for value in alternative.draws[few[0]][1].values:
            with suppress(EmptyError):
                found += self._chains(index, alternative, {**fixed, few[0]: value})
        if not found:
            raise EmptyError("no values of the variables keep the constraints")
        return found

    def _held(self, alternative: Alternative, fixed: Mapping[int, Value]) -> int:
        """How many values of each variable a programme holds."""
        if not self.closed:
            return VALUES
        values = WIDTHS
        while values > VALUES:
            scopes: set[Scope] = {()}
            most = 1
            for place, known in enumerate(needs(alternative, 0)):
                scopes = {
                    live(alternative, 0, place + 1, longer)
                    for scope in scopes
                    for longer in self._extended(alternative, scope, known, fixed, values)
                }
                most = max(most, len(scopes))
            if most <= STATES:
                break
            values //= 2
        return values

    def _chain(self, index: int, alternative: Alternative, fixed: Mapping[int, Value]) -> Chain:
        states: dict[State, int] = {(self.grammar.input, ()): 0}
        layers: list[Combinations | Grid] = []
        held = self._held(alternative, fixed)
        for place, item in enumerate(alternative.items):
            layers.append(self._layer(alternative, place, states, fixed, held))
            states = layers[-1].targets
            if self.listen:
                self.listen(item.symbol, (place + 1) / len(alternative.items))
        programme = Programme(
            layers=tuple(self._stated(layers)),
            resources=tuple(
                Resource(name=name, unit=UNITS.get(name, ""), limit=limit)
                for name, limit in self.sums.items()
            ),
            effectiveness=self.effectiveness,
            penalty=DEPTH_PENALTY,
        )
        self.values = max(self.values, held)
        if PEAK in self.bounds:
            programme = self._ceiled(programme, layers)
        ways = tuple(raw.ways for raw in layers)
        left_out = [f"'{raw.name}': {why}" for raw in layers for why in raw.left_out]
        return Chain(self.grammar, index, programme, ways, table_of(self.grammar), tuple(left_out))

    def _ceiled(self, programme: Programme, raws: Sequence[Combinations | Grid]) -> Programme:
        """The programme under the bound on the peak memory."""
        ceiling = Ceiling(
            name=PEAK,
            unit=UNITS[PEAK],
            limit=self.bounds[PEAK],
            peaks=tuple(raw.peaks() for raw in raws if isinstance(raw, Combinations)),
            layers=programme.layers,
        )
        return ceiled(replace(programme, ceiling=ceiling))

    def _layer(
        self,
        alternative: Alternative,
        place: int,
        sources: Mapping[State, int],
        fixed: Mapping[int, Value],
        held: int,
    ) -> Combinations | Grid:
        """All combinations of one item."""
        item, known = alternative.items[place], needs(alternative, 0)[place]
        longer = [
            (number, spec, extended)
            for (spec, scope), number in sources.items()
            for extended in self._extended(alternative, scope, known, fixed, held)
        ]
        if not longer:
            raise EmptyError(f"no values of the variables keep the constraints at '{item.symbol}'")
        seen = {scope: live(alternative, 0, place + 1, scope) for _, _, scope in longer}
        behind = list(dict.fromkeys(seen.values()))
        numbers = {scope: behind.index(left) for scope, left in seen.items()}
        entered = [Entered(*way, i, numbers[way[2]]) for i, way in enumerate(longer)]
        if not self.closed:
            return self._traced(item, entered, len(sources), behind)
        families, tables = self._families(item, entered, len(sources), held)
        targets = {(out, behind[left]): n for (out, left), n in families.targets.items()}
        return Grid(item.symbol, families, tables, entered, targets)

    def _families(
        self, item: Item, entered: Sequence[Entered], sources: int, values: int
    ) -> tuple[Families, Tables]:
        """The families of an item; those of alike items in alike places are found once."""
        places = tuple(
            (tuple(options(s, e.scope) for s in item.scalars), e.spec, e.number, e.behind)
            for e in entered
        )
        key = (item.symbol, item.groups, values, sources, places, counts(item, entered[0].scope))
        if key not in self._found:
            families = Families(self.items, item, entered, values)
            if not families.families:
                raise ChainError(
                    f"no kind of '{item.symbol}' is in closed form: {'; '.join(families.left_out)}"
                )
            self._found[key] = families, Tables(families, sources)
        return self._found[key]

    def _traced(
        self,
        item: Item,
        entered: Sequence[Entered],
        sources: int,
        behind: Sequence[Scope],
    ) -> Combinations:
        kinds = self.items.kinds(item, [(e.spec, e.scope) for e in entered])
        raw = Combinations(item.symbol, sources)
        for number, spec, scope, _, left in entered:
            for policy, base, repeats in kinds:
                made = self.items.made(item, scope, spec, policy, base)
                if made is None:
                    continue
                nodes, out, answering = made
                first = self.items.attributes(nodes, spec)
                if len(first.heights) > 1:
                    continue  # a scale would end within the item
                way = Way(spec, scope, policy, base)
                here = raw.add(number, (out, behind[left]), policy, way, first)
                if repeats and base is not None and here not in raw.more:
                    most = max(answering.counts) - base
                    again = self.items.again(item, scope, spec, policy, base, first)
                    if again is not None:
                        raw.more[here] = again, most
        if not raw.ways:
            raise ChainError(f"'{item.symbol}' fits no shape that reaches it")
        return raw

    def _extended(
        self,
        alternative: Alternative,
        scope: Scope,
        known: int,
        fixed: Mapping[int, Value],
        values: int,
    ) -> list[Scope]:
        """Extensions of a scope by the values that the programme holds."""
        found = list(assignments(alternative, 0, scope, min(known, len(scope))))
        while found and len(found[0]) < known:
            index = len(found[0])
            held = set(spread(alternative.draws[index][1].values, values))
            held = {fixed[index]} if index in fixed else held
            found = [
                extended
                for before in found
                for extended in assignments(alternative, 0, before, index + 1)
                if extended[-1] in held
            ]
        return found

    def _stated(self, raws: Sequence[Combinations | Grid]) -> list[Layer]:
        """The layers, with the scales that end behind them."""
        heights = [raw.heights() for raw in raws]
        last = max(i for i, height in enumerate(heights) if height)
        ends = []
        for index in range(len(raws)):
            if index >= last:
                ends.append(index == last)
                continue
            ends.append(raws[index + 1].falls())
        # As `EntropyPredictor.depths`: every item is a stage but the first of several, the stem.
        stages = [i for i, raw in enumerate(raws) if raw.counts and (i or len(raws) == 1)]
        return [
            raw.layer(
                len(self.sums),
                weight=(LAST_WEIGHT if index == last else 1.0) if ends[index] else None,
                counted=index in stages,
            )
            for index, raw in enumerate(raws)
        ]
