"""A grammar against the shapes that reach it: what every rule can turn a tensor into.

An entry of the table is an item or rule with its arguments in a known input spec. It holds the
specs that can leave, each with the cost of the cheapest tree that leads there. Entries are made
when they are first asked for.

A rule that can hold itself has no end of trees, so its entries are made to a *level*: how many
expansions of such rules a tree may have. For all other rules an entry is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product

from searchspace import draws
from searchspace.effects import HELD, Effects
from searchspace.grammar import Alternative, Grammar, Item
from searchspace.lazy import Found, Lazy
from searchspace.recursion import Recursion
from searchspace.scope import Scope, arguments, assignments, counts, live, needs, used
from searchspace.shapes import TensorSpec
from searchspace.tree import Value
from searchspace.wellformed import ENDLESS

Cost = tuple[int, int]
"""Expansions of recursive rules, and nodes, of a tree: what is cheapest has few of the first."""
Outs = Mapping[TensorSpec, Cost]
"""Specs that can leave, each with the cost of the cheapest tree found, cheapest first."""
_NOTHING: Cost = (0, 0)
_TOO_MUCH: Cost = (ENDLESS, 0)

DEEPEST = 100
"""Rules inside each other, at most, in any tree."""


class Table(Effects):
    """The table of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        self.recursion = Recursion(grammar.rules, grammar.primitives)
        self.level = max(1, self.recursion.level) if self.recursion.deep else 0
        """Level to which items in a row are followed; what joins them is followed one further."""
        self.lazy = Lazy(self)
        """Entries of what holds no recursive rule."""
        self.looks = 0
        """Places that may still be looked at for one question, see `searchspace.rest`; 0 and below:
        any number."""
        self._entries: dict[object, Outs] = {}
        self._held = 0
        self._fitting: dict[tuple[str, Scope], tuple[int, ...]] = {}
        self._deep: dict[Item, bool] = {}

    def levels(self, items: Sequence[Item], most: int) -> range:
        """Levels at which entries of a row differ, where each recursive rule in it has `most`."""
        return range(most * sum(map(self._recursions, items)) + 1)

    def _recursions(self, item: Item) -> int:
        """How many rules an item and its sequences name whose trees can hold a recursive one."""
        inner = sum(self._recursions(i) for group in item.groups for i in group)
        return inner + (not item.is_primitive and item.symbol in self.recursion.deep)

    def holds_recursion(self, item: Item) -> bool:
        """Whether trees of the item can hold a recursive rule."""
        deep = self._deep.get(item)
        if deep is None:
            inner = [i for group in item.groups for i in group]
            deep = item.symbol in self.recursion.deep or any(map(self.holds_recursion, inner))
            self._deep[item] = deep
        return deep

    def each(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Found:
        """What can leave one copy of an item with these arguments, as it is found."""
        if not self.holds_recursion(item):
            yield from self.lazy.given(item, values, scope, spec)
            return
        if item.is_primitive:
            yield from self._pairs(item, values, scope, spec, level)
            return
        seen: Outs = {}
        for here in self.levels([item], level):
            outs = self.given(item, values, scope, spec, here)
            yield from ((out, size) for out, (_, size) in outs.items() if out not in seen)
            seen = outs

    def _pairs(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Found:
        """What can leave a composite primitive; each sequence goes up to its own level."""
        within = self.inside(item.symbol, values, spec)
        if within is None:
            return
        times, seen = self.times(item.symbol, values), set()
        rows = [
            self.row(group, scope, within, self.levels(group, level)[-1]).items()
            for group in item.groups
        ]
        for chosen in product(*rows):
            out = self.applied(item.symbol, values, spec, [inner for inner, _ in chosen])
            if out is not None and out not in seen:
                seen.add(out)
                yield out, 1 + times * sum(cost[1] for _, cost in chosen)

    def each_copies(
        self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int, count: int
    ) -> Found:
        """What can leave `count` copies of an item, as it is found."""
        if not self.holds_recursion(item):
            yield from self.lazy.copies(item, scope, spec, count)
            return
        seen: Outs = {}
        for here in self.levels([item] * max(1, count), level):
            outs = self.copies(item, scope, spec, here, count)
            yield from ((out, size) for out, (_, size) in outs.items() if out not in seen)
            seen = outs

    def each_row(
        self, items: Sequence[Item], scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Found:
        """What can leave items in a row, as it is found."""
        if not any(map(self.holds_recursion, items)):
            yield from self.lazy.row(items, scope, spec)
            return
        seen: Outs = {}
        for here in self.levels(items, level):
            outs = self.row(items, scope, spec, here)
            yield from ((out, size) for out, (_, size) in outs.items() if out not in seen)
            seen = outs

    # What an item, a row of items or a rule can do. `level` is how many recursive expansions the
    # trees may hold at most.

    def item(self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int) -> Outs:
        """What can leave an item, all its copies together.

        Args:
            scope: values of the rule's variables, as far as the item uses them.
        """
        if item.is_primitive and not item.groups and item.repeat is None:
            # Nothing to look for: an entry would cost more than it saves.
            outs = [self.applied(item.symbol, v, spec) for v in arguments(item, scope)]
            return {out: (0, 1) for out in outs if out is not None}
        if not self.holds_recursion(item):
            return {out: (0, size) for out, size in self.lazy.item(item, scope, spec)}
        if item.repeat is None:
            return self.one(item, scope, spec, level)
        found: dict[TensorSpec, Cost] = {}
        for count in counts(item, scope):
            _merge(found, self.copies(item, scope, spec, level, count), _NOTHING, level)
        return found

    def copies(
        self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int, count: int
    ) -> Outs:
        """What can leave `count` copies of an item in a row; one draw, repeated, keeps its spec."""
        if count > 1 and item.repeat is not None and item.repeat.same:
            cost = self.one(item, scope, spec, level).get(spec)
            return {} if cost is None else {spec: (cost[0], cost[1] * count)}
        states: Outs = {spec: _NOTHING}
        for left in range(count, 0, -1):
            step = self._step(states, item, scope, level, self.one)
            if len(step) == 1 and step.keys() == states.keys():
                (before,), (after,) = states.values(), step.values()
                if before[0] == after[0]:
                    return dict.fromkeys(
                        step, (after[0], before[1] + (after[1] - before[1]) * left)
                    )
            states = step
        return states

    def row(
        self, items: Sequence[Item], scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Outs:
        """What can leave items in a row, all their variables known."""
        states: Outs = {spec: _NOTHING}
        for item in items:
            states = self._step(states, item, scope, level, self.item)
        return states

    def _step(
        self, states: Outs, item: Item, scope: Sequence[Value], level: int, entry: _Entry
    ) -> Outs:
        following: dict[TensorSpec, Cost] = {}
        for here, cost in states.items():
            _merge(following, entry(item, scope, here, level - cost[0]), cost, level)
        return following

    def one(self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int) -> Outs:
        """What can leave one copy of an item."""
        if not self.holds_recursion(item):
            return {out: (0, size) for out, size in self.lazy.one(item, scope, spec)}
        key = (item, tuple([scope[index] for index in used(item)]), spec, level)
        found = self._entries.get(key)
        if found is not None:
            return found
        made: dict[TensorSpec, Cost] = {}
        for values in arguments(item, scope):
            if item.is_primitive and not item.groups:
                out = self.applied(item.symbol, values, spec)
                if out is not None:
                    made[out] = (0, 1)
            else:
                outs = self.given(item, values, scope, spec, level)
                _merge(made, outs, _NOTHING, level)
        return self._keep(key, made)

    def given(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Outs:
        """What can leave one copy of an item with these scalar arguments."""
        if not self.holds_recursion(item):
            return {out: (0, size) for out, size in self.lazy.given(item, values, scope, spec)}
        if not item.is_primitive:
            return self.rule(item.symbol, values, spec, level)
        key = (item, tuple([scope[index] for index in used(item)]), spec, level, values)
        found = self._entries.get(key)
        if found is None:
            found = self._keep(key, self._composite(item, values, scope, spec, level))
        return found

    def _composite(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Outs:
        made: dict[TensorSpec, Cost] = {}
        within = self.inside(item.symbol, values, spec)
        if within is None:
            return made
        times = self.times(item.symbol, values)
        states: dict[tuple[TensorSpec, ...], Cost] = {(): _NOTHING}
        for group in item.groups:
            following: dict[tuple[TensorSpec, ...], Cost] = {}
            for inner, (spent, size) in states.items():
                for out, more in self.row(group, scope, within, level - spent).items():
                    following[(*inner, out)] = (spent + more[0], size + more[1])
            states = following
        for inner, (spent, size) in states.items():
            joined = self.applied(item.symbol, values, spec, inner)
            if joined is not None:
                cost = (spent, 1 + times * size)
                if cost < made.get(joined, _TOO_MUCH):
                    made[joined] = cost
        return made

    def rule(self, symbol: str, given: Scope, spec: TensorSpec, level: int) -> Outs:
        """What can leave the expansion of a rule."""
        key = (symbol, given, spec, level)
        found = self._entries.get(key)
        if found is not None:
            return found
        made: dict[TensorSpec, Cost] = {}
        itself: Cost = (int(symbol in self.recursion.recursive), 1)
        if itself[0] <= level:
            alternatives = self.grammar.rules[symbol].alternatives
            for index in self.fitting(symbol, given):
                if self.recursion.least(alternatives[index]) <= level - itself[0]:
                    outs = self.alternative(alternatives[index], given, spec, level - itself[0])
                    _merge(made, outs, itself, level)
        return self._keep(key, made)

    def fitting(self, symbol: str, given: Scope) -> tuple[int, ...]:
        """Indices of a rule's alternatives whose constraints can be kept, whatever the shape."""
        found = self._fitting.get((symbol, given))
        if found is None:
            alternatives = self.grammar.rules[symbol].alternatives
            found = tuple(i for i, a in enumerate(alternatives) if draws.count(a, given))
            self._fitting[symbol, given] = found
        return found

    def alternative(
        self, alternative: Alternative, given: Scope, spec: TensorSpec, level: int
    ) -> Outs:
        """What can leave the items of one alternative."""
        arity = len(given)
        states: dict[tuple[TensorSpec, Scope], Cost] = {(spec, given): _NOTHING}
        for index, item in enumerate(alternative.items):
            following: dict[tuple[TensorSpec, Scope], Cost] = {}
            for (here, scope), (spent, size) in states.items():
                known = needs(alternative, arity)[index]
                for extended in assignments(alternative, arity, scope, known):
                    kept = live(alternative, arity, index + 1, extended)
                    for out, more in self.item(item, extended, here, level - spent).items():
                        cost = (spent + more[0], size + more[1])
                        if cost < following.get((out, kept), _TOO_MUCH):
                            following[out, kept] = cost
            states = following
        outs: dict[TensorSpec, Cost] = {}
        for (out, _), cost in states.items():
            _merge(outs, {out: cost}, _NOTHING, level)
        return outs

    def _keep(self, key: object, made: Mapping[TensorSpec, Cost]) -> Outs:
        most = self.grammar.limits.nodes or ENDLESS
        kept = {out: c for out, c in sorted(made.items(), key=lambda e: e[1]) if c[1] <= most}
        self._held += 1 + len(kept)
        if self._held > HELD:
            self._entries.clear()
            self._held = 1 + len(kept)
        self._entries[key] = kept
        return kept


@lru_cache(maxsize=8)
def table_of(grammar: Grammar) -> Table:
    """The grammar's table, which fills as it is used; the latest few are kept."""
    return Table(grammar)


_Entry = Callable[[Item, Sequence[Value], TensorSpec, int], Outs]


def _merge(into: dict[TensorSpec, Cost], outs: Outs, before: Cost, level: int) -> None:
    """Add what leaves, `before` added to its cost; of two trees the cheaper one counts."""
    for out, (spent, size) in outs.items():
        cost = (before[0] + spent, before[1] + size)
        if cost[0] <= level and cost < into.get(out, _TOO_MUCH):
            into[out] = cost
