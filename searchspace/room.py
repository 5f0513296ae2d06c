"""What a derivation may spend: nodes of its tree, and places that it looks at ahead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from searchspace.rest import TooFarError
from searchspace.table import Table

MOST = 50_000
"""Nodes of a tree at most, where the grammar sets no limit."""

LOOKS = 200
"""Places that a derivation with recursive rules looks at freely, some milliseconds; from then on
each question ends at a few."""
FEW = 10

_V = TypeVar("_V")


class DrawError(ValueError):
    """A space that has no tree as asked for."""


class Room:
    """Counts the nodes that are built, and the places that are looked at."""

    def __init__(self, table: Table) -> None:
        self.times = 1
        """Copies that are built of what is derived now."""
        self._table = table
        self._most = table.grammar.limits.nodes or MOST
        # Sizes of what is left are those of the first completion found: a fifth is kept back.
        self._soft = self._most * 4 // 5
        self._used, self._limit, self._looks = 0, math.inf, LOOKS

    def close(self) -> None:
        """Let no tree have more nodes than are allowed, from here on."""
        self._limit = self._most

    def take(self, nodes: int = 1) -> None:
        """So many nodes more, in each of the copies.

        Raises:
            DrawError: these are more than are allowed.
        """
        self._used += self.times * nodes
        if self._used > self._limit:
            raise DrawError(
                f"the smallest trees of {self._table.grammar.name} have more than {self._most} "
                "nodes: lower the counts, or raise the limit on nodes"
            )

    def holds(self, more: int) -> bool:
        """Whether so many nodes more are sure to end in time."""
        return self._used + more <= self._soft

    @contextmanager
    def copies(self, times: int) -> Iterator[None]:
        """So many copies are built of what is derived in here."""
        outer, self.times = self.times, times
        yield
        self.times = outer

    @contextmanager
    def shared(self, parts: int) -> Iterator[None]:
        """Room is kept in here for so many sequences as large as this one, that follow it."""
        used, limit = self._used, self._limit
        self._limit = used + parts * (limit - used)
        with self.copies(self.times * parts):
            yield
        self._used, self._limit = used + (self._used - used) // parts, limit

    def first(
        self,
        order: Iterator[_V],
        size: Callable[[_V], int | None],
        *,
        single: bool,
        limited: bool,
    ) -> _V:
        """The first option that leaves room for the rest; if none does, the smallest that ends.

        Args:
            order: the options.
            size: nodes of what is left after an option; None: it cannot be completed.
            single: there is one option, which is taken.
            limited: whether a look ahead may be cut short; what a guide says is looked into
                without end.

        Raises:
            DrawError: none can be completed.
        """
        if single:
            return next(order)
        smallest: tuple[int, _V] | None = None
        offered = []
        for option in order:
            offered.append(option)
            found = self.asked(size, option, limited=limited)
            if found is None:
                continue
            if self.holds(found):
                return option
            if smallest is None or found < smallest[0]:
                smallest = (found, option)
        if smallest is None:
            for option in offered:
                if size(option) is not None:
                    return option
            raise DrawError(f"no tree of {self._table.grammar.name} can be completed")
        return smallest[1]

    def asked(self, size: Callable[[_V], int | None], option: _V, *, limited: bool) -> int | None:
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
