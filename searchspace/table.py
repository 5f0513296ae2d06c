"""A grammar against the shapes that reach it: what every rule can turn a tensor into.

An entry of the table is an item or rule with its arguments in a known input spec. It holds the
specs that can leave, each with the size of the smallest tree found that leads there. Entries are
made when they are first asked for.

A rule that can hold itself has no end of trees, so its entries are made to a *level*: how often
such rules may be expanded inside each other. For all other rules an entry is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product

from searchspace import draws
from searchspace.grammar import Alternative, Grammar, Item
from searchspace.recursion import Recursion
from searchspace.scope import Scope, arguments, assignments, counts, live, needs, used
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.tree import Node, Value
from searchspace.wellformed import ENDLESS

Outs = Mapping[TensorSpec, int]
"""Specs that can leave, each with the size of the smallest tree found; small trees come first."""

HELD = 200_000
"""Specs that a table holds before it forgets them all and begins anew: some 50 MB."""
DEEPEST = 100
"""Rules inside each other, at most, in any tree."""


class EndlessError(ValueError):
    """Constraints let a rule go on inside itself without end; `symbol` names it."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        super().__init__(
            f"trees of '{symbol}' grow {DEEPEST} levels high: its constraints leave only "
            "alternatives that go on; add one that ends"
        )


