"""What is decided in a derivation: alternatives, variables, counts, arguments, schemes.

A choice is offered only if all that is left can be completed after it. In which order options are
offered is for a chooser to say; those of a guide come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from searchspace import draws
from searchspace.choose import Chooser, Place, Question, ordered
from searchspace.grammar import Alternative, Drawn, Item
from searchspace.guide import Change
from searchspace.rest import Rest, Row, ending
from searchspace.room import DrawError, Room
from searchspace.scope import Scope, options
from searchspace.shapes import TensorSpec
from searchspace.table import Table
from searchspace.tree import Node


@dataclass(frozen=True, slots=True)
class At:
    """A place in the derivation."""

    spec: TensorSpec
    rest: Rest
    level: int | None
    """How deep recursive rules may still nest; None: as deep as there is room."""
    height: int
    place: Place

    def depth(self, table: Table) -> int:
        """How deep they may nest in what is looked at ahead."""
        return table.level if self.level is None else self.level


class Decisions:
    """Decides, within the room that is left."""

    def __init__(self, table: Table, chooser: Chooser, room: Room) -> None:
        self._table, self._grammar = table, table.grammar
        self._chooser, self._room = chooser, room

    def alternative(
        self, symbol: str, given: Scope, at: At, guide: Node | None
    ) -> tuple[int, Row, int | None]:
        """The alternative that is taken, its row, and the level that its items are held to.

        Raises:
            DrawError: none is allowed that ends.
        """
        table, alternatives = self._table, self._grammar.rules[symbol].alternatives
        fits = table.fitting(symbol, given)
        highest, times = table.level, self._room.times

        def row(index: int, level: int) -> Row:
            alternative = alternatives[index]
            return Row.whole(table, alternative.items, given, at.rest, level, times, alternative)

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
                    return times * found + behind
            return None

        if at.level is None and at.height > 0:
            if len(fits) == 1:
                return fits[0], row(fits[0], highest), None
            weights = [alternatives[i].weight for i in fits]
            kept = guide.alternative if guide is not None else None
            question = Question("alternative", (at.place, symbol))
            for index in ordered(self._chooser, question, fits, weights, kept):
                left = self._room.asked(size, index, limited=guide is None)
                if left is not None and self._room.holds(left):
                    return index, row(index, highest), None
        for level in range((highest + 1 if at.level is None else at.level) + 1):
            inner = level - (symbol in table.recursion.recursive)
            rows = [(row(index, inner), index) for index in fits if inner >= 0]
            sizes = [(found.size(at.spec), index, found) for found, index in rows]
            complete = [(s, index, found) for s, index, found in sizes if s is not None]
            if complete:
                _, index, found = min(complete, key=lambda entry: entry[:2])
                return index, found, inner
        raise DrawError(
            f"no alternative of '{symbol}' is allowed for {given} and ends from {at.spec}"
        )

    def variable(
        self,
        alternative: Alternative,
        scope: Scope,
        arity: int,
        at: At,
        guide: Node | None,
        change: Change | None,
        size: Callable[[Scope], int | None],
    ) -> Scope:
        """The scope with one variable more.

        Args:
            alternative: whose variable it is.
            scope: values of the parameters and of the variables before it.
            arity: number of parameters.
            at: the place.
            guide: its value comes first.
            change: what shall differ.
            size: nodes of what is left in a scope.
        """
        index = len(scope) - arity
        name, domain = alternative.draws[index]
        offered = draws.options(alternative, arity, index, scope)
        values = [value for value, _ in offered]
        weights: list[float] | None = [float(count) for _, count in offered]
        question = Question("variable", (at.place, name), domain)
        current = guide.values[len(scope)] if guide is not None else None
        changes = change is not None and change.is_about("variable", index)
        if changes and guide is not None:
            others = draws.others(alternative, guide.values, arity, index)
            values = [guide.values[len(scope)], *(v for v in values if v in others)]
            weights = None
        order = ordered(self._chooser, question, values, weights, current, changes)
        chosen = self._room.first(
            order,
            lambda value: size((*scope, value)),
            single=len(values) == 1,
            limited=guide is None,
        )
        return (*scope, chosen)

    def count(
        self, item: Item, row: Row, scope: Scope, at: At, guides: Sequence[Node | None] | None
    ) -> tuple[int, list[Node | None]]:
        """How many copies, and a guide for each."""
        assert item.repeat is not None
        scalar = item.repeat.count
        values = options(scalar, scope)
        question = Question("count", at.place, scalar.domain if isinstance(scalar, Drawn) else None)
        current = None if guides is None else len(guides)
        chosen = self._room.first(
            ordered(self._chooser, question, values, None, current),
            lambda number: row.behind(int(number), at.spec),
            single=len(values) == 1,
            limited=guides is None,
        )
        count, old = int(chosen), list(guides or ())
        return count, [*old[:count], *[None] * (count - len(old))]

    def arguments(
        self, item: Item, scope: Scope, at: At, guide: Node | None, changed: int
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
            domain = scalar.domain if isinstance(scalar, Drawn) else None
            question = Question("argument", (place, index), domain)
            kept = old[index] if old is not None else None
            for value in ordered(self._chooser, question, values, None, kept, index == changed):
                yield from each((*chosen, value))

        def size(values: Scope) -> int | None:
            depth = at.depth(self._table)
            found = ending(self._table, item, values, scope, at.spec, at.rest, depth)
            return None if found is None else self._room.times * found[0] + found[1]

        single = not any(isinstance(scalar, Drawn) for scalar in item.scalars)
        return self._room.first(each(()), size, single=single, limited=guide is None)

    def scheme(self, place: Place, guide: Node | None, change: Change | None) -> str:
        """A block's precision scheme."""
        old = guide.scheme if guide is not None else None
        changes = change is not None and change.kind == "scheme"
        question = Question("scheme", place)
        return next(ordered(self._chooser, question, self._grammar.schemes, None, old, changes))
