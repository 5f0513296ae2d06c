"""One item of a rule, in all its forms: derived, traced and priced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np

from hwprofile.blocks import BlockCost, BlockTable, Costs
from nas.solver.closed import Closed
from nas.solver.combinations import Attributes
from nas.solver.policy import Answering, Label, Policy, worthwhile
from predictors.entropy import BITS, Flow, flow_through, height_of, is_counted, quantization_gain
from predictors.latency import LatencyPredictor
from searchspace.derivation import Derivation
from searchspace.grammar import Grammar, Item
from searchspace.room import DrawError
from searchspace.scope import Scope, counts, options
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.table import table_of
from searchspace.tree import Node

_WEIGHTS = "weight_bytes"
Made = tuple[tuple[Node, ...], TensorSpec, Answering]
"""Nodes, what leaves them, and what was asked."""


class Kind(NamedTuple):
    """A kind of an item."""

    policy: Policy
    first_count: int | None
    """The answer to the first question for a count; None where none is asked."""
    repeats: bool
    """Whether every further copy adds the same, and leaves the shape as it is."""


@dataclass(slots=True)
class Items:
    """Derives items of a grammar by policies, traces and prices them; remembers what it found.

    Args:
        grammar: the space.
        costs: traces blocks.
        latency: prices them.
        bounds: what is counted, by resource: `high_ms` (milliseconds), `params`, `macs`,
            `weight_bytes`.
        quantized: whether bits count in the entropy.
        modes: policies for an item at most.
        peaks: whether kinds are looked for whose peak memory is small, too.
    """

    grammar: Grammar
    costs: BlockTable
    latency: LatencyPredictor
    bounds: Mapping[str, float]
    quantized: bool
    modes: int
    peaks: bool = False
    forms: dict[object, list[Closed]] = field(default_factory=dict)
    """Closed forms that were found, by what they are for: `nas.solver.members`."""
    _made: dict[object, Made | None] = field(default_factory=dict)
    """By symbol, arguments, counts, what enters and answers."""
    _known: dict[tuple[tuple[Node, ...], TensorSpec], Attributes] = field(default_factory=dict)
    _flows: dict[BlockCost, Flow] = field(default_factory=dict)
    _kinds: dict[tuple[str, str], list[Kind]] = field(default_factory=dict)

    def made(
        self, item: Item, scope: Scope, spec: TensorSpec, policy: Policy, count: int | None
    ) -> Made | None:
        """The item derived by a policy; None where it has no tree.

        Args:
            item: of some alternative of the grammar.
            scope: the alternative's variables, as far as the item uses them.
            spec: what enters.
            policy: answers.
            count: the answer to the first question for a count; None: as the policy says.
        """
        key = (
            (
                item.symbol,
                tuple(options(s, scope) for s in item.scalars),
                counts(item, scope),
                spec,
            ),
            (frozenset(policy.items()), count),
        )
        if item.groups or key not in self._made:
            answering = Answering(policy, count)
            derivation = Derivation(table_of(self.grammar), answering, rows=True)
            try:
                nodes, out = derivation.item(item, scope, spec)
                self._made[key] = nodes, out, answering
            except DrawError:
                self._made[key] = None
        return self._made[key]

    def attributes(self, nodes: tuple[Node, ...], spec: TensorSpec) -> Attributes:
        """What nodes in a row add up to."""
        found = self._known.get((nodes, spec))
        if found is None:
            found = self._known[nodes, spec] = self._traced(nodes, spec)
        return found

    def again(
        self,
        item: Item,
        scope: Scope,
        spec: TensorSpec,
        policy: Policy,
        base: int,
        first: Attributes,
    ) -> Attributes | None:
        """What one more copy of one block adds to the first ones; None if there cannot be one."""
        more = self.made(item, scope, spec, policy, base + 1)
        if more is None or len(more[2].counts) < 2:
            return None
        found = self.attributes(more[0], spec).less(first)
        return found if found.counted == 1 else None

    def kinds(self, item: Item, places: Sequence[tuple[TensorSpec, Scope]]) -> list[Kind]:
        """Kinds that are best at some prices.

        Args:
            item: what they are for.
            places: what can enter, and the variables there.
        """
        spec, scope = places[len(places) // 2]
        key = (item.symbol, spec.mode)
        found = self._kinds.get(key)
        if found is None:
            seen: dict[frozenset[tuple[Label, object]], Policy] = {}
            some = {places[len(places) // 4], places[3 * len(places) // 4]}
            # A bound on bytes adds kinds to those found without it, lest a loose one cost any.
            sizes = (False, True) if self.peaks or _WEIGHTS in self.bounds else (False,)
            for (spec, scope), with_sizes in product(some, sizes):
                for policy in worthwhile(
                    lambda p: self._judged(item, scope, spec, p, with_sizes)  # noqa: B023
                ):
                    seen.setdefault(frozenset(policy.items()), policy)
            kept = list(seen.values())[: self.modes]
            found = [kind for policy in kept for kind in self._counted(item, scope, spec, policy)]
            self._kinds[key] = found
        return found

    def _counted(
        self, item: Item, scope: Scope, spec: TensorSpec, policy: Policy
    ) -> Iterator[Kind]:
        """A policy with the least count from which on every copy adds the same, or with each."""
        made = self.made(item, scope, spec, policy, None)
        if made is None:
            return
        counts = made[2].counts
        if len(counts) < 2:
            yield Kind(policy, None, repeats=False)
            return
        steps, outs = [], set()
        for count in counts[:3]:
            more = self.made(item, scope, spec, policy, count)
            if more is not None:
                steps.append(self.attributes(more[0], spec).figures())
                outs.add(more[1])
        if len(outs) > 1:
            yield from (Kind(policy, count, repeats=False) for count in counts)
            return
        rises = np.diff(np.array(steps), axis=0)
        alike = len(rises) < 2 or np.allclose(rises[0], rises[1], rtol=1e-6)
        yield Kind(policy, counts[0 if alike else 1], repeats=True)

    def _judged(
        self, item: Item, scope: Scope, spec: TensorSpec, policy: Policy, with_sizes: bool
    ) -> tuple[list[float], dict[Label, tuple[object, ...]]] | None:
        made = self.made(item, scope, spec, policy, None)
        if made is None:
            return None
        nodes, _, answering = made
        attributes = self.attributes(nodes, spec)
        if len(answering.counts) > 1:
            more = self.made(item, scope, spec, policy, answering.counts[1])
            if more is not None:
                attributes = self.attributes(more[0], spec)
        figures = [attributes.entropy, attributes.convs]
        for name, cost in zip(self.bounds, attributes.costs, strict=True):
            if with_sizes or name != _WEIGHTS:
                figures.append(cost)
        if with_sizes and self.peaks:
            figures.append(float(attributes.peak_bytes))
        return figures, answering.asked

    def _traced(self, nodes: tuple[Node, ...], spec: TensorSpec) -> Attributes:
        try:
            costs = self.costs.costs_of(nodes, spec)
        except ShapeError as fault:  # what the grammar derives can be built
            raise AssertionError(str(fault)) from fault
        flow, gain, counted = Flow(), 0.0, 0
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
            counted += is_counted(block, passed)
            heights.add(height_of(block.left))
        return Attributes(
            flow.log_width / 2 + gain,
            flow.log_width,
            flow.depth,
            tuple(self._use(costs, name) for name in self.bounds),
            counted,
            frozenset(heights),
            costs.peak_bytes,
        )

    def _use(self, costs: Costs, name: str) -> float:
        if name == "high_ms":
            return self.latency.latency(costs).high
        return float(getattr(costs, name))
