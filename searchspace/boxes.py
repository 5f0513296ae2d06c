"""Boxes: sets of values for the variables of an alternative, all their combinations together.

A box holds back no constraint that has several values on several variables: such a one stays open
until all but one of them are known, or until the box is completed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product

from searchspace.grammar import Alternative, Drawn, Scalar, evaluate
from searchspace.scope import variables_of
from searchspace.shapes import TensorSpec
from searchspace.tree import Value

Box = tuple[tuple[Value, ...], ...]
"""For each variable the values that it may still have; () where nothing looks at it any more."""
State = tuple[TensorSpec, Box]
"""What leaves an item, and the box behind it."""


def only(box: Box, indices: Iterable[int]) -> Box:
    """A box that looks at some variables alone."""
    kept: list[tuple[Value, ...]] = [()] * len(box)
    for i in indices:
        kept[i] = box[i]
    return tuple(kept)


def into(box: Box, inner: Box) -> Box:
    """A box with the sets of an inner one where that looks."""
    return tuple([new or old for new, old in zip(inner, box, strict=True)])


def split(box: Box, indices: Iterable[int]) -> Iterator[Box]:
    """The box cut so that some variables have one value each."""
    wanted = set(indices)
    return product(
        *[[(v,) for v in values] if i in wanted else [values] for i, values in enumerate(box)]
    )


def scope_of(box: Box) -> list[Value]:
    """A value for each variable: the one that it has, where it has one."""
    return [values[0] if values else 0 for values in box]


def values_of(scalar: Scalar, box: Box) -> Iterator[tuple[Box, int]]:
    """Every value of a count, with the box in which it has it."""
    for known, values in combinations((scalar,), box):
        yield known, int(values[0])


def combinations(scalars: Sequence[Scalar], box: Box) -> Iterator[tuple[Box, tuple[Value, ...]]]:
    """Every combination of values that arguments can have, with the box in which they have it."""
    names = {v.index for s in scalars if not isinstance(s, Drawn) for v in variables_of(s)}
    for known in split(box, names):
        scope = scope_of(known)
        options = [
            s.domain.values if isinstance(s, Drawn) else (evaluate(s, scope),) for s in scalars
        ]
        for values in product(*options):
            yield known, values


def merged(numbers: Mapping[State, int]) -> Mapping[State, int]:
    """The same numbers in fewer rows: those that differ in the values of one variable alone."""
    width = len(next(iter(numbers))[1]) if numbers else 0
    for i in range(width):
        if len(numbers) < 2:
            return numbers
        groups: dict[object, list[State]] = {}
        for (out, box), number in numbers.items():
            groups.setdefault((out, box[:i], box[i + 1 :], number), []).append((out, box))
        if len(groups) == len(numbers):
            continue
        joined: dict[State, int] = {}
        for states in groups.values():
            out, box = states[0]
            number = numbers[states[0]]
            every = [value for _, each in states for value in each[i]]
            if len(set(every)) == len(every):
                values = tuple(sorted(every, key=_order))
                states = [(out, (*box[:i], values, *box[i + 1 :]))]
            for state in states:
                joined[state] = joined.get(state, 0) + number
        numbers = joined
    return numbers


def _order(value: Value) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value)


@lru_cache(maxsize=4096)
def _constraints(alternative: Alternative) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """For each constraint its place and the variables that it looks at."""
    return tuple(
        (place, tuple({v.index for s in (c.left, c.right) for v in variables_of(s)}))
        for place, c in enumerate(alternative.where)
    )


def _open(alternative: Alternative, box: Box) -> Iterator[tuple[int, tuple[int, ...], list[int]]]:
    """Constraints, their variables, and those of them that have several values.

    A constraint with a variable that nothing looks at any more holds already.
    """
    for place, names in _constraints(alternative):
        sizes = [len(box[i]) for i in names]
        if 0 not in sizes:
            yield place, names, [i for i, size in zip(names, sizes, strict=True) if size > 1]


@lru_cache(maxsize=500_000)
def _allowed(
    alternative: Alternative, place: int, several: tuple[int, ...], box: Box
) -> tuple[Value, ...]:
    """The values of the one variable with several, or of any if there is none, that are allowed."""
    comparison = alternative.where[place]
    index = several[0] if several else _constraints(alternative)[place][1][0]
    scope = scope_of(box)
    allowed = []
    for value in box[index]:
        scope[index] = value
        if comparison.holds(scope):
            allowed.append(value)
    return tuple(allowed)


def settled(alternative: Alternative, box: Box) -> Box | None:
    """The box without values that no assignment can have; None if a constraint cannot be kept."""
    before: Box | None = None
    while before != box:
        before = box
        for place, names, several in _open(alternative, box):
            if len(several) < 2 and names:
                left = _allowed(alternative, place, tuple(several), only(box, names))
                if not left:
                    return None
                if several and len(left) < len(box[several[0]]):
                    box = (*box[: several[0]], left, *box[several[0] + 1 :])
            elif not names and not alternative.where[place].holds(()):
                return None
    return box


def summed(alternative: Alternative, box: Box, arity: int, later: Iterable[int]) -> tuple[Box, int]:
    """The box without drawn variables that nothing looks at again, and how many values they had."""
    wanted = set(later)
    for _, names, several in _open(alternative, box):
        if len(several) > 1:
            wanted.update(names)
    left, times = list(box), 1
    for i in range(arity, len(box)):
        if i not in wanted and box[i]:
            left[i], times = (), times * len(box[i])
    return tuple(left), times


def completed(alternative: Alternative, box: Box, arity: int) -> Iterator[tuple[Box, int]]:
    """The arguments in a box, and for each how many values the drawn variables have together."""
    pending = {i for _, _, several in _open(alternative, box) if len(several) > 1 for i in several}
    for known in split(box, [i for i in pending if i < arity]):
        left = settled(alternative, known)
        if left is None:
            continue
        inner, times = summed(alternative, left, arity, ())
        drawn = [i for i in range(arity, len(box)) if inner[i]]
        times *= sum(settled(alternative, each) is not None for each in split(inner, drawn))
        yield left[:arity], times
