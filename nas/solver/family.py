"""Families: blocks of one item that nothing but widths tells apart.

A family is a policy without its answers for widths: one width that a rule draws may leave it, one
may be within. Some of its members are traced; all others follow in closed form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np

from nas.solver.closed import Closed, FamilyError
from nas.solver.combinations import spread
from nas.solver.items import Items, Kind
from nas.solver.members import Entered, Member, Seen, Trace, difference
from nas.solver.policy import Label, Policy
from searchspace import draws
from searchspace.grammar import Alternative, Item
from searchspace.scope import Scope, arguments, assignments
from searchspace.shapes import TensorSpec
from searchspace.tree import Value

WIDE = 9
"""Values from which on an integer is a width."""
_MEMBERS, _EQUAL = 14, 8
"""Members that are traced: of a family, and with equal widths in and out."""
_LIKE = np.full((1, 3), 64.0)
"""Widths at which families are compared."""
_PLACES = 10
"""Places at which it is looked at what channels leave."""


@dataclass(frozen=True, eq=False)
class Family:
    """A family, and its numbers in closed form."""

    kind: Kind
    label: Label | None
    """Of the width within."""
    members: tuple[Member, ...]
    inner: tuple[int, ...]
    """Widths within that some member has."""
    first: Closed
    equal: Closed | None
    """Where as many channels leave as come in, if that differs."""
    more: Closed | None
    """One more copy."""
    seen: Seen
    """What all members that were traced have in common."""


class Families:
    """The families of one item."""

    def __init__(
        self,
        items: Items,
        item: Item,
        entered: Sequence[Entered],
        values: int,
    ) -> None:
        """Find them.

        Args:
            items: derives and traces.
            item: whose families these are.
            entered: where it may stand; the shapes differ in their channels alone.
            values: widths of each kind that are held at most.
        """
        self.targets: dict[tuple[TensorSpec, int], int] = {}
        """What leaves, with the number of what is looked at behind the item."""
        self.families: list[Family] = []
        self.left_out: list[str] = []
        """Why others are none."""
        self._items, self._item, self._values = items, item, values
        seen: set[object] = set()
        for kind in items.kinds(item, [(e.spec, e.scope) for e in entered]):
            widths = self._widths(kind, entered[len(entered) // 2])
            rest = {label: a for label, a in kind.policy.items() if label not in widths}
            kind = kind._replace(policy=rest)
            like = self._derived(kind, entered)
            if like in seen:
                continue
            seen.add(like)
            try:
                self.families.append(self._family(kind, widths, entered))
            except FamilyError as fault:
                self.left_out.append(f"{_named(rest)}: {fault}")
        if any(family.more is not None for family in self.families):
            # What cannot be repeated has no further copies for free: it is no kind of this layer.
            for family in [family for family in self.families if family.more is None]:
                self.families.remove(family)
                self.left_out.append(f"{_named(family.kind.policy)}: it cannot be repeated")
        # Alike ones side by side, so that a range of them can be left out.
        self.families.sort(key=lambda family: float(family.first.at(_LIKE)[0, 0]))

    def _derived(self, kind: Kind, entered: Sequence[Entered]) -> object:
        """What a kind comes to in some places: policies may say the same in other words."""
        some = (entered[0], entered[len(entered) // 2], entered[-1])
        made = [
            self._items.made(self._item, at.scope, at.spec, kind.policy, kind.first_count)
            for at in some
        ]
        return tuple(None if found is None else found[0] for found in made), kind.first_count

    def _widths(self, kind: Kind, place: Entered) -> list[Label]:
        """Widths that the item's own rule draws under a policy, in the order it draws them."""
        made = self._items.made(self._item, place.scope, place.spec, kind.policy, kind.first_count)
        if made is None or not made[0]:
            return []
        node = made[0][0]
        found = []
        for index, (name, domain) in enumerate(self._drawn(node.alternative)):
            label = ("variable", self._item.symbol, node.alternative, name)
            whole = all(isinstance(value, int) for value in domain)
            if whole and len(domain) >= WIDE and label in made[2].asked:
                found.append((index, label))
        return [label for _, label in found]

    def _drawn(self, alternative: int) -> list[tuple[str, tuple[Value, ...]]]:
        rule = self._items.grammar.rules.get(self._item.symbol)
        draws = rule.alternatives[alternative].draws if rule is not None else ()
        return [(name, domain.values) for name, domain in draws]

    def _family(self, kind: Kind, widths: Sequence[Label], entered: Sequence[Entered]) -> Family:
        leaving, within = self._roles(kind, widths, entered[len(entered) // 2])
        members = self._members(kind, leaving, within, entered)
        trace = Trace(self._items, self._item, kind, within)
        apart = [part for m in members if (part := m.where(same=False))]
        equal = [part for m in members if (part := m.where(same=True))]
        inner = tuple(sorted({width for member in members for width in member.inner}))
        same = None
        if apart and equal:
            first, same = trace.form(apart, _MEMBERS), trace.form(equal, _EQUAL)
            difference(first, same, np.array([float(m.out) for m in equal]), inner)
        else:
            first = trace.form(members, _MEMBERS)
        more = trace.more(members) if kind.repeats else None
        return Family(kind, within, tuple(members), inner, first, same, more, trace.seen)

    def _roles(
        self, kind: Kind, widths: Sequence[Label], place: Entered
    ) -> tuple[Label | None, Label | None]:
        """Which of the widths leaves, and which is within."""
        leaving = within = None
        for label in widths:
            outs = set()
            for answer in (0.0, 1.0):
                policy = {**kind.policy, label: answer}
                made = self._items.made(
                    self._item, place.scope, place.spec, policy, kind.first_count
                )
                outs.add(None if made is None else made[1].channels)
            if len(outs) > 1 and leaving is None:
                leaving = label
            elif within is None:
                within = label
            else:
                raise FamilyError("their rule draws more than one width within")
        return leaving, within

    def _members(
        self,
        kind: Kind,
        leaving: Label | None,
        within: Label | None,
        entered: Sequence[Entered],
    ) -> list[Member]:
        found = []
        channels = _Channels(self._items, self._item, kind, leaving, entered)
        inside: dict[tuple[Scope, int | None], tuple[int, ...]] = {}
        outs: dict[Scope, tuple[int | None, ...]] = {}
        for places in _together(entered, leaving):
            place = places[0]
            given = self._looked_at(leaving, place)
            if given not in outs:
                outs[given] = self._drawn_values(leaving, place, None)
            looked_at = self._looked_at(within, place)
            for width in outs[given]:
                answers = () if leaving is None or width is None else ((leaving, width),)
                if (looked_at, width) not in inside:
                    held = self._drawn_values(within, place, answers[0] if answers else None)
                    inside[looked_at, width] = tuple(1 if v is None else v for v in held)
                inner = inside[looked_at, width]
                if inner:
                    out = channels.out(place, width)
                    target = self.targets.setdefault((out, place.behind), len(self.targets))
                    found.append(Member(places, target, out.channels, answers, inner))
        if not found:
            raise FamilyError("they fit no shape that comes in")
        by_target: dict[int, tuple[int, ...]] = {}
        for member in found:
            if by_target.setdefault(member.target, member.inner) != member.inner:
                raise FamilyError("the widths within depend on what comes in")
        return found

    def _looked_at(self, label: Label | None, place: Entered) -> Scope:
        """The item's arguments, those that the constraints on a width look at."""
        if label is None:
            return ()
        given = next(arguments(self._item, place.scope))
        _, symbol, index, _ = label
        alternative = self._items.grammar.rules[str(symbol)].alternatives[int(str(index))]
        wanted = draws.looked_at(alternative, len(given), len(given))
        return tuple([value for i, value in enumerate(given) if i in wanted])

    def _drawn_values(
        self, label: Label | None, place: Entered, before: tuple[Label, int] | None
    ) -> tuple[int | None, ...]:
        """Values that a rule's constraints leave a width, spread where there are many."""
        if label is None:
            return (None,)
        _, symbol, index, name = label
        rule = self._items.grammar.rules[str(symbol)]
        alternative, arity = rule.alternatives[int(str(index))], len(rule.parameters)
        wanted = draws.looked_at(alternative, arity, arity)
        given = next(arguments(self._item, place.scope))
        masked = tuple([value if i in wanted else 0 for i, value in enumerate(given)])
        fixed = None if before is None else (str(before[0][3]), before[1])
        return _held(alternative, masked, str(name), fixed, self._values)


@lru_cache(maxsize=100_000)
def _held(
    alternative: Alternative,
    given: Scope,
    name: str,
    before: tuple[str, int] | None,
    values: int,
) -> tuple[int, ...]:
    """Values of a drawn variable that constraints leave, after another was given its value."""
    names = [drawn for drawn, _ in alternative.draws]
    position, arity = names.index(name), len(given)
    held = set(spread(alternative.draws[position][1].values, values))
    scopes = [given]
    if before is not None:
        known = names.index(before[0])
        if known > position:
            raise FamilyError("the width within is drawn before the one that leaves")
        scopes = [(*s, before[1]) for s in _extended(alternative, arity, scopes, known)]
    found = {s[arity + position] for s in _extended(alternative, arity, scopes, position + 1)}
    return tuple(sorted(value for value in found & held if isinstance(value, int)))


class _Channels:
    """Channels that leave a family's members, as what they are a multiple of.

    They are looked at in some places; that they are so in all is for `Trace` to see.
    """

    def __init__(
        self,
        items: Items,
        item: Item,
        kind: Kind,
        leaving: Label | None,
        entered: Sequence[Entered],
    ) -> None:
        self._leaving = leaving
        outs = []
        for place in dict.fromkeys([entered[0], *_any(entered), entered[-1]]):
            made = items.made(item, place.scope, place.spec, kind.policy, kind.first_count)
            if made is None:
                raise FamilyError("some do not fit where others do")
            outs.append((place, made[1]))
        self._like = outs[0][1]
        if leaving is not None:
            return
        counts = [out.channels for _, out in outs]
        given = [_given(place) for place, _ in outs]
        for index in range(len(given[0])):
            column = [row[index] for row in given]
            if all(
                x and y * column[0] == x * counts[0] for x, y in zip(column, counts, strict=True)
            ):
                self._index, self._ratio = index, (counts[0], column[0])
                return
        raise FamilyError("the channels that leave are no multiple of any width")

    def out(self, place: Entered, width: int | None) -> TensorSpec:
        """What leaves a member."""
        if self._leaving is None:
            over, under = self._ratio
            width = _given(place)[self._index] * over // under
        assert width is not None
        return self._like.with_channels(width)


def _any(entered: Sequence[Entered]) -> Sequence[Entered]:
    """Some places by chance: no two widths are equal in all of them unless they always are."""
    return Random(0).sample(entered, min(len(entered), _PLACES))


def _together(entered: Sequence[Entered], leaving: Label | None) -> Iterable[tuple[Entered, ...]]:
    """Places where members leave alike: those of one scope where a rule draws what leaves."""
    if leaving is None:
        return [(place,) for place in entered]
    found: dict[Scope, list[Entered]] = {}
    for place in entered:
        found.setdefault(place.scope, []).append(place)
    return map(tuple, found.values())


def _given(place: Entered) -> list[int]:
    """What the channels that leave may follow: variables, the channels that come in, nothing."""
    numbers = [value for value in reversed(place.scope) if isinstance(value, int)]
    return [place.spec.channels, *numbers, 1]


def _extended(
    alternative: Alternative, arity: int, scopes: Sequence[Scope], known: int
) -> list[Scope]:
    """Extensions of scopes to so many drawn variables that leave the constraints to be kept."""
    wanted = arity + known
    return [longer for scope in scopes for longer in assignments(alternative, arity, scope, wanted)]


def _named(policy: Policy) -> str:
    """A kind in words."""
    found = []
    for (what, *place), answer in policy.items():
        value = f"{answer:.0%} of its range" if isinstance(answer, float) else answer
        if what == "alternative":
            found.append(f"alternative {int(answer) + 1} of '{place[-1]}'")
        elif what == "argument":
            found.append(f"argument {int(str(place[-1])) + 1} of '{place[0]}' {value}")
        else:
            found.append(f"{place[-1]} {value}")
    return ", ".join(found) or "the only kind"
