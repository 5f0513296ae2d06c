"""A grammar's chains of stages, stated as programmes.

The items of the start's alternatives are the layers. A state is what leaves an item with the
variables that later items and constraints look at; a mode is a policy (`nas.solver.policy`), so
that all blocks that an item repeats are alike. Every combination is derived, traced and priced.

A programme is a part of its space, which it states: of the start's variables it holds so many
values, evenly spread in logarithm, and of the blocks those that are best at some ratio of prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwprofile.blocks import BlockCost, BlockTable
from nas.solver.combinations import Attributes, ChainError, Combinations, State, Way
from nas.solver.mix import Mixture
from nas.solver.policy import Answering, Label, Policy, worthwhile
from nas.solver.programme import Design, Layer, Programme, Resource, Step
from predictors.entropy import (
    BITS,
    DEPTH_PENALTY,
    LAST_WEIGHT,
    Flow,
    flow_through,
    height_of,
    quantization_gain,
)
from predictors.latency import LatencyPredictor
from searchspace.architecture import Architecture
from searchspace.check import TreeError, check
from searchspace.derivation import Derivation, DrawError
from searchspace.grammar import Alternative, Grammar, Item
from searchspace.scope import Scope, assignments, live, needs
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.table import Table, table_of
from searchspace.tree import Node, Value

VALUES = 16
"""Values of each of the start's variables that a programme holds."""
MODES = 24
"""Kinds of blocks that it holds for each item, at most."""


@dataclass(frozen=True, eq=False)
class Chain:
    """One alternative of the start as a programme."""

    grammar: Grammar
    index: int
    """Which alternative."""
    programme: Programme
    ways: tuple[Mapping[tuple[int, int, int], Way], ...]
    """By layer: how (source, target, mode) is derived."""
    table: Table

    def architecture(self, design: Design, mixture: Mixture | None = None) -> Architecture:
        """The tree of a design, some of whose copies may be of other modes."""
        alternative = self.grammar.rules[self.grammar.start].alternatives[self.index]
        groups: list[tuple[Node, ...]] = []
        scope: Scope = ()
        for index, (item, ways, step) in enumerate(
            zip(alternative.items, self.ways, design, strict=True)
        ):
            way = ways[step.source, step.target, step.mode]
            nodes = self._nodes(item, way, step.copies)
            others = [
                (self._nodes(item, ways[step.source, step.target, mode], step.copies), count)
                for mode, count in (mixture or {}).get(index, {}).items()
                if mode != step.mode
            ]
            groups.append(with_copies(nodes, others))
            scope = _joined(scope, way.scope)
        root = Node(self.grammar.start, self.index, scope, tuple(groups))
        return Architecture(space=self.grammar.name, root=root)

    def _nodes(self, item: Item, way: Way, copies: int) -> tuple[Node, ...]:
        count = None if way.base is None else way.base + copies
        derived = Derivation(self.table, Answering(way.policy, count), rows=True)
        return derived.item(item, way.scope, way.spec)[0]

    def mixable(self) -> list[int]:
        """Layers in whose rows the grammar allows unlike copies."""
        design = self._any()
        found: list[int] = []
        for index, step in enumerate(design or ()):
            assert design is not None
            modes = [m for a, b, m in self.ways[index] if (a, b) == step[:2] and m != step.mode]
            tries = [m for m in modes if self._mixes(design, index, m)] if step.copies else []
            if modes and len(tries) == len(modes):
                found.append(index)
        return found

    def _any(self) -> Design | None:
        """Some design, with as many copies as there can be."""
        steps: list[Step] = []

        def further(source: int) -> bool:
            if len(steps) == len(self.ways):
                return True
            for place in self.ways[len(steps)]:
                if place[0] == source:
                    steps.append(Step(*place, self.programme.layers[len(steps)].copies[1]))
                    if further(place[1]):
                        return True
                    steps.pop()
            return False

        return tuple(steps) if further(0) else None

    def _mixes(self, design: Design, index: int, mode: int) -> bool:
        try:
            check(self.grammar, self.architecture(design, {index: {mode: 1}}).root)
        except TreeError:
            return False
        return True


