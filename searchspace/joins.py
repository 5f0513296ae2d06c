"""The canonical form of what joins several paths: a graph of values, and terms made of it.

The graph holds each value once: what has no weights is computed once from the same input, and sums
of sums are one sum. A value through which all paths lead parts a row. Between two such values paths
are joined; if they share a value that has weights, it gets a number, since two of a kind would
have two sets of weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice, permutations, product
from typing import NamedTuple

from searchspace.expression import REFERENCE, SHARED, ZERO, Expression, Row, sequence, term
from searchspace.laws import keeps_level, passes_level
from searchspace.tree import Value

ADD, MULTIPLY, CONCAT = "add", "multiply", "concat"
JOINS = (ADD, MULTIPLY, CONCAT)
OPENED = (*JOINS, SHARED)
_ORDERS = 720
"""Most orders of shared values alike that are tried for the least one."""


class _Vertex(NamedTuple):
    """A value: what is made of other values."""

    head: Expression
    """What is applied; of a join, the term without parts."""
    inputs: tuple[int, ...]
    weighted: bool
    """Whether weights are among what it is made of."""
    level: bool = False
    """Whether it is the same at every place of an image, whatever the input."""


class Graph:
    """Values that are made of one input, number 0."""

    def __init__(self) -> None:
        self.vertices: list[_Vertex] = [_Vertex(term("input"), (), False)]
        self.numbers: dict[object, int] = {}

    def apply(self, row: Row, value: int, shared: Sequence[int] = ()) -> int:
        """The value that parts in a row make of a value.

        Args:
            row: the parts.
            value: what enters.
            shared: values that references stand for.
        """
        for position, part in enumerate(row, 1):
            if part.operator == REFERENCE:
                value = shared[int(part.values[0])]
            elif part.operator == ZERO:
                value = self._add(part, (), part)
            elif position < len(row) and not part.open and not opens(part, row[position]):
                # Nobody but the next part reads it: what is inside does not matter.
                value = self._op(part, value)
            elif part.operator in JOINS:
                inner = [self.apply(p.row, value, shared) for p in part.parts]
                value = self.join(part.operator, part.values, inner)
            elif part.operator == SHARED:
                found: list[int] = []
                for inner_part in part.parts:
                    found.append(self.apply(inner_part.row, value, found))
                value = found[-1]
            else:
                value = self._op(part, value)
        return value

    def join(self, kind: str, values: tuple[Value, ...], inputs: Sequence[int]) -> int:
        """The sum, product or concatenation of values, those of the same kind opened."""
        head = term(kind, values, free=True)
        flat: list[int] = []
        for number in inputs:
            vertex = self.vertices[number]
            flat.extend(vertex.inputs if vertex.head == head else (number,))
        zeros = [n for n in flat if self.vertices[n].head.operator == ZERO]
        if zeros and kind == MULTIPLY:
            return zeros[0]
        if zeros and kind == ADD:
            flat = [n for n in flat if n not in zeros] or zeros[:1]
        if kind != CONCAT:
            flat.sort()
        return flat[0] if len(flat) == 1 else self._add(head, tuple(flat), (head, tuple(flat)))

    def zero(self, value: int) -> Expression | None:
        """The term of a value that is zeros, else None."""
        head = self.vertices[value].head
        return head if head.operator == ZERO else None

    def _op(self, part: Expression, value: int) -> int:
        if passes_level(part):
            vertex = self.vertices[value]
            terms = vertex.inputs if vertex.head.operator == ADD else (value,)
            level = [n for n in terms if self.vertices[n].level]
            if level:
                rest = [n for n in terms if n not in level]
                pooled = [self._op(part, self.join(ADD, (), rest))] if rest else []
                return self.join(ADD, (), [*pooled, *level])
        # With weights, every application is a value of its own.
        return self._add(part, (value,), (part, value) if part.free else object())

    def _add(self, head: Expression, inputs: tuple[int, ...], key: object) -> int:
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.vertices)
            weighted = not head.free or any(self.vertices[i].weighted for i in inputs)
            level = head.operator in (*JOINS, ZERO) or keeps_level(head)
            level = level and all(self.vertices[i].level for i in inputs)
            self.vertices.append(_Vertex(head, inputs, weighted, level))
        return found

    def row(self, value: int, base: int = 0) -> Row:
        """The terms in a row that lead from `base` to a value, all of whose paths pass `base`."""
        tail: list[Expression] = []
        while value != base and len(self.vertices[value].inputs) == 1:
            head, (value,) = self.vertices[value][:2]
            tail.append(head)
        return (*self._to(value, base), *reversed(tail))

    def _to(self, value: int, base: int) -> Row:
        """As `row`, to what joins, to zeros, or to `base` itself."""
        if value == base:
            return ()
        if self.vertices[value].head.operator == ZERO:
            return (self.vertices[value].head,)
        before = self._last_cut(value, base)
        if before is None:  # constants alone lead here
            inner = self._ancestors(value, base)
            zeros = [n for n in inner if self.vertices[n].head.operator == ZERO]
            if len(zeros) == 1:
                return (self.vertices[zeros[0]].head, *self.row(value, zeros[0]))
            before = base
        return (*self.row(before, base), self._part(value, before))

    def _part(self, value: int, base: int) -> Expression:
        """The one term of a join, from the last value that all paths pass."""
        head, inputs = self.vertices[value][:2]
        named = self._shared(value, base)
        if named:
            return self._numbered(value, base, named)
        return joined(head.operator, head.values, [self.row(i, base) for i in inputs])

    def _ancestors(self, value: int, base: int) -> set[int]:
        """Values between `base` and a value, both left out, constants among them."""
        found: set[int] = set()
        waiting = list(self.vertices[value].inputs)
        while waiting:
            number = waiting.pop()
            if number != base and number not in found:
                found.add(number)
                waiting.extend(self.vertices[number].inputs)
        return found

    def _last_cut(self, value: int, base: int) -> int | None:
        """The last value before `value` that all its paths from `base` pass; None without paths."""
        inner = sorted(self._ancestors(value, base))
        fed = {base}
        for number in (*inner, value):
            if any(i in fed for i in self.vertices[number].inputs):
                fed.add(number)
        if value not in fed:
            return None
        spans = list(self._spans([*inner, value], fed))
        return max(c for c in fed - {value} if not any(a < c < b for a, b in spans))

    def _spans(self, numbers: Iterable[int], fed: set[int]) -> Iterator[tuple[float, int]]:
        """For every value, how far it is carried: open intervals that no cut may lie in.

        A constant is made where it is first read, so before that it is not carried.
        """
        readers: dict[int, set[int]] = {}
        for number in reversed(list(numbers)):
            own = {number} if number in fed else readers.get(number, set())
            for i in self.vertices[number].inputs:
                readers.setdefault(i, set()).update(own)
        for number, ends in readers.items():
            if number in fed:
                yield number, max(ends)
            elif self.vertices[number].weighted:
                yield min(ends) - 0.5, max(ends)

    def _shared(self, value: int, base: int) -> list[int]:
        """Values with weights between `base` and a value that are read more than once."""
        inner = self._ancestors(value, base)
        reads = Counter(i for n in (*inner, value) for i in self.vertices[n].inputs)
        return sorted(n for n in inner if reads[n] > 1 and self.vertices[n].weighted)

    def _numbered(self, value: int, base: int, named: list[int]) -> Expression:
        """The term of a value whose inputs share others: those first, in the order least by digest.

        Numbers go by height, then by what the values would be if nothing were shared; of orders
        that leaves open, the first few are tried.
        """
        alike = _Terms(self, base, {})
        heights: dict[int, int] = {}
        for number in named:
            inner = self._ancestors(number, base)
            heights[number] = 1 + max((heights[n] for n in inner if n in heights), default=0)

        def rank(number: int) -> tuple[int, bytes]:
            return heights[number], sequence(alike.row(number)).digest

        ties = [list(group) for _, group in groupby(sorted(named, key=rank), key=rank)]
        orders = product(*(permutations(group) for group in ties))
        terms = []
        for order in islice(orders, _ORDERS):
            numbers = {n: i for i, n in enumerate(n for group in order for n in group)}
            made = _Terms(self, base, numbers)
            parts = [made.definition(n) for n in (*numbers, value)]
            terms.append(term(SHARED, (), tuple(parts)))
        return min(terms, key=lambda t: t.digest)


class _Terms:
    """Terms of values from `base` on, in which some values are references by number."""

    def __init__(self, graph: Graph, base: int, numbers: Mapping[int, int]) -> None:
        self.graph, self.base, self.numbers = graph, base, numbers
        self.known: dict[int, Row] = {}

    def row(self, value: int) -> Row:
        """The terms that lead to a value, or its reference."""
        if value == self.base:
            return ()
        if value in self.numbers:
            return (term(REFERENCE, (self.numbers[value],)),)
        if value not in self.known:
            self.known[value] = self._row(value)
        return self.known[value]

    def definition(self, value: int) -> Expression:
        """The term of a value, itself written out."""
        return sequence(self._row(value))

    def _row(self, value: int) -> Row:
        head, inputs = self.graph.vertices[value][:2]
        if head.operator == ZERO:
            return (head,)
        if head.operator in JOINS:
            return (joined(head.operator, head.values, [self.row(i) for i in inputs]),)
        return (*self.row(inputs[0]), head)


def opens(join: Expression, after: Expression) -> bool:
    """Whether a term has parts that the one after it passes on as they are."""
    return join.constant and join.operator in OPENED and passes_level(after)


def apart(rows: Sequence[Row]) -> bool:
    """Whether rows share nothing but their input, and none ends in what opens."""
    if any(row and (row[0].operator == ZERO or row[-1].operator in OPENED) for row in rows):
        return False
    first = {row[0] if row and row[0].free else None for row in rows}
    return len(first) > 1 or None in first


def joined(kind: str, values: tuple[Value, ...], rows: Sequence[Row]) -> Expression:
    """Rows on one input, joined as they are."""
    parts = [sequence(row) for row in rows]
    if kind != CONCAT:
        parts.sort(key=lambda part: part.digest)
    return term(kind, values, tuple(parts), free=True)
