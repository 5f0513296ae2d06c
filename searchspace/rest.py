"""What is still to come after a place in a tree, and whether it can be completed from a shape.

A chain of `Rest`s leads from the place out to the end of the network. Each answers one question:
how large is a tree for all that is left, if this spec enters it; None if nothing completes it. The
answer is the size of the first completion found, the smallest parts tried first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from searchspace.grammar import Alternative, Item
from searchspace.scope import Scope, arguments, assignments, counts, live, needs
from searchspace.shapes import TensorSpec
from searchspace.table import Table

_UNKNOWN = -1
_F = TypeVar("_F")


class TooFarError(Exception):
    """A question has looked at as many places as it may, and has no answer."""


class Rest(Protocol):
    """All that is left to derive behind some place."""

    @property
    def always(self) -> int | None:
        """Size of a completion that serves every spec, if one is known."""
        ...

    def size(self, spec: TensorSpec) -> int | None:
        """Nodes of a completion for a spec that enters; None if there is none."""
        ...


class End:
    """Behind the whole network: nothing is left, and every spec may leave."""

    always: int | None = 0

    def size(self, spec: TensorSpec) -> int | None:
        """Always 0."""
        return 0


class Only:
    """As another rest, but for one spec alone."""

    always: int | None = None

    def __init__(self, spec: TensorSpec, rest: Rest) -> None:
        self._spec, self._rest = spec, rest

    def size(self, spec: TensorSpec) -> int | None:
        """That of the other rest, for the one spec."""
        return self._rest.size(spec) if spec == self._spec else None


class _Remembering:
    """Remembers its answers."""

    __slots__ = ("_sizes", "always")

    def __init__(self, always: int | None = None) -> None:
        self.always = always
        self._sizes: dict[TensorSpec, int | None] = {}

    def size(self, spec: TensorSpec) -> int | None:
        """Nodes of a completion for a spec that enters; None if there is none."""
        if self.always is not None:
            return self.always
        found = self._sizes.get(spec, _UNKNOWN)
        if found == _UNKNOWN:
            answer = self._sizes[spec] = self.search(spec)
            return answer
        return found

    def search(self, spec: TensorSpec) -> int | None:
        raise NotImplementedError


class _Frame:
    """What all places in one row share."""

    __slots__ = (
        "alternative",
        "arity",
        "items",
        "level",
        "needs",
        "places",
        "rest",
        "table",
        "times",
    )

    def __init__(
        self,
        table: Table,
        items: Sequence[Item],
        arity: int,
        rest: Rest,
        level: int,
        times: int,
        alternative: Alternative | None,
    ) -> None:
        self.table, self.items, self.arity, self.rest = table, items, arity, rest
        self.level, self.times, self.alternative = level, times, alternative
        self.needs = needs(alternative, arity) if alternative is not None else None
        self.places: dict[tuple[int, Scope], Row] = {}


class Row(_Remembering):
    """The items of an alternative, or of a sequence argument, from some index on."""

    __slots__ = ("_frame", "_index", "_scope")

    def __init__(self, frame: _Frame, index: int, scope: Scope) -> None:
        self._frame, self._index, self._scope = frame, index, scope
        always = frame.rest.always
        if always is not None and index < len(frame.items):
            alone = frame.table.recursion.always(frame.items[index])
            behind = None
            if alone is not None and (frame.needs is None or frame.needs[index] <= len(scope)):
                behind = self.at(index + 1, scope).always
            always = None if alone is None or behind is None else frame.times * alone + behind
        super().__init__(always)

    @classmethod
    def whole(
        cls,
        table: Table,
        items: Sequence[Item],
        scope: Scope,
        rest: Rest,
        level: int,
        times: int = 1,
        alternative: Alternative | None = None,
    ) -> Row:
        """The whole row.

        Args:
            table: what the items can do.
            items: the items, in order.
            scope: values of the rule's parameters, or of all variables.
            rest: what is left behind the row.
            level: how often recursive rules may be expanded inside each other in the row.
            times: how many copies of the row are built.
            alternative: whose items they are, where its variables have no values yet.
        """
        return cls(_Frame(table, items, len(scope), rest, level, times, alternative), 0, scope)

    def at(self, index: int, scope: Scope) -> Row:
        """The same row from item `index` on, with the values of variables that are known."""
        frame = self._frame
        if frame.alternative is not None and frame.alternative.draws:
            scope = live(frame.alternative, frame.arity, index, scope)
        found = frame.places.get((index, scope))
        if found is None:
            found = frame.places[index, scope] = Row(frame, index, scope)
        return found

    def search(self, spec: TensorSpec) -> int | None:
        """See `size`."""
        frame, index, scope = self._frame, self._index, self._scope
        look(frame.table)
        if index == len(frame.items):
            return frame.rest.size(spec)
        if frame.needs is not None and frame.needs[index] > len(scope):
            assert frame.alternative is not None
            every = assignments(frame.alternative, frame.arity, scope, len(scope) + 1)
            return _first(self.at(index, extended).size(spec) for extended in every)
        item = frame.items[index]
        if item.repeat is None:
            return self.behind(1, spec)
        return _first(self.behind(count, spec) for count in counts(item, scope))

    @property
    def table(self) -> Table:
        """What the items can do."""
        return self._frame.table

    @property
    def following(self) -> Row:
        """The row behind the next item."""
        return self.at(self._index + 1, self._scope)

    def behind(self, count: int, spec: TensorSpec) -> int | None:
        """Size of a completion with `count` copies of the next item, given its variables."""
        frame = self._frame
        item, following = frame.items[self._index], self.following
        if count == 1:
            found = _first(
                ending(frame.table, item, values, self._scope, spec, following, frame.level)
                for values in arguments(item, self._scope)
            )
            return None if found is None else frame.times * found[0] + found[1]
        for out, size in frame.table.each_copies(item, self._scope, spec, frame.level, count):
            more = following.size(out)
            if more is not None:
                return frame.times * size + more
        return None


class Copies(_Remembering):
    """Behind one copy of an item: the copies after it, then the row behind them."""

    __slots__ = ("_left", "_row")

    def __init__(self, row: Row, left: int) -> None:
        super().__init__()
        self._row, self._left = row, left

    def search(self, spec: TensorSpec) -> int | None:
        """See `size`."""
        look(self._row.table)
        return self._row.behind(self._left, spec)


class Join(_Remembering):
    """Behind one sequence of a composite primitive: the sequences after it, then the primitive."""

    __slots__ = ("_done", "_inside", "_item", "_level", "_rest", "_scope", "_spec", "_table",
                 "_times", "_values")  # fmt: skip

    def __init__(
        self,
        table: Table,
        item: Item,
        values: Scope,
        scope: Scope,
        spec: TensorSpec,
        inside: TensorSpec,
        rest: Rest,
        level: int,
        times: int = 1,
        done: tuple[TensorSpec, ...] = (),
    ) -> None:
        """Behind sequence `len(done)`, counted from 0.

        Args:
            table: what the items can do.
            item: the primitive with its sequences.
            values: its scalar arguments.
            scope: values of the rule's variables.
            spec: what enters the primitive.
            inside: what enters each sequence.
            rest: what is left behind the primitive.
            level: how often recursive rules may be expanded inside each other in a sequence.
            times: how many copies of each sequence are built in all.
            done: what leaves the sequences before this one.
        """
        super().__init__()
        self._table, self._item, self._values, self._scope = table, item, values, scope
        self._spec, self._inside, self._rest, self._level = spec, inside, rest, level
        self._times, self._done = times, done

    def after(self, out: TensorSpec) -> Join:
        """Behind the next sequence, where `out` leaves this one."""
        return Join(
            self._table,
            self._item,
            self._values,
            self._scope,
            self._spec,
            self._inside,
            self._rest,
            self._level,
            self._times,
            (*self._done, out),
        )

    def search(self, spec: TensorSpec) -> int | None:
        """See `size`."""
        look(self._table)
        done = (*self._done, spec)
        groups = self._item.groups
        if len(done) == len(groups):
            joined = self._table.applied(self._item.symbol, self._values, self._spec, done)
            return None if joined is None else self._rest.size(joined)
        following, group = self.after(spec), groups[len(done)]
        if twins(groups[len(done) - 1], group):
            # What one sequence did, the next can do too, with as many nodes.
            more = following.size(spec)
            if more is not None:
                return more
        # What is left behind decides how far it pays to look for a partner.
        further = self._rest.always is not None
        level = self._level + further
        for out, size in self._table.each_row(group, self._scope, self._inside, level):
            more = following.size(out)
            if more is not None:
                return self._times * size + more
        return None


def look(table: Table) -> None:
    """Note that a place is looked at; raises `TooFarError` if that was the last one allowed."""
    table.looks -= 1
    if not table.looks:
        raise TooFarError


def twins(first: Sequence[Item], second: Sequence[Item]) -> bool:
    """Whether a tree of one sequence is always one of the other: the same rules, no arguments."""
    return len(first) == len(second) and all(
        a.symbol == b.symbol and not (a.scalars or a.groups or a.repeat or b.repeat)
        for a, b in zip(first, second, strict=True)
    )


def ending(
    table: Table,
    item: Item,
    values: Scope,
    scope: Scope,
    spec: TensorSpec,
    rest: Rest,
    level: int,
) -> tuple[int, int] | None:
    """Nodes of one copy of an item with these arguments, and of the rest behind it."""
    for out, size in table.each(item, values, scope, spec, level):
        more = rest.size(out)
        if more is not None:
            return size, more
    return None


def _first(found: Iterable[_F | None]) -> _F | None:
    return next((one for one in found if one is not None), None)