@dataclass(slots=True)
class Compiler:
    """States the alternatives of a grammar's start as programmes.

    Args:
        grammar: the space.
        costs: traces blocks.
        latency: prices them.
        bounds: by resource; `high_ms` (milliseconds), `params` and `macs` are known.
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
    values: int = VALUES
    modes: int = MODES
    listen: Callable[[str, float], None] | None = None
    _known: dict[tuple[tuple[Node, ...], TensorSpec], Attributes] = field(default_factory=dict)
    _flows: dict[BlockCost, Flow] = field(default_factory=dict)
    _policies: dict[tuple[str, str], list[tuple[Policy, int | None]]] = field(default_factory=dict)

    def chains(self) -> tuple[list[Chain], list[str]]:
        """A chain for each alternative that is one, and why the others are none."""
        found, faults = [], []
        alternatives = self.grammar.rules[self.grammar.start].alternatives
        for index, alternative in enumerate(alternatives):
            try:
                found.append(self._chain(index, alternative))
            except ChainError as fault:
                faults.append(f"alternative {index + 1} of '{self.grammar.start}': {fault}")
        return found, faults

    def _chain(self, index: int, alternative: Alternative) -> Chain:
        states: dict[State, int] = {(self.grammar.input, ()): 0}
        layers: list[Combinations] = []
        for place, item in enumerate(alternative.items):
            raw = self._layer(alternative, place, item, states)
            layers.append(raw)
            states = raw.targets
            if self.listen:
                self.listen(item.symbol, (place + 1) / len(alternative.items))
        programme = Programme(
            layers=tuple(self._stated(layers)),
            resources=tuple(
                Resource(name=name, unit="ms" if name == "high_ms" else "", limit=limit)
                for name, limit in self.bounds.items()
            ),
            effectiveness=self.effectiveness,
            penalty=DEPTH_PENALTY,
        )
        ways = tuple(raw.ways for raw in layers)
        return Chain(self.grammar, index, programme, ways, table_of(self.grammar))

    def _layer(
        self, alternative: Alternative, place: int, item: Item, sources: Mapping[State, int]
    ) -> Combinations:
        """All combinations of one item."""
        known = needs(alternative, 0)[place]
        entered = [
            (number, spec, extended)
            for (spec, scope), number in sources.items()
            for extended in self._extended(alternative, scope, known)
        ]
        if not entered:
            raise ChainError(f"no values of the variables keep the constraints at '{item.symbol}'")
        policies = self._worthwhile(item, [(spec, scope) for _, spec, scope in entered])
        raw = Combinations(item.symbol, len(sources))
        for number, spec, scope in entered:
            for policy, base in policies:
                made = self._made(item, scope, spec, policy, base)
                if made is None:
                    continue
                nodes, out, answering = made
                first = self._attributes(nodes, spec)
                if len(first.heights) > 1:
                    continue  # a scale would end within the item
                state = (out, live(alternative, 0, place + 1, scope))
                here = raw.add(number, state, policy, Way(spec, scope, policy, base), first)
                if base is not None and here not in raw.more:
                    most = max(answering.counts) - base
                    again = self._again(item, scope, spec, policy, base, first)
                    if again is not None:
                        raw.more[here] = again, most
        if not raw.ways:
            raise ChainError(f"'{item.symbol}' fits no shape that reaches it")
        return raw

    def _extended(self, alternative: Alternative, scope: Scope, known: int) -> list[Scope]:
        """Extensions of a scope by the values that the programme holds."""
        found = list(assignments(alternative, 0, scope, min(known, len(scope))))
        while found and len(found[0]) < known:
            domain = alternative.draws[len(found[0])][1]
            held = set(spread(domain.values, self.values))
            found = [
                extended
                for before in found
                for extended in assignments(alternative, 0, before, len(before) + 1)
                if extended[-1] in held
            ]
        return found

    def _worthwhile(
        self, item: Item, places: Sequence[tuple[TensorSpec, Scope]]
    ) -> list[tuple[Policy, int | None]]:
        """Policies of an item, each with the count that it begins with."""
        spec, scope = places[len(places) // 2]
        key = (item.symbol, spec.mode)
        found = self._policies.get(key)
        if found is None:
            seen: dict[frozenset[tuple[Label, object]], Policy] = {}
            for spec, scope in {places[len(places) // 4], places[3 * len(places) // 4]}:
                for policy in worthwhile(lambda p: self._judged(item, scope, spec, p)):  # noqa: B023
                    seen.setdefault(frozenset(policy.items()), policy)
            policies = list(seen.values())[: self.modes]
            found = [(policy, self._base(item, scope, spec, policy)) for policy in policies]
            self._policies[key] = found
        return found

    def _judged(
        self, item: Item, scope: Scope, spec: TensorSpec, policy: Policy
    ) -> tuple[list[float], dict[Label, tuple[object, ...]]] | None:
        made = self._made(item, scope, spec, policy, None)
        if made is None:
            return None
        nodes, _, answering = made
        attributes = self._attributes(nodes, spec)
        if len(answering.counts) > 1:
            more = self._made(item, scope, spec, policy, answering.counts[1])
            if more is not None:
                attributes = self._attributes(more[0], spec)
        return attributes.figures(), answering.asked

    def _base(self, item: Item, scope: Scope, spec: TensorSpec, policy: Policy) -> int | None:
        """The least count from which on every further copy adds the same."""
        made = self._made(item, scope, spec, policy, None)
        if made is None or len(made[2].counts) < 2:
            return None
        counts = made[2].counts
        steps = []
        for count in counts[:3]:
            more = self._made(item, scope, spec, policy, count)
            if more is None:
                return counts[0]
            steps.append(self._attributes(more[0], spec).figures())
        rises = np.diff(np.array(steps), axis=0)
        if len(rises) == 2 and not np.allclose(rises[0], rises[1], rtol=1e-6):
            return counts[1]
        return counts[0]

    def _made(
        self, item: Item, scope: Scope, spec: TensorSpec, policy: Policy, count: int | None
    ) -> tuple[tuple[Node, ...], TensorSpec, Answering] | None:
        answering = Answering(policy, count)
        try:
            nodes, out = Derivation(table_of(self.grammar), answering, rows=True).item(
                item, scope, spec
            )
        except DrawError:
            return None
        return nodes, out, answering

    def _again(
        self,
        item: Item,
        scope: Scope,
        spec: TensorSpec,
        policy: Policy,
        base: int,
        first: Attributes,
    ) -> Attributes | None:
        """What one more copy adds to the first ones; None if there cannot be one."""
        more = self._made(item, scope, spec, policy, base + 1)
        if more is None or len(more[2].counts) < 2:
            return None
        return self._attributes(more[0], spec).less(first)

    def _attributes(self, nodes: tuple[Node, ...], spec: TensorSpec) -> Attributes:
        found = self._known.get((nodes, spec))
        if found is None:
            found = self._known[nodes, spec] = self._traced(nodes, spec)
        return found

    def _traced(self, nodes: tuple[Node, ...], spec: TensorSpec) -> Attributes:
        try:
            costs = self.costs.costs_of(nodes, spec)
        except ShapeError as fault:  # what the grammar derives can be built
            raise AssertionError(str(fault)) from fault
        flow, gain, kept = Flow(), 0.0, 0
        heights = set()
        for block in costs.blocks:
            if block.left.mode == "vector":
                continue
            passed = self._flows.get(block)
            if passed is None:
                passed = self._flows[block] = flow_through(block.record)
            flow += passed
            if self.quantized:
                gain += passed.depth * quantization_gain(*BITS[block.scheme])
            kept += block.entered == block.left
            heights.add(height_of(block.left))
        use = {
            "high_ms": self.latency.latency(costs).high,
            "params": float(costs.params),
            "macs": float(costs.macs),
        }
        return Attributes(
            flow.log_width / 2 + gain,
            flow.log_width,
            flow.depth,
            tuple(use[name] for name in self.bounds),
            kept,
            frozenset(heights),
        )

    def _stated(self, raws: Sequence[Combinations]) -> list[Layer]:
        """The layers, with the scales that end behind them."""
        heights = [raw.heights() for raw in raws]
        last = max(i for i, height in enumerate(heights) if height)
        ends = []
        for index, raw in enumerate(raws):
            if index >= last:
                ends.append(index == last)
                continue
            ends.append(raws[index + 1].falls(raw))
        group, scale, used = 0, [], False
        for raw, end in zip(raws, ends, strict=True):
            scale.append(group if raw.keeps else None)
            used = used or raw.keeps
            if end and used:
                group, used = group + 1, False
        return [
            raw.layer(
                len(self.bounds),
                weight=(LAST_WEIGHT if index == last else 1.0) if ends[index] else None,
                group=scale[index],
            )
            for index, raw in enumerate(raws)
        ]


def with_copies(
    nodes: tuple[Node, ...], others: Sequence[tuple[tuple[Node, ...], int]]
) -> tuple[Node, ...]:
    """Nodes whose longest row of equal copies ends with copies out of other nodes.

    Args:
        nodes: an item's.
        others: alike ones of another policy, and how many copies of theirs there shall be.

    Raises:
        TreeError: the others have no such row in the same place.
    """
    if not others:
        return nodes
    path = max(_rows(nodes), key=lambda row: row[0])[1]
    row = _row(nodes, path)
    found: list[Node] = []
    for other, count in others:
        found += _row(other, path)[-1:] * count
    return _replaced(nodes, path, (*row[: len(row) - len(found)], *found))


def _rows(
    nodes: tuple[Node, ...], path: tuple[int, ...] = ()
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Length and place of every row: the index of a node, then of its group, and so on."""
    yield len(nodes), path
    for index, node in enumerate(nodes[:1] if len(set(nodes)) == 1 else nodes):
        if not node.is_primitive and not node.is_block:
            for number, group in enumerate(node.children):
                yield from _rows(group, (*path, index, number))


