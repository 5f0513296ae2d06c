"""Derivations from left to right, with the shape known at every step.

A choice is offered only if all that is left can be completed after it, so no step is ever taken
back. `searchspace.decisions` decides; a *guide*, a tree whose choices come first wherever they
still fit, makes variants of that tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from searchspace.choose import Chooser
from searchspace.decisions import At, Decisions
from searchspace.grammar import Alternative, Item
from searchspace.guide import Change, agrees, behind, through
from searchspace.rest import Copies, End, Join, Only, Rest, Row, twins
from searchspace.room import DrawError, Room
from searchspace.scope import Scope, needs
from searchspace.shapes import TensorSpec
from searchspace.table import DEEPEST, Table
from searchspace.tree import PRIMITIVE, Node, Path

FREE = 60
"""Height of a tree from which a derivation takes only what ends soonest."""


class Derivation:
    """One derivation; it counts the nodes that are built."""

    def __init__(
        self,
        table: Table,
        chooser: Chooser,
        *,
        rows: bool = False,
        change: Change | None = None,
    ) -> None:
        self._table, self._grammar = table, table.grammar
        self._rows, self._change = rows, change
        self._room = Room(table)
        self._decide = Decisions(table, chooser, self._room)

    def root(self, guide: Node | None = None, *, smallest: bool = False) -> Node:
        """A tree of the grammar.

        Args:
            guide: a tree of it whose choices come first.
            smallest: take the alternatives with the fewest nodes.

        Raises:
            DrawError: the space has no tree as large as is allowed.
        """
        level = self._table.level if smallest else None
        at = At(self._grammar.input, End(), level, FREE, ())
        trail = self._change.path if self._change else None
        self._room.close()
        return self._rule(self._grammar.start, (), at, guide, trail)[0]

    def item(
        self, item: Item, scope: Scope, spec: TensorSpec
    ) -> tuple[tuple[Node, ...], TensorSpec]:
        """The nodes for one item, all its copies, and what leaves them, whatever may follow.

        Args:
            item: of some alternative of the grammar.
            scope: values of the alternative's variables, as far as the item uses them.
            spec: what enters.

        Raises:
            DrawError: the item has no tree there.
        """
        row = Row.whole(self._table, (item,), scope, End(), self._table.level)
        if row.size(spec) is None:
            raise DrawError(f"'{item.symbol}' has no tree for {scope} in {spec}")
        return self._group(item, row, scope, At(spec, row, None, FREE, ()), None, None)

    # Rules.

    def _rule(
        self, symbol: str, given: Scope, at: At, guide: Node | None, trail: Path | None
    ) -> tuple[Node, TensorSpec]:
        change = self._change if trail == () else None
        if change is not None and change.kind == "graft":
            guide, trail = change.graft, None
        if guide is not None and trail is None and guide.values[: len(given)] == given:
            kept = self._kept(guide, at)
            if kept is not None:
                return guide, kept
        if change is not None and change.kind == "alternative":
            guide, trail, change = None, None, None
        self._room.take()
        index, row, level = self._decide.alternative(symbol, given, at, guide)
        rule = self._grammar.rules[symbol]
        if guide is not None and guide.alternative != index:
            guide = trail = change = None
        inner = At(at.spec, at.rest, level, at.height - 1, (at.place, symbol, index))
        scope, children, out = self._row(
            rule.alternatives[index], row, given, inner, guide, trail, change
        )
        scheme = ""
        if rule.is_block:
            scheme = self._decide.scheme(inner.place, guide, change)
        return Node(symbol, index, scope, children, scheme), out

    def _kept(self, guide: Node, at: At) -> TensorSpec | None:
        """What leaves the guide, if it fits here as it is."""
        room = at.height + DEEPEST - FREE
        if at.level is not None or self._table.height(guide) > room:
            return None
        out = self._table.flow(guide, at.spec)
        left = None if out is None else at.rest.size(out)
        nodes = self._table.nodes(guide)
        if left is None or not self._room.holds(self._room.times * nodes + left):
            return None
        self._room.take(nodes)
        return out

    def _row(
        self,
        alternative: Alternative,
        row: Row,
        given: Scope,
        at: At,
        guide: Node | None,
        trail: Path | None,
        change: Change | None,
    ) -> tuple[Scope, tuple[tuple[Node, ...], ...], TensorSpec]:
        scope, spec, arity = given, at.spec, len(given)
        children = []
        last = arity + len(alternative.draws)
        for index, item in enumerate(alternative.items):
            while len(scope) < needs(alternative, arity)[index]:
                size = self._sizes(row, index, spec)
                scope = self._decide.variable(alternative, scope, arity, at, guide, change, size)
            here = row.at(index, scope)
            guides: Sequence[Node | None] | None
            guides = guide.children[index] if guide is not None else None
            inner = At(spec, here, at.level, at.height, (at.place, index))
            if change is not None and change.is_about("count", index):
                guides = change.copies
            way = through(trail, index)
            group, spec = self._group(item, here, scope, inner, guides, way)
            children.append(group)
        while len(scope) < last:
            scope = self._decide.variable(alternative, scope, arity, at, guide, change, lambda _: 0)
        return scope, tuple(children), spec

    def _sizes(self, row: Row, index: int, spec: TensorSpec) -> Callable[[Scope], int | None]:
        return lambda scope: row.at(index, scope).size(spec)

    # Items.

    def _group(
        self,
        item: Item,
        row: Row,
        scope: Scope,
        at: At,
        guides: Sequence[Node | None] | None,
        trail: Path | None,
    ) -> tuple[tuple[Node, ...], TensorSpec]:
        following = row.following
        if item.repeat is None:
            inner = At(at.spec, following, at.level, at.height, at.place)
            node, out = self._one(item, scope, inner, guides[0] if guides else None, behind(trail))
            return (node,), out
        count, copies = self._decide.count(item, row, scope, at, guides)
        changed = trail[0][1] if trail else -1
        same = item.repeat.same
        if not same and self._rows and count > 1:
            same = self._keeps(item, scope, at.spec, following)
        if same and count > 1:
            inner = At(at.spec, Only(at.spec, following), at.level, at.height, at.place)
            with self._room.copies(self._room.times * count):
                node, out = self._one(item, scope, inner, copies[0], behind(trail))
            return (node,) * count, out
        if changed >= 0 and self._change is not None and self._change.together:
            changed = copies.index(copies[changed])
        nodes: list[Node] = []
        spec = at.spec
        for index in range(count):
            rest: Rest = following if index + 1 == count else Copies(row, count - index - 1)
            inner = At(spec, rest, at.level, at.height, (at.place, index))
            here, way = copies[index], behind(trail) if index == changed else None
            node, spec = self._one(item, scope, inner, here, way)
            if index == changed and self._change is not None and self._change.together:
                copies = [node if copy == here else copy for copy in copies]
            nodes.append(node)
        return tuple(nodes), spec

    def _keeps(self, item: Item, scope: Scope, spec: TensorSpec, following: Rest) -> bool:
        """Whether one draw of the item can stand in a row with itself here."""
        levels = self._table.levels([item], self._table.level)
        outs = self._table.one(item, scope, spec, levels[-1])
        return spec in outs and following.size(spec) is not None

    def _one(
        self, item: Item, scope: Scope, at: At, guide: Node | None, trail: Path | None
    ) -> tuple[Node, TensorSpec]:
        """One copy of an item."""
        change = self._change if trail == () else None
        changed = change.index if change is not None and change.kind == "argument" else -1
        if changed >= 0:
            trail = None
        values = self._decide.arguments(item, scope, at, guide, changed)
        if not item.is_primitive:
            return self._rule(item.symbol, values, at, guide, trail)
        same = guide is not None and guide.values == values and agrees(item, scope, guide)
        if guide is not None and same and trail is None:
            kept = self._kept(guide, at)
            if kept is not None:
                return guide, kept
        self._room.take()
        inner: list[TensorSpec] = []
        children: list[tuple[Node, ...]] = []
        if item.groups:
            join, within, times = self._join(item, values, scope, at)
            with self._room.copies(times):
                for index, group in enumerate(item.groups):
                    row = Row.whole(self._table, group, scope, join, at.depth(self._table), times)
                    below = (at.place, item.symbol, index)
                    place = At(within, join, at.level, at.height - 1, below)
                    guides = guide.children[index] if guide is not None else None
                    way = through(trail, index)
                    nodes, out = self._body(item, index, row, scope, place, guides, way, children)
                    children.append(nodes)
                    inner.append(out)
                    join = join.after(out)
        left = self._table.applied(item.symbol, values, at.spec, inner)
        assert left is not None
        return Node(item.symbol, PRIMITIVE, values, tuple(children)), left

    def _body(
        self,
        item: Item,
        index: int,
        row: Row,
        scope: Scope,
        at: At,
        guides: Sequence[Node] | None,
        trail: Path | None,
        before: Sequence[tuple[Node, ...]],
    ) -> tuple[tuple[Node, ...], TensorSpec]:
        """One sequence of a primitive.

        If no small tree meets what the sequence before it made, it is a copy of that one; so room
        is kept for one copy for each twin that follows.
        """
        groups = item.groups
        if index and twins(groups[index - 1], groups[index]) and row.size(at.spec) is None:
            left: TensorSpec | None = at.spec
            for node in before[-1]:
                left = self._table.flow(node, left) if left is not None else None
                self._room.take(self._table.nodes(node))
            assert left is not None
            return before[-1], left
        alike = 1 + sum(twins(groups[index], other) for other in groups[index + 1 :])
        with self._room.shared(alike):
            return self._sequence(groups[index], row, scope, at, guides, trail)

    def _sequence(
        self,
        items: Sequence[Item],
        row: Row,
        scope: Scope,
        at: At,
        guides: Sequence[Node] | None,
        trail: Path | None,
    ) -> tuple[tuple[Node, ...], TensorSpec]:
        nodes, spec = [], at.spec
        for index, item in enumerate(items):
            inner = At(spec, row.at(index + 1, scope), at.level, at.height, (at.place, index))
            guide = guides[index] if guides is not None else None
            way = trail[1:] if trail and trail[0][1] == index else None
            node, spec = self._one(item, scope, inner, guide, way)
            nodes.append(node)
        return tuple(nodes), spec

    def _join(
        self, item: Item, values: Scope, scope: Scope, at: At
    ) -> tuple[Join, TensorSpec, int]:
        """What comes behind a primitive's first sequence, what enters it, and how often it is."""
        within = self._table.inside(item.symbol, values, at.spec)
        assert within is not None
        times = self._room.times * self._table.times(item.symbol, values)
        level = at.depth(self._table)
        join = Join(self._table, item, values, scope, at.spec, within, at.rest, level, times)
        return join, within, times
