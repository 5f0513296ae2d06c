"""The combinations of an item at all widths, in arrays, from families in closed form."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from nas.solver.combinations import Place, ScaleError, State, Way, log_volume
from nas.solver.family import Families, Family
from nas.solver.members import Entered, Member, answered, difference
from nas.solver.programme import Again, Array, Layer, Sum

_ENTROPY, _LOG_WIDTH, _CONVS, _COUNTED, _COSTS = range(5)


class Tables:
    """What the members of families add up to."""

    def __init__(self, families: Families, sources: int) -> None:
        """Compute them.

        Args:
            families: of one item.
            sources: number of source states.
        """
        found = families.families
        self.starts = [0]
        """First mode of each family, and the number of modes."""
        for family in found:
            self.starts.append(self.starts[-1] + len(family.inner))
        self.shape = (sources, len(families.targets), self.starts[-1])
        self.kinds = tuple(kind for kind, family in enumerate(found) for _ in family.inner)
        """Family of each mode."""
        rows = len(found[0].first.at(np.ones((1, 3)))[0])
        self.source = np.zeros((rows, sources, self.shape[2]))
        self.target = np.zeros((rows, *self.shape[1:]))
        self.pair = np.zeros((rows, len(found), *self.shape[:2]))
        self.again = np.zeros((rows, *self.shape[1:]))
        self.allowed = np.full((len(found), *self.shape[:2]), -math.inf)
        """By family, source and target."""
        self.fits = np.full(self.shape[1:], -math.inf)
        """By target and mode."""
        for kind, family in enumerate(found):
            self._add(kind, family)
        # Numbers of blocks are whole: what rounding left of a 0 must not look like a block.
        for table in (self.source, self.target, self.pair):
            table[_COUNTED] = np.round(table[_COUNTED], 6)

    def total(self, row: int) -> Sum:
        """One quantity."""
        return Sum(
            source=self.source[row], target=self.target[row], pair=self.pair[row], kinds=self.kinds
        )

    def _add(self, kind: int, family: Family) -> None:
        modes = slice(self.starts[kind], self.starts[kind + 1])
        inner = np.array(family.inner, dtype=float)
        ins, outs = np.ones(self.shape[0]), np.ones(self.shape[1])
        fits: dict[int, Member] = {}
        for member in family.members:
            numbers = [place.number for place in member.places]
            ins[numbers] = [place.spec.channels for place in member.places]
            self.allowed[kind, numbers, member.target] = 0.0
            fits[member.target] = member
        for target, member in fits.items():
            outs[target] = member.out
            held = set(member.inner)
            places = [modes.start + i for i, width in enumerate(family.inner) if width in held]
            self.fits[target, places] = 0.0
        form = family.first
        self.source[:, :, modes] = form.source(ins, inner)
        self.target[:, :, modes] = form.target(outs, inner)
        self.pair[:, kind] = form.pair(ins, outs)
        if family.equal is not None:
            by_width = difference(form, family.equal, outs, family.inner)
            self.pair[:, kind] += np.where(ins[:, None] == outs, by_width[:, None], 0.0)
        if family.more is not None:
            once = family.more.source(np.ones(1), inner)
            self.again[:, :, modes] = once + family.more.target(outs, inner)


class Grid:
    """The combinations of one item; stands for `nas.solver.combinations.Combinations`."""

    def __init__(
        self,
        name: str,
        families: Families,
        tables: Tables,
        entered: Sequence[Entered],
        targets: dict[State, int],
    ) -> None:
        """Of families that were found for alike places.

        Args:
            name: of the item.
            families: of the item.
            tables: what they add up to.
            entered: where the item may stand.
            targets: states behind it.
        """
        self.name, self.targets = name, targets
        self._families, self._tables = families, tables
        self.left_out = families.left_out
        """Kinds that are not among them, and why."""
        self.ways = _Ways(families.families, tables.starts, entered)

    @property
    def counts(self) -> bool:
        """Whether some block counts to the depth of a stage."""
        return any(
            family.more is not None or family.seen.counted for family in self._families.families
        )

    def heights(self) -> set[int]:
        """Heights that leave."""
        return {height for family in self._families.families for height in family.seen.heights}

    def falls(self) -> bool:
        """Whether this layer's height is another than what leaves the one before it.

        Raises:
            ScaleError: for some families it is, for others not.
        """
        found = {falls for family in self._families.families for falls in family.seen.falls}
        if len(found) > 1:
            raise ScaleError(
                f"the resolution falls in some forms of '{self.name}' and not in others"
            )
        return found == {True}

    def layer(self, resources: int, *, weight: float | None, counted: bool) -> Layer:
        """The layer in arrays."""
        tables = self._tables
        again, copies = None, 0
        if any(family.more is not None for family in self._families.families):
            copies = min(family.seen.most for family in self._families.families)
            again = Again(
                entropy=tables.again[_ENTROPY],
                log_width=tables.again[_LOG_WIDTH],
                convs=tables.again[_CONVS],
                costs=tables.again[_COSTS:],
            )
        volume: Array | None = None
        if weight is not None:
            volume = np.array([weight * log_volume(spec) for spec, _ in self.targets])
        return Layer(
            name=self.name,
            shape=tables.shape,
            entropy=tables.total(_ENTROPY),
            log_width=tables.total(_LOG_WIDTH),
            convs=tables.total(_CONVS),
            blocks=tables.total(_COUNTED) if counted else Sum(),
            costs=tuple(tables.total(_COSTS + r) for r in range(resources)),
            allowed=Sum(target=tables.fits, pair=tables.allowed, kinds=tables.kinds),
            again=again,
            copies=(0, copies),
            counted=counted,
            volume=volume,
        )


class _Ways:
    """How the combinations of a grid are derived."""

    def __init__(
        self, families: Sequence[Family], starts: Sequence[int], entered: Sequence[Entered]
    ) -> None:
        self._families, self._starts, self._entered = families, starts, entered

    @cached_property
    def _members(self) -> list[dict[tuple[int, int], tuple[Member, int]]]:
        return [
            {(at.number, m.target): (m, at.rank) for m in family.members for at in m.places}
            for family in self._families
        ]

    def __getitem__(self, combination: Place) -> Way:
        """The way of one source, target and mode."""
        source, target, mode = combination
        kind = bisect_right(self._starts, mode) - 1
        family, (member, index) = self._families[kind], self._members[kind][source, target]
        inner = family.inner[mode - self._starts[kind]]
        policy = answered(family.kind.policy, family.label, member, inner)
        place = self._entered[index]
        return Way(place.spec, place.scope, policy, family.kind.first_count)

    def places(self, source: int) -> Iterator[Place]:
        """Combinations that begin in a state."""
        for members in self._members:
            for a, target in members:
                if a == source:
                    yield from ((a, target, mode) for mode in self.modes(a, target))

    def modes(self, source: int, target: int) -> list[int]:
        """Modes between two states: of each family the narrowest and the widest."""
        found = []
        for start, family, members in zip(
            self._starts, self._families, self._members, strict=False
        ):
            if (source, target) in members:
                member, _ = members[source, target]
                ends = {member.inner[0], member.inner[-1]}
                found += [start + family.inner.index(width) for width in sorted(ends)]
        return found
