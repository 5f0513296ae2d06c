"""Members of a family, traced: its numbers in closed form, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

import numpy as np

from nas.solver.closed import Closed, FamilyError, closed
from nas.solver.combinations import Attributes
from nas.solver.items import Items, Kind
from nas.solver.policy import Label, Policy
from nas.solver.programme import Array
from predictors.entropy import height_of
from searchspace.grammar import Item
from searchspace.scope import Scope
from searchspace.shapes import TensorSpec

_COPIES = 8
"""Members that are traced with one copy more."""
_CHECKS = 4
"""Members of those that are traced at which a form that was found elsewhere must hold."""


_Point = tuple[list[float], list[float]]
"""Widths that come in, leave and are within, and what a member adds up to."""


class Entered(NamedTuple):
    """A place at which an item may stand."""

    number: int
    """Of its source state."""
    spec: TensorSpec
    scope: Scope
    rank: int
    """Among all places of the item."""
    behind: int
    """Number of what is looked at of the scope behind the item."""


@dataclass(frozen=True, slots=True)
class Member:
    """One block of a family, the width within aside."""

    places: tuple[Entered, ...]
    """Where it may stand."""
    target: int
    out: int
    """Channels that leave."""
    answers: tuple[tuple[Label, int], ...]
    """The width that leaves, if a rule draws it."""
    inner: tuple[int, ...]
    """Widths that may be within; one of 1 where there is none."""

    def where(self, same: bool) -> Member | None:
        """The member where as many channels come in as leave, or where others do."""
        places = [p for p in self.places if (p.spec.channels == self.out) == same]
        return replace(self, places=tuple(places)) if places else None


@dataclass(slots=True)
class Seen:
    """What was seen of the members that were traced."""

    counted: bool = False
    """Whether some block counts to the depth of a stage."""
    most: int = 10**9
    """Further copies at most."""
    heights: set[int] = field(default_factory=set)
    """That leave; none where vectors do."""
    falls: set[bool] = field(default_factory=set)
    """Whether the height that leaves is another than the one that comes in."""


class Trace:
    """Traces some members of a family."""

    def __init__(self, items: Items, item: Item, kind: Kind, within: Label | None) -> None:
        """Trace members of an item's kind that may differ in a width within."""
        self._items, self._item, self._kind, self._within = items, item, kind, within
        self.seen = Seen()

    def form(self, members: Sequence[Member], count: int) -> Closed:
        """The members' numbers in closed form."""
        found = self._fitted("first", members, count, self._first)
        assert found is not None
        return found

    def more(self, members: Sequence[Member]) -> Closed | None:
        """One more copy's; None if some cannot be repeated."""
        return self._fitted("more", members, _COPIES, self._again)

    def _fitted(
        self,
        what: str,
        members: Sequence[Member],
        count: int,
        trace: Callable[[Member, Entered, int], _Point | None],
    ) -> Closed | None:
        """The form of some quantities: one known for such blocks if it holds, else a new one."""
        kind, spec = self._kind, members[0].places[0].spec
        of = (what, self._item.symbol, frozenset(kind.policy.items()), kind.first_count)
        known = self._items.forms.setdefault((*of, spec.mode, spec.shape[1:]), [])
        points, rows = [], []
        for number, chosen in enumerate(_some(members, count), start=1):
            traced = trace(*chosen)
            if traced is None:
                return None
            points.append(traced[0])
            rows.append(traced[1])
            if number == _CHECKS:
                for form in known:
                    if form.gives(np.array(points), np.array(rows)):
                        return form
        known.append(closed(np.array(points), np.array(rows)))
        return known[-1]

    def _again(self, member: Member, place: Entered, inner: int) -> _Point | None:
        policy, count = self._answers(member, inner), self._kind.first_count
        made = self._items.made(self._item, place.scope, place.spec, policy, count)
        if made is None or count is None or max(made[2].counts) == count:
            return None
        self.seen.most = min(self.seen.most, max(made[2].counts) - count)
        first = self._items.attributes(made[0], place.spec)
        again = self._items.again(self._item, place.scope, place.spec, policy, count, first)
        return None if again is None else ([1.0, float(member.out), float(inner)], _row(again))

    def _first(self, member: Member, place: Entered, inner: int) -> _Point:
        policy = self._answers(member, inner)
        made = self._items.made(self._item, place.scope, place.spec, policy, self._kind.first_count)
        if made is None or made[1].channels != member.out:
            raise FamilyError("some widths do not fit where others do")
        wanted = [*(value for _, value in member.answers), *([inner] if self._within else [])]
        if wanted and not set(wanted) <= set(made[0][0].values):
            raise FamilyError("some widths do not fit where others do")
        found = self._items.attributes(made[0], place.spec)
        if len(found.heights) > 1:
            raise FamilyError("a scale would end within")
        self.seen.heights |= found.heights
        self.seen.falls |= {height != height_of(place.spec) for height in found.heights}
        self.seen.counted = self.seen.counted or found.counted > 0
        return [float(place.spec.channels), float(member.out), float(inner)], _row(found)

    def _answers(self, member: Member, inner: int) -> Policy:
        return answered(self._kind.policy, self._within, member, inner)


def answered(policy: Policy, within: Label | None, member: Member, inner: int) -> Policy:
    """A family's policy with the widths of one member."""
    found = {**policy, **dict(member.answers)}
    if within is not None:
        found[within] = inner
    return found


def _some(members: Sequence[Member], count: int) -> list[tuple[Member, Entered, int]]:
    """Members with a place and a width within: all of them, or some by chance."""
    if sum(len(member.places) * len(member.inner) for member in members) <= count:
        return [(m, place, inner) for m in members for place in m.places for inner in m.inner]
    random, found = Random(0), dict[tuple[int, Entered, int], Member]()
    while len(found) < count:
        index = random.randrange(len(members))
        member = members[index]
        found[index, random.choice(member.places), random.choice(member.inner)] = member
    return [(member, place, inner) for (_, place, inner), member in found.items()]


def _row(found: Attributes) -> list[float]:
    return [found.entropy, found.log_width, found.convs, float(found.counted), *found.costs]


def difference(first: Closed, same: Closed, widths: Array, inner: Sequence[int]) -> Array:
    """`[R, B]`: what members have beyond the form where as many channels leave as come in.

    Raises:
        FamilyError: it depends on the width within.
    """
    found: list[Array] = []
    for width in (inner[0], inner[-1]):
        points = np.stack([widths, widths, np.full(len(widths), float(width))], axis=1)
        found.append((same.at(points) - first.at(points)).T)
    largest = np.maximum(1.0, np.abs(first.at(points)).max())
    if (np.abs(found[0] - found[1]) > 1e-7 * largest).any():
        raise FamilyError("equal widths in and out make another difference by the width within")
    return found[0]
