"""Derivations from left to right, with the shape known at every step.

A choice is offered only if all that is left can be completed after it, so no step is ever taken
back. In which order options are offered is for a chooser to say; a *guide*, a tree whose choices
come first wherever they still fit, makes variants of that tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from searchspace import draws
from searchspace.choose import Chooser, Place, Question, ordered
from searchspace.grammar import Alternative, Domain, Drawn, Item, Scalar, evaluate
from searchspace.rest import Copies, End, Join, Only, Rest, Row, TooFarError, ending, twins
from searchspace.scope import Scope, needs, options
from searchspace.shapes import TensorSpec
from searchspace.table import DEEPEST, Table
from searchspace.tree import PRIMITIVE, Node, Path

FREE = 60
"""Height of a tree from which a derivation takes only what ends soonest."""
MOST = 50_000
"""Nodes of a tree at most, where the grammar sets no limit."""

LOOKS = 200
"""Places that a derivation with recursive rules looks at freely, some milliseconds; from then on
each question ends at a few."""
FEW = 10

_V = TypeVar("_V")


class DrawError(ValueError):
    """A space that has no tree as asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that shall differ from the guide."""

    kind: str
    """As in `Question`; `graft`: the node in `graft` guides from here on; `values`: the guide's
    variables may disagree with what lies below it."""
    path: Path
    """Way to the node."""
    index: int = 0
    """Which variable, item or argument."""
    copies: tuple[Node | None, ...] = ()
    """For `count`: what guides each copy of the item; None: drawn anew."""
    together: bool = False
    """Whether all copies in a row under `^` that equal the changed one change with it."""
    graft: Node | None = None
    """For `graft`: a node of the same rule; its own variables are kept where they fit."""


@dataclass(frozen=True, slots=True)
class _At:
    """A place in the derivation."""

    spec: TensorSpec
    rest: Rest
    level: int | None
    """How deep recursive rules may still nest; None: as deep as there is room."""
    height: int
    place: Place


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
        self._chooser, self._rows, self._change = chooser, rows, change
        self._most = self._grammar.limits.nodes or MOST
        # Sizes of what is left are those of the first completion found: a fifth is kept back.
        self._soft = self._most * 4 // 5
        self._used, self._times = 0, 1
        self._looks = LOOKS

    def root(self, guide: Node | None = None, *, smallest: bool = False) -> Node:
        """A tree of the grammar.

        Args:
            guide: a tree of it whose choices come first.
            smallest: take the alternatives with the fewest nodes.

        Raises:
            DrawError: the space has no tree as large as is allowed.
        """
        level = self._table.level if smallest else None
        at = _At(self._grammar.input, End(), level, FREE, ())
        trail = self._change.path if self._change else None
        node, _ = self._rule(self._grammar.start, (), at, guide, trail)
        if self._used > self._most:
            raise DrawError(
                f"the smallest trees of {self._grammar.name} have more than {self._most} nodes: "
                "lower the counts, or raise the limit on nodes"
            )
        return node

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
        return self._group(item, row, scope, _At(spec, row, None, FREE, ()), None, None)

    # Rules.

    def _rule(
        self, symbol: str, given: Scope, at: _At, guide: Node | None, trail: Path | None
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
        self._used += self._times
        index, row, level = self._alternative(symbol, given, at, guide)
        rule = self._grammar.rules[symbol]
        if guide is not None and guide.alternative != index:
            guide = trail = change = None
        inner = _At(at.spec, at.rest, level, at.height - 1, (at.place, symbol, index))
        scope, children, out = self._row(
            rule.alternatives[index], row, given, inner, guide, trail, change
        )
        scheme = ""
        if rule.is_block:
            old = guide.scheme if guide is not None else None
            changes = change is not None and change.kind == "scheme"
            question = Question("scheme", inner.place)
            scheme = next(
                ordered(self._chooser, question, self._grammar.schemes, None, old, changes)
            )
        return Node(symbol, index, scope, children, scheme), out

    def _kept(self, guide: Node, at: _At) -> TensorSpec | None:
        """What leaves the guide, if it fits here as it is."""
        room = at.height + DEEPEST - FREE
        if at.level is not None or self._table.height(guide) > room:
            return None
        out = self._table.flow(guide, at.spec)
        behind = None if out is None else at.rest.size(out)
        size = self._times * self._table.nodes(guide)
        if behind is None or self._used + size + behind > self._soft:
            return None
        self._used += size
        return out

    def _alternative(
        self, symbol: str, given: Scope, at: _At, guide: Node | None
    ) -> tuple[int, Row, int | None]:
        """The alternative that is taken, its row, and the level that its items are held to."""
        table, alternatives = self._table, self._grammar.rules[symbol].alternatives
        fits = table.fitting(symbol, given)
        highest = table.level

        def row(index: int, level: int) -> Row:
            alternative = alternatives[index]
            return Row.whole(
                table, alternative.items, given, at.rest, level, self._times, alternative
            )

        def size(index: int) -> int | None:
            whole = row(index, highest)
            if whole.always is not None:
                return whole.always
            if symbol in table.recursion.deep:
                return whole.size(at.spec)
            # Without recursion, what leaves is known for all draws together.
            for out, found in table.lazy.alternative(symbol, index, given, at.spec):
                behind = at.rest.size(out)
                if behind is not None:
                    return self._times * found + behind
            return None

        if at.level is None and at.height > 0:
            if len(fits) == 1:
                return fits[0], row(fits[0], highest), None
            weights = [alternatives[i].weight for i in fits]
            kept = guide.alternative if guide is not None else None
            question = Question("alternative", (at.place, symbol))
            for index in ordered(self._chooser, question, fits, weights, kept):
                left = self._asked(size, index, limited=guide is None)
                if left is not None and self._used + left <= self._soft:
                    return index, row(index, highest), None
        for level in range((highest + 1 if at.level is None else at.level) + 1):
            inner = level - (symbol in table.recursion.recursive)
            rows = [(row(index, inner), index) for index in fits if inner >= 0]
            sizes = [(found.size(at.spec), index, found) for found, index in rows]
            ending = [(s, index, found) for s, index, found in sizes if s is not None]
            if ending:
                _, index, found = min(ending, key=lambda entry: entry[:2])
                return index, found, inner
        raise DrawError(
            f"no alternative of '{symbol}' is allowed for {given} and ends from {at.spec}"
        )

    def _row(
        self,
        alternative: Alternative,
        row: Row,
        given: Scope,
        at: _At,
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
                scope = self._variable(alternative, scope, arity, at, guide, change, size)
            here = row.at(index, scope)
            guides: Sequence[Node | None] | None
            guides = guide.children[index] if guide is not None else None
            inner = _At(spec, here, at.level, at.height, (at.place, index))
            if change is not None and (change.kind, change.index) == ("count", index):
                guides = change.copies
            way = trail if trail and trail[0][0] == index else None
            group, spec = self._group(item, here, scope, inner, guides, way)
            children.append(group)
        while len(scope) < last:
            scope = self._variable(alternative, scope, arity, at, guide, change, lambda _: 0)
        return scope, tuple(children), spec

    def _sizes(self, row: Row, index: int, spec: TensorSpec) -> Callable[[Scope], int | None]:
        return lambda scope: row.at(index, scope).size(spec)

    def _variable(
        self,
        alternative: Alternative,
        scope: Scope,
        arity: int,
        at: _At,
        guide: Node | None,
        change: Change | None,
        size: Callable[[Scope], int | None],
    ) -> Scope:
        index = len(scope) - arity
        name, domain = alternative.draws[index]
        offered = draws.options(alternative, arity, index, scope)
        values = [value for value, _ in offered]
        weights: list[float] | None = [float(count) for _, count in offered]
        question = Question("variable", (at.place, name), domain)
        current = guide.values[len(scope)] if guide is not None else None
        changes = change is not None and (change.kind, change.index) == ("variable", index)
        if changes and guide is not None:
            others = draws.others(alternative, guide.values, arity, index)
            values = [guide.values[len(scope)], *(v for v in values if v in others)]
            weights = None
        order = ordered(self._chooser, question, values, weights, current, changes)
        chosen = self._fitting(order, lambda value: size((*scope, value)), len(values) == 1, guide)
        return (*scope, chosen)

    # Items.

    def _group(
        self,
        item: Item,
        row: Row,
        scope: Scope,
        at: _At,
        guides: Sequence[Node | None] | None,
        trail: Path | None,
    ) -> tuple[tuple[Node, ...], TensorSpec]:
        following = row.following
        if item.repeat is None:
            inner = _At(at.spec, following, at.level, at.height, at.place)
            node, out = self._one(item, scope, inner, guides[0] if guides else None, _rest(trail))
            return (node,), out
        count, copies = self._count(item, row, scope, at, guides)
        changed = trail[0][1] if trail else -1
        same = item.repeat.same
        if not same and self._rows and count > 1:
            same = self._keeps(item, scope, at.spec, following)
        if same and count > 1:
            self._times *= count
            inner = _At(at.spec, Only(at.spec, following), at.level, at.height, at.place)
            node, out = self._one(item, scope, inner, copies[0], _rest(trail))
            self._times //= count
            return (node,) * count, out
        if changed >= 0 and self._change is not None and self._change.together:
            changed = copies.index(copies[changed])
        nodes: list[Node] = []
        spec = at.spec
        for index in range(count):
            rest: Rest = following if index + 1 == count else Copies(row, count - index - 1)
            inner = _At(spec, rest, at.level, at.height, (at.place, index))
            here, way = copies[index], _rest(trail) if index == changed else None
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

    def _count(
        self, item: Item, row: Row, scope: Scope, at: _At, guides: Sequence[Node | None] | None
    ) -> tuple[int, list[Node | None]]:
        """How many copies, and a guide for each."""
        assert item.repeat is not None
        scalar = item.repeat.count
        values = options(scalar, scope)
        question = Question("count", at.place, scalar.domain if isinstance(scalar, Drawn) else None)
        order = ordered(
            self._chooser, question, values, None, None if guides is None else len(guides)
        )
        single = len(values) == 1
        count = int(self._fitting(order, lambda n: row.behind(int(n), at.spec), single, guides))
        old = list(guides or ())
        return count, [*old[:count], *[None] * (count - len(old))]

    def _one(
        self, item: Item, scope: Scope, at: _At, guide: Node | None, trail: Path | None
    ) -> tuple[Node, TensorSpec]:
        """One copy of an item."""
        change = self._change if trail == () else None
        changed = change.index if change is not None and change.kind == "argument" else -1
        if changed >= 0:
            trail = None
        values = self._arguments(item, scope, at, guide, changed)
        if not item.is_primitive:
            return self._rule(item.symbol, values, at, guide, trail)
        same = guide is not None and guide.values == values and _agrees(item, scope, guide)
        if guide is not None and same and trail is None:
            kept = self._kept(guide, at)
            if kept is not None:
                return guide, kept
        self._used += self._times
        inner: list[TensorSpec] = []
        children: list[tuple[Node, ...]] = []
        if item.groups:
            join, within, times = self._join(item, values, scope, at)
            outer, self._times = self._times, times
            for index, group in enumerate(item.groups):
                row = Row.whole(self._table, group, scope, join, self._level(at), times)
                place = _At(within, join, at.level, at.height - 1, (at.place, item.symbol, index))
                guides = guide.children[index] if guide is not None else None
                way = trail if trail and trail[0][0] == index else None
                nodes, out = self._body(item, index, row, scope, place, guides, way, children)
                children.append(nodes)
                inner.append(out)
                join = join.after(out)
            self._times = outer
        left = self._table.applied(item.symbol, values, at.spec, inner)
        assert left is not None
        return Node(item.symbol, PRIMITIVE, values, tuple(children)), left

    def _body(
        self,
        item: Item,
        index: int,
        row: Row,
        scope: Scope,
        at: _At,
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
                self._used += self._times * self._table.nodes(node)
            assert left is not None
            return before[-1], left
        alike = 1 + sum(twins(groups[index], other) for other in groups[index + 1 :])
        used, times = self._used, self._times
        self._times = times * alike
        nodes, out = self._sequence(groups[index], row, scope, at, guides, trail)
        self._used, self._times = used + (self._used - used) // alike, times
        return nodes, out

    def _sequence(
        self,
        items: Sequence[Item],
        row: Row,
        scope: Scope,
        at: _At,
        guides: Sequence[Node] | None,
        trail: Path | None,
    ) -> tuple[tuple[Node, ...], TensorSpec]:
        nodes, spec = [], at.spec
        for index, item in enumerate(items):
            inner = _At(spec, row.at(index + 1, scope), at.level, at.height, (at.place, index))
            guide = guides[index] if guides is not None else None
            way = trail[1:] if trail and trail[0][1] == index else None
            node, spec = self._one(item, scope, inner, guide, way)
            nodes.append(node)
        return tuple(nodes), spec

    def _arguments(
        self, item: Item, scope: Scope, at: _At, guide: Node | None, changed: int
    ) -> Scope:
        """Scalar arguments of an item; the one that shall change is no longer what it was."""
        old = guide.values if guide is not None else None
        place = (at.place, item.symbol)

        def each(chosen: Scope) -> Iterator[Scope]:
            index = len(chosen)
            if index == len(item.scalars):
                yield chosen
                return
            scalar = item.scalars[index]
            values = options(scalar, scope)
            question = Question("argument", (place, index), _domain(scalar))
            kept = old[index] if old is not None else None
            for value in ordered(self._chooser, question, values, None, kept, index == changed):
                yield from each((*chosen, value))

        single = not any(isinstance(scalar, Drawn) for scalar in item.scalars)
        return self._fitting(
            each(()), lambda values: self._after(item, values, scope, at), single, guide
        )

    def _after(self, item: Item, values: Scope, scope: Scope, at: _At) -> int | None:
        """Size of an item with these arguments and of all that is left."""
        found = ending(self._table, item, values, scope, at.spec, at.rest, self._level(at))
        return None if found is None else self._times * found[0] + found[1]

    def _join(
        self, item: Item, values: Scope, scope: Scope, at: _At
    ) -> tuple[Join, TensorSpec, int]:
        """What comes behind a primitive's first sequence, what enters it, and how often it is."""
        within = self._table.inside(item.symbol, values, at.spec)
        assert within is not None
        times = self._times * self._table.times(item.symbol, values)
        level = self._level(at)
        join = Join(self._table, item, values, scope, at.spec, within, at.rest, level, times)
        return join, within, times

    def _level(self, at: _At) -> int:
        return self._table.level if at.level is None else at.level

    def _asked(self, size: Callable[[_V], int | None], option: _V, *, limited: bool) -> int | None:
        """Size of what is left after an option; None if no completion is found.

        Where rules are recursive, a limited question ends at so many looks. Few of those that go
        further find a completion, and they would make a large tree slow.
        """
        table = self._table
        if not (limited and table.recursion.deep):
            return size(option)
        table.looks = allowed = max(FEW, self._looks)
        try:
            return size(option)
        except TooFarError:
            return None
        finally:
            self._looks -= allowed - table.looks
            table.looks = 0

    def _fitting(
        self,
        order: Iterator[_V],
        size: Callable[[_V], int | None],
        single: bool,
        guide: object | None,
    ) -> _V:
        """The first option that leaves room for the rest; if none does, the smallest that ends.

        What a guide says is looked into without end.
        """
        if single:
            return next(order)
        smallest: tuple[int, _V] | None = None
        offered = []
        for option in order:
            offered.append(option)
            found = self._asked(size, option, limited=guide is None)
            if found is None:
                continue
            if self._used + found <= self._soft:
                return option
            if smallest is None or found < smallest[0]:
                smallest = (found, option)
        if smallest is None:
            for option in offered:
                if size(option) is not None:
                    return option
            raise DrawError(f"no tree of {self._grammar.name} can be completed")
        return smallest[1]


def _agrees(item: Item, scope: Scope, node: Node) -> bool:
    """Whether the values of a node are those that its item gives, as far as they are not drawn."""
    for scalar, value in zip(item.scalars, node.values, strict=False):
        if not isinstance(scalar, Drawn) and evaluate(scalar, scope) != value:
            return False
    return all(
        _agrees(inner, scope, child)
        for group, nodes in zip(item.groups, node.children, strict=False)
        for inner, child in zip(group, nodes, strict=True)
    )


def _rest(trail: Path | None) -> Path | None:
    return trail[1:] if trail else None


def _domain(scalar: Scalar) -> Domain | None:
    return scalar.domain if isinstance(scalar, Drawn) else None
