"""Exact numbers of all trees of a finite space, for many values of variables at once.

`searchspace.count` follows every value of every variable; where stages choose among hundreds of
widths, these are too many. Here a variable stands for a set of values until something looks at it:
a constraint, a number of copies, or a shape rule. What was told apart and turns out alike is put
together again. So the sums are those of variable elimination, lifted to sets of values (Poole,
First-order probabilistic inference, IJCAI 2003), over the specs between items.

A shape rule that does not look at the channels that enter it, such as that of a convolution, is
asked once for all of them (`searchspace.blind`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

from searchspace.bearing import Bearing
from searchspace.blind import ALL, CHANNELS, SeenError, blinded, is_blind
from searchspace.boxes import (
    Box,
    State,
    combinations,
    completed,
    into,
    merged,
    only,
    settled,
    summed,
    values_of,
)
from searchspace.grammar import (
    Alternative,
    Drawn,
    Grammar,
    Item,
    LimitError,
    Literal,
    Variable,
)
from searchspace.inlined import Inlined
from searchspace.scope import variables_of
from searchspace.shapes import TensorSpec
from searchspace.table import table_of
from searchspace.tree import Value

Numbers = Mapping[tuple[TensorSpec, Box], int]
"""By the spec that leaves: the number of trees for *each* assignment in the box. Boxes may overlap;
the number of an assignment is the sum over all that hold it."""

MOST = 5_000_000
"""Rows that are made at most before counting is given up: about two minutes."""


class Lifted:
    """The numbers of one space that is not recursive."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar, self._table = grammar, table_of(grammar)
        self._bearing = Bearing(grammar)
        self._inlined = Inlined(grammar, self._bearing)
        self._memo: dict[object, Numbers] = {}
        self._looking: set[object] = set()
        """Rules and items that look at what was hidden from them, with what it was."""
        self._keeping: dict[tuple[str, TensorSpec], bool] = {}
        self._tidied: dict[object, tuple[Box, int]] = {}
        self._ends: dict[object, tuple[tuple[Box, int], ...]] = {}
        self._made = 0

    def count(self) -> int:
        """How many trees the space has.

        Raises:
            LimitError: there are too many shapes or variables to follow.
        """
        grammar = self._grammar
        return sum(self.rule(grammar.start, (), grammar.input).values())

    # Rules.

    def rule(self, symbol: str, given: Box, spec: TensorSpec) -> Numbers:
        """Numbers of expansions of a rule, by its arguments."""
        return self._remembered(symbol, given, spec, lambda s: self._rule(symbol, given, s))

    def _rule(self, symbol: str, given: Box, spec: TensorSpec) -> Numbers:
        rule = self._grammar.rules[symbol]
        schemes = len(self._grammar.schemes) if rule.is_block else 1
        found: dict[State, int] = {}
        for alternative in rule.alternatives:
            for state, number in self._alternative(alternative, given, spec):
                found[state] = found.get(state, 0) + schemes * number
        return merged(found)

    def _alternative(
        self, alternative: Alternative, given: Box, spec: TensorSpec
    ) -> Iterator[tuple[State, int]]:
        arity = len(given)
        idle = self._bearing.idle(alternative)
        drawn = [domain.values for _, domain in alternative.draws]
        free = tuple([() if arity + i in idle else some for i, some in enumerate(drawn)])
        start = settled(alternative, (*given, *free))
        if start is None:
            return
        states: dict[State, int] = {(spec, start): self._bearing.factor(alternative, arity)}
        items = self._inlined.items(alternative)
        for index, item in enumerate(items):
            following: dict[State, int] = {}
            for (out, box), number in self._step(item, states).items():
                left, times = self._tidy(alternative, arity, index, box)
                if times:
                    state = (out, left)
                    following[state] = following.get(state, 0) + times * number
            states = following
        for (out, box), number in states.items():
            for inner, times in self._completed(alternative, arity, box):
                yield (out, inner), times * number

    def _tidy(self, alternative: Alternative, arity: int, index: int, box: Box) -> tuple[Box, int]:
        """The box behind an item, without what is not looked at again, and what that multiplies."""
        key = (alternative, index, box)
        found = self._tidied.get(key)
        if found is None:
            behind = self._inlined.items(alternative)[index + 1 :]
            later = {i for item in behind for i in self._bearing.used(item)}
            left = settled(alternative, box)
            found = ((), 0) if left is None else summed(alternative, left, arity, later)
            self._tidied[key] = found
        return found

    def _completed(
        self, alternative: Alternative, arity: int, box: Box
    ) -> tuple[tuple[Box, int], ...]:
        """The arguments in a box, and how many values the variables have that are left there."""
        key = (alternative, "end", box)
        found = self._ends.get(key)
        if found is None:
            found = self._ends[key] = tuple(completed(alternative, box, arity))
        return found

    # Items and rows of them. Boxes are those of the whole alternative, () where an item does not
    # look.

    def _step(self, item: Item, states: Mapping[State, int]) -> Mapping[State, int]:
        """Numbers behind an item. If it forgets what enters, states that are then alike are one."""
        if item.is_primitive and not item.groups and item.repeat is None:
            free = self._passes(item, states)
            if free:
                return states if free == 1 else {s: free * n for s, n in states.items()}
        for what in (ALL, CHANNELS) if len(states) > 1 else ():
            key = ("forgets", item, what)
            if key in self._looking:
                continue
            alike: dict[State, int] = {}
            for (spec, box), number in states.items():
                state = (blinded(spec, what), box)
                alike[state] = alike.get(state, 0) + number
            try:
                found = self._each(item, merged(alike))
            except SeenError:
                self._looking.add(key)
                continue
            if not any(is_blind(out) for out, _ in found):
                return found
            self._looking.add(key)
        return self._each(item, states)

    def _passes(self, item: Item, states: Mapping[State, int]) -> int:
        """How many forms a layer has that leaves every spec as it is, like a norm; else 0."""
        primitive = self._grammar.primitives[item.symbol]
        if primitive.bearing:
            return 0
        for blind in {blinded(spec, ALL) for spec, _ in states}:
            kept = self._keeping.get((item.symbol, blind))
            if kept is None:
                try:
                    kept = (
                        self._table.applied(item.symbol, (0,) * len(item.scalars), blind) is blind
                    )
                except SeenError:
                    kept = False
                self._keeping[item.symbol, blind] = kept
            if not kept:
                return 0
        return prod(len(s.domain.values) for s in item.scalars if isinstance(s, Drawn))

    def _each(self, item: Item, states: Mapping[State, int]) -> dict[State, int]:
        used = self._bearing.used(item)
        found: dict[State, int] = {}
        for (spec, box), number in states.items():
            for (out, inner), more in self.item(item, only(box, used), spec).items():
                state = (out, into(box, inner))
                found[state] = found.get(state, 0) + number * more
        self._made += len(found)
        if self._made > MOST:
            raise LimitError(
                f"{self._grammar.name} reaches too many shapes, or draws too many variables "
                "together, to count its trees: narrow its domains, or ask for fewer nodes"
            )
        return found

    def row(self, items: tuple[Item, ...], box: Box, spec: TensorSpec) -> Numbers:
        """Numbers of rows for a sequence of a primitive."""
        used = {i for item in items for i in self._bearing.used(item)}

        def compute(here: TensorSpec) -> Numbers:
            states: Mapping[State, int] = {(here, seen): 1}
            for item in items:
                states = self._step(item, states)
            return merged(states)

        seen = only(box, sorted(used))
        return self._remembered(items, seen, spec, compute)

    def item(self, item: Item, box: Box, spec: TensorSpec) -> Numbers:
        """Numbers of rows of copies of an item."""
        return self._remembered(item, box, spec, lambda here: self._item(item, box, here))

    def _item(self, item: Item, box: Box, spec: TensorSpec) -> Numbers:
        if item.repeat is None:
            return self._one(item, box, spec)
        found: dict[State, int] = {}
        for known, number in values_of(item.repeat.count, box):
            for state, ways in self._copies(item, known, spec, number).items():
                found[state] = found.get(state, 0) + ways
        return merged(found)

    def _copies(self, item: Item, box: Box, spec: TensorSpec, number: int) -> Mapping[State, int]:
        def one(inner: Box, here: TensorSpec) -> Numbers:
            return self._remembered(
                ("one", item), inner, here, lambda seen: self._one(item, inner, seen)
            )

        if number > 1 and item.repeat is not None and item.repeat.same:
            return {state: ways for state, ways in one(box, spec).items() if state[0] == spec}
        states: Mapping[State, int] = {(spec, box): 1}
        for _ in range(number):
            following: dict[State, int] = {}
            for (here, inner), ways in states.items():
                for state, more in one(inner, here).items():
                    following[state] = following.get(state, 0) + ways * more
            states = merged(following)
        return states

    def _one(self, item: Item, box: Box, spec: TensorSpec) -> Numbers:
        if not item.is_primitive:
            return self._called(item, box, spec)
        primitive = self._grammar.primitives[item.symbol]
        found: dict[State, int] = {}
        free = prod(
            len(s.domain.values)
            for i, s in enumerate(item.scalars)
            if i not in primitive.bearing and isinstance(s, Drawn)
        )
        bearing = [s if i in primitive.bearing else Literal(0) for i, s in enumerate(item.scalars)]
        for known, values in combinations(bearing, box):
            for state, number in self._joined(item, values, known, spec):
                found[state] = found.get(state, 0) + free * number
        return merged(found)

    def _joined(
        self, item: Item, values: tuple[Value, ...], box: Box, spec: TensorSpec
    ) -> Iterator[tuple[State, int]]:
        table = self._table
        within = table.inside(item.symbol, values, spec) if item.groups else spec
        if within is None:
            return
        states: dict[tuple[tuple[TensorSpec, ...], Box], int] = {((), box): 1}
        for group in item.groups:
            following: dict[tuple[tuple[TensorSpec, ...], Box], int] = {}
            for (inner, known), number in states.items():
                for (out, left), more in self.row(group, known, within).items():
                    key = ((*inner, out), into(known, left))
                    following[key] = following.get(key, 0) + number * more
            states = following
        for (inner, known), number in states.items():
            left_by = table.applied(item.symbol, values, spec, inner)
            if left_by is not None:
                yield (left_by, known), number

    def _called(self, item: Item, box: Box, spec: TensorSpec) -> Numbers:
        """Numbers for a rule. A variable that is handed on once, as it is, stays a set."""
        looked = self._bearing.given(item.symbol, (1,) * len(item.scalars))
        scalars = [s if looked[i] else Literal(0) for i, s in enumerate(item.scalars)]
        names = [v.index for s in scalars if not isinstance(s, Drawn) for v in variables_of(s)]
        kept = [isinstance(s, Variable) and names.count(s.index) == 1 for s in scalars]
        split = [
            Literal(0) if keep or isinstance(s, Drawn) else s
            for s, keep in zip(scalars, kept, strict=True)
        ]
        found: dict[State, int] = {}
        for known, values in combinations(split, box):
            given: list[tuple[Value, ...]] = []
            for i, scalar in enumerate(scalars):
                if not looked[i]:
                    given.append(())
                elif isinstance(scalar, Drawn):
                    given.append(scalar.domain.values)
                elif kept[i] and isinstance(scalar, Variable):
                    given.append(known[scalar.index])
                else:
                    given.append((values[i],))
            for (out, inner), number in self.rule(item.symbol, tuple(given), spec).items():
                left = list(known)
                for i, scalar in enumerate(scalars):
                    if isinstance(scalar, Drawn):
                        number *= len(inner[i])
                    elif kept[i] and isinstance(scalar, Variable):
                        left[scalar.index] = inner[i]
                state = (out, tuple(left))
                found[state] = found.get(state, 0) + number
        return merged(found)

    def _remembered(
        self, what: object, box: Box, spec: TensorSpec, compute: Callable[[TensorSpec], Numbers]
    ) -> Numbers:
        """What is computed for a spec, if it can be with sizes hidden, so that it serves others."""
        for level in (ALL, CHANNELS):
            blind = blinded(spec, level)
            if (what, level) in self._looking or blind is spec:
                continue
            key = (what, box, blind)
            found = self._memo.get(key)
            if found is None:
                try:
                    found = self._memo[key] = compute(blind)
                except SeenError:
                    self._looking.add((what, level))
                    continue
            if not any(is_blind(out) for out, _ in found):
                return found
            told: dict[State, int] = {}
            for (out, left), n in found.items():
                # What passed unchanged may be what something else made.
                state = (spec if is_blind(out) else out, left)
                told[state] = told.get(state, 0) + n
            return told
        key = (what, box, spec)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = compute(spec)
        return found
