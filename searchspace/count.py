"""Exact numbers of the trees of a space, by their size.

The entries are those of `searchspace.table` with counts in place of smallest sizes: for a rule or
item in a known spec, how many trees lead to each spec that can leave, by their number of nodes.
Sums run over the specs between items, so that only trees that fit are counted, each once.
All trees of a space without recursion are counted faster, by `searchspace.lifted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

from searchspace import draws
from searchspace.bearing import Bearing
from searchspace.grammar import Alternative, Grammar, Item, LimitError
from searchspace.lifted import Lifted
from searchspace.scope import Scope, arguments, counts, live, needs
from searchspace.shapes import TensorSpec
from searchspace.table import table_of
from searchspace.tree import Value

Sizes = Mapping[int, int]
"""Numbers of trees by their number of nodes."""
Counts = Mapping[TensorSpec, Sizes]
"""Numbers of trees by the spec that leaves and the number of nodes."""
State = tuple[TensorSpec, Scope]
"""What enters an item, and the variables that it and those behind it look at."""

WAYS = 2_000_000
"""Combinations of variables that are looked at before counting is given up: some minutes."""
_STEP = 25
"""Nodes by which the trees grow that are counted on the way to larger ones."""
ENTRIES = 3_000_000
"""Numbers that are held at most, some 1 GB, before counting is given up."""


def count(grammar: Grammar, max_nodes: int | None = None) -> int:
    """How many trees a space has.

    Args:
        grammar: the space; its own limits hold too.
        max_nodes: nodes of a tree at most, every built copy counted; None: any number.

    Raises:
        LimitError: the space is infinite and `max_nodes` is None, or there are too many shapes or
            variables to follow.
    """
    finite = not table_of(grammar).recursion.recursive
    if finite and max_nodes is None and not grammar.limits.nodes:
        return Lifted(grammar).count()
    return sum(sum(sizes.values()) for sizes in Counter(grammar, max_nodes).whole().values())


def count_by_size(grammar: Grammar, max_nodes: int) -> dict[int, int]:
    """Number of trees of each size up to `max_nodes` that has any; raises as `count`."""
    found: dict[int, int] = {}
    for sizes in Counter(grammar, max_nodes).whole().values():
        _add(found, sizes)
    return dict(sorted(found.items()))


class Counter:
    """Counts and uniform draws of one space, up to a number of nodes.

    Without a number of nodes all trees count as of size 0, which is exact where there is no
    recursion, and quick.
    """

    def __init__(self, grammar: Grammar, max_nodes: int | None = None) -> None:
        self.grammar, self.table = grammar, table_of(grammar)
        recursion = self.table.recursion
        if max_nodes is None and not grammar.limits.nodes and recursion.recursive:
            raise LimitError(
                f"{grammar.name} is recursive and has no end of trees: say up to how many nodes"
            )
        if max_nodes is not None and max_nodes < 1:
            raise LimitError(f"a tree has at least 1 node; got {max_nodes}")
        if max_nodes is None and grammar.limits.nodes:
            max_nodes = grammar.limits.nodes
        self.unit = 0 if max_nodes is None else 1
        """What a node counts: 1, or 0 where sizes do not matter."""
        self.most = min(max_nodes or 0, grammar.limits.nodes or max_nodes or 0)
        """Nodes of a tree at most."""
        self.bearing = Bearing(grammar)
        """Which variables counts hang on."""
        self._memo: dict[object, Counts] = {}
        self._ways = 0
        self._held = 0

    def whole(self) -> Counts:
        """Numbers of whole trees."""
        grammar = self.grammar
        # From small to large, so that recursion never has far to go to what is known.
        for most in range(_STEP, self.most, _STEP):
            self.rule(grammar.start, (), grammar.input, most)
        return self.rule(grammar.start, (), grammar.input, self.most)

    # In what follows, `most` is the number of nodes that are left.

    def budget(self, symbol: str, most: int) -> int:
        """`most` where there is recursion below; else the whole, so that entries are shared."""
        return most if symbol in self.table.recursion.deep else self.most

    def left(self, item: Item, most: int) -> int:
        """As `budget`, for an item."""
        return most if self.table.holds_recursion(item) else self.most

    def rule(self, symbol: str, given: Scope, spec: TensorSpec, most: int) -> Counts:
        """Numbers of expansions of a rule."""
        most = self.budget(symbol, most)
        given = self.bearing.given(symbol, given)
        key = (symbol, given, spec, most)
        if key in self._memo:
            return self._memo[key]
        found: dict[TensorSpec, dict[int, int]] = {}
        if most >= self.unit:
            rule = self.grammar.rules[symbol]
            schemes = len(self.grammar.schemes) if rule.is_block else 1
            for index in self.table.fitting(symbol, given):
                inner = self.alternative(rule.alternatives[index], given, spec, most - self.unit)
                for out, sizes in inner.items():
                    grown = {size + self.unit: n * schemes for size, n in sizes.items()}
                    _add(found.setdefault(out, {}), grown)
        return self._keep(key, found)

    def alternative(
        self, alternative: Alternative, given: Scope, spec: TensorSpec, most: int
    ) -> Counts:
        """Numbers of rows of nodes for the items of an alternative."""
        if not alternative.draws:
            return self.row(alternative.items, given, spec, most)
        states = self.steps(alternative, given, spec, most)[-1]
        found: dict[TensorSpec, dict[int, int]] = {}
        for (out, _), sizes in states.items():
            _add(found.setdefault(out, {}), sizes)
        return found

    def steps(
        self, alternative: Alternative, given: Scope, spec: TensorSpec, most: int
    ) -> list[Mapping[State, Sizes]]:
        """Numbers by spec and live variables: before the first item, then behind each.

        The last step gives values to the variables that no item uses, and counts those that bear on
        nothing, which are 0 until then.
        """
        states: Mapping[State, Sizes] = {(spec, given): {0: 1}}
        steps = [states]
        for index in range(len(alternative.items) + 1):
            following: dict[State, dict[int, int]] = {}
            tail = self.tail(alternative.items, index)
            for state, sizes in states.items():
                left = most - min(sizes) - tail
                for _, after, ways in self.moves(alternative, len(given), index, state, left):
                    self._ways += 1
                    if self._ways > WAYS:
                        raise LimitError(
                            f"{self.grammar.name} draws too many variables together to count its "
                            f"trees: more than {WAYS} combinations"
                        )
                    for out, more in ways.items():
                        into = following.setdefault((out, after), {})
                        _add(into, product_of(sizes, more, most))
            states = {state: sizes for state, sizes in following.items() if sizes}
            steps.append(states)
        return steps

    def moves(
        self, alternative: Alternative, arity: int, index: int, state: State, most: int
    ) -> Iterator[tuple[Scope, Scope, Counts]]:
        """Ways past item `index`: the scope that it sees, what stays live, and the numbers."""
        spec, scope = state
        items = alternative.items
        last = arity + len(alternative.draws)
        known = needs(alternative, arity)[index] if index < len(items) else last
        for extended in self.assignments(alternative, arity, scope, known):
            if index < len(items):
                after = live(alternative, arity, index + 1, extended)
                yield extended, after, self.item(items[index], extended, spec, most)
            else:
                yield extended, (), {spec: {0: self.bearing.factor(alternative, arity)}}

    def assignments(
        self, alternative: Alternative, arity: int, scope: Scope, known: int
    ) -> Iterator[Scope]:
        """As `searchspace.scope.assignments`, with 0 for all that bears on nothing."""
        if len(scope) >= known:
            yield scope
            return
        values: list[Value] = [0]
        if len(scope) not in self.bearing.idle(alternative):
            options = draws.options(alternative, arity, len(scope) - arity, scope)
            values = [value for value, _ in options]
        for value in values:
            yield from self.assignments(alternative, arity, (*scope, value), known)

    def item(self, item: Item, scope: Sequence[Value], spec: TensorSpec, most: int) -> Counts:
        """Numbers of rows of copies of an item."""
        if item.repeat is None:
            return self.one(item, scope, spec, most)
        found: dict[TensorSpec, dict[int, int]] = {}
        for number in counts(item, scope):
            for out, sizes in self.copies(item, scope, spec, most, number).items():
                _add(found.setdefault(out, {}), sizes)
        return found

    def copies(
        self, item: Item, scope: Sequence[Value], spec: TensorSpec, most: int, number: int
    ) -> Counts:
        """Numbers of rows of so many copies."""
        if number > 1 and item.repeat is not None and item.repeat.same:
            alone = self.one(item, scope, spec, most // number if self.unit else most)
            sizes = {size * number: ways for size, ways in alone.get(spec, {}).items()}
            return {spec: sizes} if sizes else {}
        return self.copy_steps(item, scope, spec, most, number)[-1]

    def copy_steps(
        self, item: Item, scope: Sequence[Value], spec: TensorSpec, most: int, number: int
    ) -> list[Counts]:
        """Numbers before the first copy, then behind each."""
        key = (item, self.seen(item, scope), spec, most, "copies")
        states: Counts = {spec: {0: 1}}
        steps = [states]
        for index in range(number):
            if (*key, index) in self._memo:
                states = self._memo[(*key, index)]
            else:
                following: dict[TensorSpec, dict[int, int]] = {}
                for here, sizes in states.items():
                    for out, more in self.one(item, scope, here, most - min(sizes)).items():
                        _add(following.setdefault(out, {}), product_of(sizes, more, most))
                states = self._keep((*key, index), following)
            steps.append(states)
        return steps

    def one(self, item: Item, scope: Sequence[Value], spec: TensorSpec, most: int) -> Counts:
        """Numbers of nodes for one copy of an item."""
        if not item.is_primitive and not self.bearing.draws(item):
            return self.rule(item.symbol, next(arguments(item, scope)), spec, most)
        most = self.left(item, most)
        key = (item, self.seen(item, scope), spec, most)
        if key in self._memo:
            return self._memo[key]
        found: dict[TensorSpec, dict[int, int]] = {}
        for values in arguments(item, scope):
            for out, sizes in self.given(item, values, scope, spec, most).items():
                _add(found.setdefault(out, {}), sizes)
        return self._keep(key, found)

    def seen(self, item: Item, scope: Sequence[Value]) -> tuple[Value, ...]:
        """The values that the trees of an item hang on."""
        return tuple([scope[index] for index in self.bearing.used(item)])

    def given(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, most: int
    ) -> Counts:
        """Numbers of nodes for an item with these scalar arguments."""
        if not item.is_primitive:
            return self.rule(item.symbol, values, spec, most)
        found: dict[TensorSpec, dict[int, int]] = {}
        for _, out, sizes in self.joins(item, values, scope, spec, most):
            _add(found.setdefault(out, {}), sizes)
        return found

    def joins(
        self, item: Item, values: Scope, scope: Sequence[Value], spec: TensorSpec, most: int
    ) -> Iterator[tuple[tuple[TensorSpec, ...], TensorSpec, Sizes]]:
        """What leaves the sequences of a primitive, what then leaves it, and the numbers."""
        if most < self.unit:
            return
        table = self.table
        within = table.inside(item.symbol, values, spec) if item.groups else spec
        if within is None:
            return
        times = table.times(item.symbol, values) if item.groups else 1
        left = (most - self.unit) // times
        rooms = self.rooms(item, left)
        rows = [
            self.row(group, scope, within, room).items()
            for group, room in zip(item.groups, rooms, strict=True)
        ]
        for chosen in product(*rows):
            inner = tuple([out for out, _ in chosen])
            if not self.unit:
                out = table.applied(item.symbol, values, spec, inner)
                if out is not None:
                    yield inner, out, {0: prod([sizes[0] for _, sizes in chosen])}
                continue
            if sum([min(sizes) for _, sizes in chosen]) > left:
                continue  # most pairs: asking the primitive would cost more
            out = table.applied(item.symbol, values, spec, inner)
            if out is not None:
                total: Sizes = {0: 1}
                for _, sizes in chosen:
                    total = product_of(total, sizes, left)
                yield inner, out, {self.unit + times * size: n for size, n in total.items()}

    def tail(self, items: Sequence[Item], index: int) -> int:
        """Nodes that the items behind one have at least."""
        return self.unit and sum(map(self.table.recursion.smallest, items[index + 1 :]))

    def rooms(self, item: Item, left: int) -> list[int]:
        """Nodes that are left for each sequence of a primitive, where all together have `left`."""
        if not self.unit:
            return [left] * len(item.groups)
        least = [self.tail(group, -1) for group in item.groups]
        return [left - sum(least) + own for own in least]

    def row(
        self, items: Sequence[Item], scope: Sequence[Value], spec: TensorSpec, most: int
    ) -> Counts:
        """Numbers behind the last item of a sequence."""
        if len(items) == 1:
            return self.item(items[0], scope, spec, most)
        return self.row_steps(items, scope, spec, most)[-1]

    def row_steps(
        self, items: Sequence[Item], scope: Sequence[Value], spec: TensorSpec, most: int
    ) -> list[Counts]:
        """Numbers before the first item of a sequence, then behind each."""
        states: Counts = {spec: {0: 1}}
        steps = [states]
        for index, item in enumerate(items):
            following: dict[TensorSpec, dict[int, int]] = {}
            tail = self.tail(items, index)
            for here, sizes in states.items():
                for out, more in self.item(item, scope, here, most - min(sizes) - tail).items():
                    _add(following.setdefault(out, {}), product_of(sizes, more, most))
            states = {out: sizes for out, sizes in following.items() if sizes}
            steps.append(states)
        return steps

    def _keep(self, key: object, made: Mapping[TensorSpec, Mapping[int, int]]) -> Counts:
        kept = {out: sizes for out, sizes in made.items() if sizes}
        self._held += 1 + sum(map(len, kept.values()))
        if self._held > ENTRIES:
            raise LimitError(
                f"{self.grammar.name} reaches too many shapes to count its trees of up to "
                f"{self.most} nodes: ask for fewer nodes"
            )
        self._memo[key] = kept
        return kept


def _add(into: dict[int, int], sizes: Sizes) -> None:
    for size, number in sizes.items():
        into[size] = into.get(size, 0) + number


def product_of(first: Sizes, second: Sizes, most: int) -> dict[int, int]:
    """Numbers of pairs by the sum of their sizes, up to the most."""
    if len(first) == 1:
        ((a, n),) = first.items()
        return {a + b: n * m for b, m in second.items() if a + b <= most}
    found: dict[int, int] = {}
    for a, n in first.items():
        for b, m in second.items():
            if a + b <= most:
                found[a + b] = found.get(a + b, 0) + n * m
    return found