class Table:
    """The table of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.recursion = Recursion(grammar.rules, grammar.primitives)
        self.level = self.recursion.level + 1 if self.recursion.level else 0
        """Highest level of any entry."""
        self._entries: dict[object, Outs] = {}
        self._held = 0
        self._height = 0
        self._applied: dict[object, TensorSpec | None] = {}
        self._flows: dict[tuple[Node, TensorSpec], TensorSpec | None] = {}
        self._measures: dict[Node, tuple[int, int]] = {}
        self._fitting: dict[tuple[str, Scope], tuple[int, ...]] = {}
        self._deep: dict[Item, bool] = {}

    def levels(self, item: Item, most: int) -> range:
        """Levels at which an item's entries can differ, up to `most`, lowest first."""
        return range(most + 1) if self.holds_recursion(item) else range(1)

    def row_levels(self, items: Sequence[Item], most: int) -> range:
        """As `levels`, for items in a row."""
        return max([self.levels(item, most) for item in items], key=len, default=range(1))

    def holds_recursion(self, item: Item) -> bool:
        """Whether trees of the item can hold a recursive rule."""
        deep = self._deep.get(item)
        if deep is None:
            inner = [i for group in item.groups for i in group]
            deep = item.symbol in self.recursion.deep or any(map(self.holds_recursion, inner))
            self._deep[item] = deep
        return deep

    # What one primitive does.

    def applied(
        self, name: str, values: Scope, spec: TensorSpec, inner: Sequence[TensorSpec] = ()
    ) -> TensorSpec | None:
        """The spec that leaves a primitive, from those that leave its sequences; None: unserved."""
        key = (name, values, spec, *inner)
        if key in self._applied:
            return self._applied[key]
        if len(self._applied) >= HELD:
            self._applied.clear()
        primitive = self.grammar.primitives[name]
        try:
            out: TensorSpec | None = primitive.result(spec, primitive.named(values), inner)
        except ShapeError:
            out = None
        found = self._applied[key] = self.within(out)
        return found

    def inside(self, name: str, values: Scope, spec: TensorSpec) -> TensorSpec | None:
        """The spec that enters a primitive's sequences; None: the primitive does not serve it."""
        primitive = self.grammar.primitives[name]
        try:
            return primitive.inside(spec, primitive.named(values))
        except ShapeError:
            return None

    def times(self, name: str, values: Scope) -> int:
        """How many copies of its sequences a primitive builds."""
        primitive = self.grammar.primitives[name]
        return primitive.copies(primitive.named(values))

    def within(self, spec: TensorSpec | None) -> TensorSpec | None:
        """The spec, or None if it has more elements than the grammar allows."""
        most = self.grammar.limits.elements
        return None if spec is None or (most and spec.elements > most) else spec

    # What a tree does.

    def flow(self, node: Node, spec: TensorSpec) -> TensorSpec | None:
        """The spec that leaves a tree; None: something in it does not serve what reaches it."""
        key = (node, spec)
        if key in self._flows:
            return self._flows[key]
        if len(self._flows) >= HELD // 4:
            self._flows.clear()
        out = self._flows[key] = self._flow(node, spec)
        return out

    def _flow(self, node: Node, spec: TensorSpec) -> TensorSpec | None:
        if not node.is_primitive:
            return self._through(node.flat(), spec)
        inner: list[TensorSpec] = []
        if node.children:
            within = self.inside(node.symbol, node.values, spec)
            for group in node.children:
                left = self._through(group, within)
                if left is None:
                    return None
                inner.append(left)
        return self.applied(node.symbol, node.values, spec, inner)

    def _through(self, nodes: Iterable[Node], spec: TensorSpec | None) -> TensorSpec | None:
        for node in nodes:
            if spec is None:
                return None
            spec = self.flow(node, spec)
        return spec

    def nodes(self, node: Node) -> int:
        """Nodes of a tree, every copy that is built counted."""
        return self._measured(node)[0]

    def height(self, node: Node) -> int:
        """Nodes on the longest way down a tree."""
        return self._measured(node)[1]

    def _measured(self, node: Node) -> tuple[int, int]:
        found = self._measures.get(node)
        if found is None:
            if len(self._measures) >= HELD // 4:
                self._measures.clear()
            times = self.times(node.symbol, node.values) if node.is_primitive else 1
            inner = [self._measured(child) for child in node.flat()]
            nodes = 1 + times * sum(count for count, _ in inner)
            found = self._measures[node] = (nodes, 1 + max((h for _, h in inner), default=0))
        return found

    # What an item, a row of items or a rule can do.

    def item(self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int) -> Outs:
        """What can leave an item, all its copies together.

        Args:
            scope: values of the rule's variables, as far as the item uses them.
        """
        if item.repeat is None:
            return self.one(item, scope, spec, level)
        found: dict[TensorSpec, int] = {}
        for count in counts(item, scope):
            _merge(found, self.copies(item, scope, spec, level, count))
        return found

    def copies(
        self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int, count: int
    ) -> Outs:
        """What can leave `count` copies of an item in a row; one draw, repeated, keeps its spec."""
        if count > 1 and item.repeat is not None and item.repeat.same:
            size = self.one(item, scope, spec, level).get(spec)
            return {} if size is None else {spec: size * count}
        states: Outs = {spec: 0}
        for left in range(count, 0, -1):
            step = self._step(states, item, scope, level, self.one)
            if len(step) == 1 and step.keys() == states.keys():
                (before,), (after,) = states.values(), step.values()
                return dict.fromkeys(step, before + (after - before) * left)
            states = step
        return states

    def row(
        self, items: Sequence[Item], scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Outs:
        """What can leave items in a row, all their variables known."""
        states: Outs = {spec: 0}
        for item in items:
            states = self._step(states, item, scope, level, self.item)
        return states

    def _step(
        self, states: Outs, item: Item, scope: Sequence[Value], level: int, entry: _Entry
    ) -> Outs:
        following: dict[TensorSpec, int] = {}
        for here, size in states.items():
            _merge(following, entry(item, scope, here, level), size)
        return following

    def one(self, item: Item, scope: Sequence[Value], spec: TensorSpec, level: int) -> Outs:
        """What can leave one copy of an item."""
        key = (item, tuple([scope[index] for index in used(item)]), spec, level)
        found = self._entries.get(key)
        if found is not None:
            return found
        made: dict[TensorSpec, int] = {}
        for values in arguments(item, scope):
            if not item.is_primitive:
                _merge(made, self.rule(item.symbol, values, spec, level))
            elif item.groups:
                for out, size in self._composite(item, values, scope, spec, level):
                    _merge(made, {out: size})
            elif (single := self.applied(item.symbol, values, spec)) is not None:
                made[single] = 1
        return self._keep(key, made)

    def _composite(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, level: int
    ) -> Iterator[tuple[TensorSpec, int]]:
        within = self.inside(item.symbol, values, spec)
        if within is None:
            return
        times = self.times(item.symbol, values)
        rows = [self.row(group, scope, within, level).items() for group in item.groups]
        for chosen in product(*rows):
            out = self.applied(item.symbol, values, spec, [inner for inner, _ in chosen])
            if out is not None:
                yield out, 1 + times * sum(size for _, size in chosen)

    def rule(self, symbol: str, given: Scope, spec: TensorSpec, level: int) -> Outs:
        """What can leave the expansion of a rule.

        Raises:
            EndlessError: recursion that counts does not end within `DEEPEST` levels.
        """
        key = (symbol, given, spec, level if symbol in self.recursion.deep else 0)
        found = self._entries.get(key)
        if found is not None:
            return found
        made: dict[TensorSpec, int] = {}
        inner = level - self.recursion.circles(symbol, given)
        if inner >= 0:
            self._height += 1
            try:
                if self._height > DEEPEST:
                    raise EndlessError(symbol)
                for index in self.fitting(symbol, given):
                    _merge(made, self.alternative(symbol, index, given, spec, inner), 1)
            finally:
                self._height -= 1
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
        self, symbol: str, index: int, given: Scope, spec: TensorSpec, level: int
    ) -> Outs:
        """What can leave the items of one alternative."""
        key = (symbol, index, given, spec, level if symbol in self.recursion.deep else 0)
        found = self._entries.get(key)
        if found is None:
            alternative = self.grammar.rules[symbol].alternatives[index]
            found = self._keep(key, self._items(alternative, given, spec, level))
        return found

    def _items(self, alternative: Alternative, given: Scope, spec: TensorSpec, level: int) -> Outs:
        arity = len(given)
        states: dict[tuple[TensorSpec, Scope], int] = {(spec, given): 0}
        for index, item in enumerate(alternative.items):
            following: dict[tuple[TensorSpec, Scope], int] = {}
            for (here, scope), size in states.items():
                known = needs(alternative, arity)[index]
                for extended in assignments(alternative, arity, scope, known):
                    kept = live(alternative, arity, index + 1, extended)
                    for out, more in self.item(item, extended, here, level).items():
                        state = (out, kept)
                        following[state] = min(size + more, following.get(state, ENDLESS))
            states = following
        outs: dict[TensorSpec, int] = {}
        for (out, _), size in states.items():
            _merge(outs, {out: size})
        return outs

    def _keep(self, key: object, made: Mapping[TensorSpec, int]) -> Outs:
        most = self.grammar.limits.nodes or ENDLESS
        kept = {out: n for out, n in sorted(made.items(), key=lambda e: e[1]) if n <= most}
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


def _merge(into: dict[TensorSpec, int], outs: Outs, more: int = 0) -> None:
    """Add what leaves, each size grown by `more`; of two trees the smaller one counts."""
    for out, size in outs.items():
        if size + more < into.get(out, ENDLESS):
            into[out] = size + more