def _row(nodes: tuple[Node, ...], path: tuple[int, ...]) -> tuple[Node, ...]:
    for index, number in zip(path[::2], path[1::2], strict=True):
        if index >= len(nodes) or number >= len(nodes[index].children):
            raise TreeError("unlike stages have no copies to share")
        nodes = nodes[index].children[number]
    return nodes


def _replaced(
    nodes: tuple[Node, ...], path: tuple[int, ...], row: tuple[Node, ...]
) -> tuple[Node, ...]:
    if not path:
        return row
    index, number, *rest = path
    node = nodes[index]
    groups = list(node.children)
    groups[number] = _replaced(groups[number], tuple(rest), row)
    made = Node(node.symbol, node.alternative, node.values, tuple(groups), node.scheme)
    return (*nodes[:index], made, *nodes[index + 1 :])


def spread(values: Sequence[Value], most: int) -> list[Value]:
    """So many values of a domain, evenly spread in logarithm where they are integers."""
    if len(values) <= most:
        return list(values)
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) < len(values):
        return list(values)
    logs = np.log(np.maximum(np.array(numbers, dtype=float), 0.5))
    found = [
        int(np.argmin(np.abs(logs - wanted))) for wanted in np.linspace(logs[0], logs[-1], most)
    ]
    return [numbers[index] for index in dict.fromkeys(found)]


def _joined(first: Scope, second: Scope) -> Scope:
    """All variables known by two scopes; those no longer looked at are 0 in the later one."""
    longer = list(second)
    for index, value in enumerate(first):
        if index < len(longer) and longer[index] == 0:
            longer[index] = value
        elif index >= len(longer):
            longer.append(value)
    return tuple(longer)
