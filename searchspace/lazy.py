"""What rules without recursion can do, found as far as it is asked for.

Such a rule may have millions of trees that all do one thing to a shape. So what leaves it is found
one spec after the other, and the search goes on only where the specs found so far do not serve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from searchspace.grammar import Alternative, Item
from searchspace.scope import Scope, arguments, assignments, counts, drawn, live, needs, used
from searchspace.shapes import TensorSpec
from searchspace.tree import Value

if TYPE_CHECKING:
    from searchspace.table import Table

Found = Iterator[tuple[TensorSpec, int]]
"""Specs that can leave, each once, with the size of a tree that leads there."""
COUNTED = 50
"""Levels within which recursion that counts its arguments must end."""
HELD = 30_000
"""Entries that are held before all are forgotten."""


class EndlessError(ValueError):
    """Constraints let a rule go on inside itself without end; `symbol` names it."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        super().__init__(
            f"trees of '{symbol}' grow {COUNTED} levels high: its constraints leave only "
            "alternatives that go on; add one that ends"
        )


class Lazy:
    """Entries for items and rules that hold no recursive rule."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._entries: dict[object, _Entry] = {}
        self._height = 0

    def item(self, item: Item, scope: Sequence[Value], spec: TensorSpec) -> Found:
        """What leaves an item, all its copies together."""
        if item.repeat is None:
            return self.one(item, scope, spec)
        return self._kept((item, _seen(item, scope), spec, "all"), self._item(item, scope, spec))

    def _item(self, item: Item, scope: Sequence[Value], spec: TensorSpec) -> Found:
        for count in counts(item, scope):
            yield from self.copies(item, scope, spec, count)

    def copies(self, item: Item, scope: Sequence[Value], spec: TensorSpec, count: int) -> Found:
        """What leaves `count` copies of an item in a row."""
        if count <= 1:
            return self.one(item, scope, spec) if count else iter([(spec, 0)])
        key = (item, _seen(item, scope), spec, count)
        return self._kept(key, self._copies(item, scope, spec, count))

    def _copies(self, item: Item, scope: Sequence[Value], spec: TensorSpec, count: int) -> Found:
        # Most rows keep their shape: then one copy tells of all.
        for out, size in self.one(item, scope, spec):
            if out == spec:
                yield spec, size * count
                break
        if item.repeat is not None and item.repeat.same:
            return
        states = {spec: 0}
        for _ in range(count):
            following: dict[TensorSpec, int] = {}
            for here, before in states.items():
                for out, size in self.one(item, scope, here):
                    following.setdefault(out, before + size)
            states = following
        yield from states.items()

    def one(self, item: Item, scope: Sequence[Value], spec: TensorSpec) -> Found:
        """What leaves one copy of an item."""
        if item.is_primitive and not item.groups and not drawn(item):
            return self.given(item, next(arguments(item, scope)), scope, spec)
        return self._kept((item, _seen(item, scope), spec), self._one(item, scope, spec))

    def _one(self, item: Item, scope: Sequence[Value], spec: TensorSpec) -> Found:
        for values in arguments(item, scope):
            yield from self.given(item, values, scope, spec)

    def given(self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec) -> Found:
        """What leaves one copy of an item with these scalar arguments."""
        if not item.is_primitive:
            return self.rule(item.symbol, values, spec)
        if not item.groups:
            out = self._table.applied(item.symbol, values, spec)
            return iter(() if out is None else [(out, 1)])
        key = (item, _seen(item, scope), spec, values)
        return self._kept(key, self._composite(item, values, scope, spec))

    def _composite(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec
    ) -> Found:
        within = self._table.inside(item.symbol, values, spec)
        if within is None:
            return
        times = self._table.times(item.symbol, values)
        for inner, size in self._bodies(item, scope, within, 0):
            out = self._table.applied(item.symbol, values, spec, inner)
            if out is not None:
                yield out, 1 + times * size

    def _bodies(
        self, item: Item, scope: Sequence[Value], within: TensorSpec, index: int
    ) -> Iterator[tuple[tuple[TensorSpec, ...], int]]:
        if index == len(item.groups):
            yield (), 0
            return
        for out, size in self.row(item.groups[index], scope, within):
            for rest, more in self._bodies(item, scope, within, index + 1):
                yield (out, *rest), size + more

    def row(self, items: Sequence[Item], scope: Sequence[Value], spec: TensorSpec) -> Found:
        """What leaves items in a row, all their variables known."""
        if not items:
            yield spec, 0
            return
        for out, size in self.item(items[0], scope, spec):
            for last, more in self.row(items[1:], scope, out):
                yield last, size + more

    def rule(self, symbol: str, given: Scope, spec: TensorSpec) -> Found:
        """What leaves the expansion of a rule."""
        return self._kept((symbol, given, spec), self._rule(symbol, given, spec))

    def _rule(self, symbol: str, given: Scope, spec: TensorSpec) -> Found:
        for index in self._table.fitting(symbol, given):
            found = self.alternative(symbol, index, given, spec)
            while True:
                self._height += 1
                try:
                    if self._height > COUNTED:
                        raise EndlessError(symbol)
                    one = next(found, None)
                finally:
                    self._height -= 1
                if one is None:
                    break
                yield one[0], one[1] + 1

    def alternative(self, symbol: str, index: int, given: Scope, spec: TensorSpec) -> Found:
        """What leaves the items of one alternative."""
        alternative = self._table.grammar.rules[symbol].alternatives[index]
        found = self._items(alternative, len(given), 0, given, spec, {})
        return self._kept((symbol, index, given, spec), found)

    def _items(
        self,
        alternative: Alternative,
        arity: int,
        index: int,
        scope: Scope,
        spec: TensorSpec,
        done: dict[tuple[int, Scope, TensorSpec], bool],
    ) -> Found:
        if index == len(alternative.items):
            yield spec, 0
            return
        # What was gone through from here brings nothing new.
        place = (index, live(alternative, arity, index, scope), spec)
        if done.get(place):
            return
        item = alternative.items[index]
        for extended in assignments(alternative, arity, scope, needs(alternative, arity)[index]):
            for out, size in self.item(item, extended, spec):
                for last, more in self._items(alternative, arity, index + 1, extended, out, done):
                    yield last, size + more
        done[place] = True

    def _kept(self, key: object, source: Found) -> Found:
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= HELD:
                self._entries.clear()
            entry = self._entries[key] = _Entry(source)
        return iter(entry)


class _Entry:
    """Specs found so far, and where more come from."""

    __slots__ = ("_found", "_source")

    def __init__(self, source: Found) -> None:
        self._found: dict[TensorSpec, int] = {}
        self._source: Found | None = source

    def __iter__(self) -> Found:
        known = list(self._found.items())
        yield from known
        index = len(known)
        while True:
            if index < len(self._found):
                fresh = list(self._found.items())[index:]
                yield from fresh
                index += len(fresh)
            elif self._source is None:
                return
            else:
                self._more()

    def _more(self) -> None:
        """Find the next spec, or the end."""
        assert self._source is not None
        for out, size in self._source:
            if out not in self._found:
                self._found[out] = size
                return
        self._source = None


def _seen(item: Item, scope: Sequence[Value]) -> tuple[Value, ...]:
    return tuple([scope[index] for index in used(item)])
