"""Draws that are uniform over the trees of a size.

Each draw goes backwards through the sums that `searchspace.count` took forwards, and takes every
way with the number of trees that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from random import Random
from typing import NamedTuple, TypeVar

from searchspace.architecture import Architecture
from searchspace.count import Counter, Counts, State, product_of
from searchspace.grammar import Alternative, Grammar, Item, LimitError
from searchspace.scope import Scope, arguments, counts
from searchspace.shapes import TensorSpec
from searchspace.tree import PRIMITIVE, Node

_W = TypeVar("_W")


class _Piece(NamedTuple):
    """What an item has to become."""

    spec: TensorSpec
    out: TensorSpec
    size: int
    left: int
    """Nodes that were left when its trees were counted, which names the count."""


class Uniform:
    """Draws from one space; counting is done once."""

    def __init__(self, grammar: Grammar, max_nodes: int | None = None) -> None:
        """Count.

        Args:
            grammar: the space; its own limits hold too.
            max_nodes: nodes of a tree at most; None: any number, if the space is finite.

        Raises:
            LimitError: as `searchspace.count.count`.
        """
        self._counter = Counter(grammar, max_nodes)
        self._whole = self._counter.whole()

    def sample(self, random: Random, nodes: int | None = None) -> Architecture:
        """One tree, all of them equally likely.

        Args:
            random: decides the draw.
            nodes: the number of nodes that the tree has; None: any up to the most.

        Raises:
            LimitError: the space has no such tree.
        """
        counter = self._counter
        grammar = counter.grammar
        ways = [
            ((out, size), number)
            for out, sizes in self._whole.items()
            for size, number in sizes.items()
            if nodes is None or size == nodes
        ]
        if not ways:
            asked = "" if nodes is None else f" of {nodes} nodes"
            raise LimitError(f"{grammar.name} has no tree{asked} among those counted")
        out, size = _pick(ways, random)
        piece = _Piece(grammar.input, out, size, counter.most)
        root = _Draw(counter, random).rule(grammar.start, (), piece)
        return Architecture(space=grammar.name, root=root)


class _Draw:
    """One draw."""

    def __init__(self, counter: Counter, random: Random) -> None:
        self._counter, self._random = counter, random

    def rule(self, symbol: str, given: Scope, piece: _Piece) -> Node:
        counter, random = self._counter, self._random
        left = counter.budget(symbol, piece.left) - counter.unit
        inner = piece._replace(size=piece.size - counter.unit, left=left)
        rule = counter.grammar.rules[symbol]
        ways = []
        bearing = counter.bearing.given(symbol, given)
        for index in counter.table.fitting(symbol, bearing):
            found = counter.alternative(rule.alternatives[index], bearing, inner.spec, left)
            ways.append((index, found.get(inner.out, {}).get(inner.size, 0)))
        index = _pick(ways, random)
        scope, pieces = self._pieces(rule.alternatives[index], bearing, inner)
        scope = (*given, *scope[len(given) :])
        items = zip(rule.alternatives[index].items, pieces, strict=True)
        children = tuple([self._item(item, scope, part) for item, part in items])
        schemes = counter.grammar.schemes
        scheme = schemes[random.randrange(len(schemes))] if rule.is_block else ""
        return Node(symbol, index, scope, children, scheme)

    def _pieces(
        self, alternative: Alternative, given: Scope, piece: _Piece
    ) -> tuple[Scope, list[_Piece]]:
        """Values of all variables, and what each item of an alternative has to become."""
        counter, arity = self._counter, len(given)
        steps = counter.steps(alternative, given, piece.spec, piece.left)
        scope = list(given) + [0] * len(alternative.draws)
        state: State = (piece.out, ())
        size = piece.size
        pieces: list[_Piece] = []
        for index in range(len(alternative.items), -1, -1):
            ways = []
            tail = counter.tail(alternative.items, index)
            for before, sizes in steps[index].items():
                left = piece.left - min(sizes) - tail
                for extended, after, outs in counter.moves(alternative, arity, index, before, left):
                    if after == state[1]:
                        for more, number in outs.get(state[0], {}).items():
                            if (already := sizes.get(size - more)) is not None:
                                ways.append(((before, extended, more, left), already * number))
            before, extended, more, left = _pick(ways, self._random)
            # Values that are no longer looked at are masked, but not those that come in here.
            scope[len(before[1]) : len(extended)] = extended[len(before[1]) :]
            if index < len(alternative.items):
                pieces.append(_Piece(before[0], state[0], more, left))
            state, size = before, size - more
        for index in sorted(counter.bearing.idle(alternative)):
            scope[index] = self._random.choice(alternative.draws[index - arity][1].values)
        return tuple(scope), pieces[::-1]

    def _item(self, item: Item, scope: Scope, piece: _Piece) -> tuple[Node, ...]:
        """All copies of an item."""
        counter = self._counter
        if item.repeat is None:
            return (self._one(item, scope, piece),)
        number = _pick(
            [
                (n, found.get(piece.out, {}).get(piece.size, 0))
                for n in counts(item, scope)
                for found in [counter.copies(item, scope, piece.spec, piece.left, n)]
            ],
            self._random,
        )
        if item.repeat.same and number > 1:
            left = piece.left // number if counter.unit else piece.left
            alone = piece._replace(size=piece.size // number, left=left)
            return (self._one(item, scope, alone),) * number
        steps = counter.copy_steps(item, scope, piece.spec, piece.left, number)
        pieces = self._back(
            steps, piece, lambda _, here, left: counter.one(item, scope, here, left)
        )
        return tuple([self._one(item, scope, part) for part in pieces])

    def _back(
        self,
        steps: Sequence[Counts],
        piece: _Piece,
        entry: Callable[[int, TensorSpec, int], Counts],
        items: Sequence[Item] = (),
    ) -> list[_Piece]:
        """What each of several things in a row has to become."""
        out, size = piece.out, piece.size
        pieces: list[_Piece] = []
        for index in range(len(steps) - 2, -1, -1):
            ways = []
            for here, sizes in steps[index].items():
                left = piece.left - min(sizes) - self._counter.tail(items, index)
                for more, number in entry(index, here, left).get(out, {}).items():
                    if (already := sizes.get(size - more)) is not None:
                        ways.append((_Piece(here, out, more, left), already * number))
            chosen = _pick(ways, self._random)
            pieces.append(chosen)
            out, size = chosen.spec, size - chosen.size
        return pieces[::-1]

    def _entry(
        self, items: Sequence[Item], scope: Scope, index: int, spec: TensorSpec, left: int
    ) -> Counts:
        return self._counter.item(items[index], scope, spec, left)

    def _one(self, item: Item, scope: Scope, piece: _Piece) -> Node:
        counter = self._counter
        if item.scalars or item.is_primitive:
            piece = piece._replace(left=counter.left(item, piece.left))
        ways = []
        for values in arguments(item, scope):
            found = counter.given(item, values, scope, piece.spec, piece.left)
            ways.append((values, found.get(piece.out, {}).get(piece.size, 0)))
        values = _pick(ways, self._random)
        if not item.is_primitive:
            return self.rule(item.symbol, values, piece)
        children = self._sequences(item, values, scope, piece) if item.groups else ()
        return Node(item.symbol, PRIMITIVE, values, children)

    def _sequences(
        self, item: Item, values: Scope, scope: Scope, piece: _Piece
    ) -> tuple[tuple[Node, ...], ...]:
        counter, table = self._counter, self._counter.table
        joins = [
            (inner, sizes.get(piece.size, 0))
            for inner, out, sizes in counter.joins(item, values, scope, piece.spec, piece.left)
            if out == piece.out
        ]
        inner = _pick(joins, self._random)
        within = table.inside(item.symbol, values, piece.spec)
        assert within is not None
        times = table.times(item.symbol, values)
        left = (piece.left - counter.unit) // times
        size = (piece.size - counter.unit) // times
        rooms = counter.rooms(item, left)
        rows = [
            counter.row_steps(group, scope, within, room)
            for group, room in zip(item.groups, rooms, strict=True)
        ]
        # The sizes of the sequences, from the last to the first: prefix[i] counts those before i.
        prefix = [{0: 1}]
        for steps, out in zip(rows, inner, strict=True):
            prefix.append(product_of(prefix[-1], steps[-1][out], left))
        groups: list[tuple[Node, ...]] = []
        for index in range(len(rows) - 1, -1, -1):
            ways = [
                (mine, number * prefix[index].get(size - mine, 0))
                for mine, number in rows[index][-1][inner[index]].items()
            ]
            mine = _pick(ways, self._random)
            items = item.groups[index]
            part = _Piece(within, inner[index], mine, rooms[index])
            pieces = self._back(rows[index], part, partial(self._entry, items, scope), items)
            nodes = [self._item(i, scope, p) for i, p in zip(items, pieces, strict=True)]
            groups.append(tuple([node for group in nodes for node in group]))
            size -= mine
        return tuple(groups[::-1])


def _pick(ways: Sequence[tuple[_W, int]], random: Random) -> _W:
    """One of the ways, each as likely as its number says, exactly."""
    totals = list(accumulate(number for _, number in ways))
    ticket = random.randrange(totals[-1])
    return next(way for (way, _), total in zip(ways, totals, strict=True) if ticket < total)
