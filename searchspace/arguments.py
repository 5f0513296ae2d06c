"""Which values can reach each rule and primitive, so that wrong ones show when the file is read.

Follows every tuple of arguments from the start down. A value counts as reaching a place only if the
constraints of each rule on the way can be kept with it; past `MOST` combinations the search stops,
and what is left is found where a tree is drawn or built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from searchspace import draws
from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Comparison,
    Domain,
    Drawn,
    Item,
    Rule,
    Scalar,
    Variable,
    evaluate,
)
from searchspace.primitives.base import Primitive
from searchspace.scope import variables_of
from searchspace.tree import Value

MOST = 5_000
"""Combinations of values that are looked at, at most."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Arguments that reach a rule, with the way they came."""

    symbol: str
    """Name of the rule."""
    arguments: tuple[Value, ...]
    """One for each parameter."""
    item: Item | None = None
    """The item that names the rule; None for the start."""
    caller: Arrival | None = None
    """What reached the rule that the item stands in."""
    narrowed: Alternative | None = None
    """The caller's alternative, with the drawn variables fixed that give these arguments."""

    def possible(self) -> bool:
        """Whether the constraints on the way can all be kept."""
        arrival = self
        while arrival.caller is not None and arrival.narrowed is not None:
            if not draws.count(arrival.narrowed, arrival.caller.arguments):
                return False
            arrival = arrival.caller
        return True


def first_fault(
    rules: Mapping[str, Rule], start: str, primitives: Mapping[str, Primitive]
) -> tuple[Alternative | Item, str] | None:
    """The first place that a wrong value reaches, and what is wrong; None if all is well."""
    waiting = [Arrival(start, ())]
    seen = {(start, waiting[0].arguments)}
    left = MOST
    while waiting:
        arrival = waiting.pop()
        rule, fits = rules[arrival.symbol], 0
        for alternative in rule.alternatives:
            message = _word_fault(alternative, arrival.arguments)
            if message:
                return alternative, message
            if not draws.count(alternative, arrival.arguments):
                if not rule.parameters:
                    return alternative, "no values keep these constraints"
                continue
            fits += 1
            for item in _all_items(alternative.items):
                fault = _item_fault(item, alternative, arrival, primitives)
                if fault:
                    return item, fault
                for new in () if item.is_primitive else _called(item, alternative, arrival):
                    left -= 1
                    if left < 0:
                        return None
                    if (new.symbol, new.arguments) not in seen:
                        seen.add((new.symbol, new.arguments))
                        waiting.append(new)
        if not fits and arrival.item is not None and arrival.possible():
            values = ", ".join(map(str, arrival.arguments))
            return arrival.item, f"no alternative of '{arrival.symbol}' allows ({values})"
    return None


def _called(item: Item, alternative: Alternative, arrival: Arrival) -> Iterator[Arrival]:
    for values, narrowed in _values(item.scalars, alternative, arrival.arguments):
        yield Arrival(item.symbol, values, item, arrival, narrowed)


def _item_fault(
    item: Item, alternative: Alternative, arrival: Arrival, primitives: Mapping[str, Primitive]
) -> str | None:
    """What is wrong with a value of an item's count or, for a primitive, of its arguments."""
    checks = []
    if item.repeat is not None:
        checks.append((item.repeat.count, _count_fault))
    if item.is_primitive:
        parameters = primitives[item.symbol].parameters
        checks += [(s, p.fault) for s, p in zip(item.scalars, parameters, strict=True)]
    for scalar, fault_of in checks:
        for (value,), narrowed in _values((scalar,), alternative, arrival.arguments):
            fault = fault_of(value)
            if fault and draws.count(narrowed, arrival.arguments) and arrival.possible():
                return f"{fault}; got {value}"
    return None


def _count_fault(value: Value) -> str | None:
    if isinstance(value, int) and value >= 0:
        return None
    return "a count must be an integer of at least 0"


def _values(
    scalars: Sequence[Scalar], alternative: Alternative, arguments: tuple[Value, ...]
) -> Iterator[tuple[tuple[Value, ...], Alternative]]:
    """Every combination that some scalars can have, with the alternative narrowed to it."""
    arity = len(arguments)
    variables = {v.index for s in scalars if not isinstance(s, Drawn) for v in variables_of(s)}
    involved = sorted(index for index in variables if index >= arity)
    domains = [alternative.draws[index - arity][1].values for index in involved]
    own = [s.domain.values if isinstance(s, Drawn) else (0,) for s in scalars]
    inner = [
        c
        for c in alternative.where
        if {v.index for v in _compared(c) if v.index >= arity} <= set(involved)
    ]
    for chosen in product(*domains):
        scope = [*arguments, *(draw[1].values[0] for draw in alternative.draws)]
        for index, value in zip(involved, chosen, strict=True):
            scope[index] = value
        if not all(comparison.holds(scope) for comparison in inner):
            continue
        narrowed = _narrowed(alternative, arity, dict(zip(involved, chosen, strict=True)))
        for drawn in product(*own):
            yield (
                tuple(
                    value if isinstance(scalar, Drawn) else evaluate(scalar, scope)
                    for scalar, value in zip(scalars, drawn, strict=True)
                ),
                narrowed,
            )


def _narrowed(alternative: Alternative, arity: int, fixed: Mapping[int, Value]) -> Alternative:
    drawn = tuple(
        (name, Domain(name, (fixed[arity + i],)) if arity + i in fixed else domain)
        for i, (name, domain) in enumerate(alternative.draws)
    )
    return replace(alternative, draws=drawn)


def _word_fault(alternative: Alternative, arguments: Sequence[Value]) -> str | None:
    """A word where only a number serves: in arithmetic, or compared by size."""
    scope = [*arguments, *(domain.values[0] for _, domain in alternative.draws)]
    scalars = [s for item in _all_items(alternative.items) for s in item.scalars]
    sides = [side for c in alternative.where for side in (c.left, c.right)]
    for expression in (*scalars, *sides):
        if isinstance(expression, Arithmetic):
            for variable in variables_of(expression):
                if isinstance(scope[variable.index], str):
                    return f"'{variable.name}' is a word, which has no arithmetic"
    for comparison in alternative.where:
        if comparison.operator not in ("==", "!="):
            for variable in _compared(comparison):
                if isinstance(scope[variable.index], str):
                    return f"'{variable.name}' is a word, which only == and != compare"
    return None


def _all_items(items: Sequence[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        for group in item.groups:
            yield from _all_items(group)


def _compared(comparison: Comparison) -> tuple[Variable, ...]:
    return (*variables_of(comparison.left), *variables_of(comparison.right))
