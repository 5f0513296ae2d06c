"""Which values can reach each rule and primitive, so that wrong ones show when the file is read.

Follows tuples of arguments from the start down: every combination of the parameters that are
computed with or constrained, and of the others, each of which goes where it goes alone, every value
once. A value counts as reaching a place only if the constraints of each rule on the way can be kept
with it; past `MOST` combinations the search stops, and what is left is found where a tree is drawn
or built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
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
Fixed = Mapping[int, Value]
"""Values by their variables' places in the scope."""


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
    alternative: Alternative | None = None
    """The caller's alternative that the item stands in."""
    fixed: Fixed = field(default_factory=dict)
    """Values of its drawn variables that give these arguments."""

    def possible(self) -> bool:
        """Whether the constraints on the way can all be kept."""
        arrival = self
        while arrival.caller is not None and arrival.alternative is not None:
            if not _kept(arrival.alternative, arrival.caller.arguments, arrival.fixed):
                return False
            arrival = arrival.caller
        return True


def first_fault(
    rules: Mapping[str, Rule], start: str, primitives: Mapping[str, Primitive]
) -> tuple[Alternative | Item, str] | None:
    """The first place that a wrong value reaches, and what is wrong; None if all is well."""
    alone = _alone(rules)
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
                if item.is_primitive:
                    continue
                for new in _called(item, alternative, arrival, alone[item.symbol]):
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


def _alone(rules: Mapping[str, Rule]) -> dict[str, set[int]]:
    """For each rule, the parameters that are only ever passed on as they are.

    What one of them leads to has nothing to do with the other arguments.
    """
    alone = {name: set(range(len(rule.parameters))) for name, rule in rules.items()}
    before = -1
    while before != (before := sum(map(len, alone.values()))):
        for name, rule in rules.items():
            for alternative in rule.alternatives:
                for comparison in alternative.where:
                    alone[name] -= {variable.index for variable in _compared(comparison)}
                for item in _all_items(alternative.items):
                    for place, scalar in enumerate(item.scalars):
                        if isinstance(scalar, Drawn):
                            continue
                        if not isinstance(scalar, Variable) or not (
                            item.is_primitive or place in alone[item.symbol]
                        ):
                            alone[name] -= {variable.index for variable in variables_of(scalar)}
    return alone


def _called(
    item: Item, alternative: Alternative, arrival: Arrival, alone: set[int]
) -> Iterator[Arrival]:
    for values, fixed in _values(item.scalars, alternative, arrival.arguments, alone):
        yield Arrival(item.symbol, values, item, arrival, alternative, fixed)


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
        for (value,), fixed in _values((scalar,), alternative, arrival.arguments):
            fault = fault_of(value)
            if fault and _kept(alternative, arrival.arguments, fixed) and arrival.possible():
                return f"{fault}; got {value}"
    return None


def _count_fault(value: Value) -> str | None:
    if isinstance(value, int) and value >= 0:
        return None
    return "a count must be an integer of at least 0"


def _values(
    scalars: Sequence[Scalar],
    alternative: Alternative,
    arguments: tuple[Value, ...],
    alone: Set[int] = frozenset(),
) -> Iterator[tuple[tuple[Value, ...], Fixed]]:
    """Combinations of values of some scalars, with the drawn variables that give them.

    All combinations, but of the scalars at the places `alone` each value only once.
    """
    arity = len(arguments)
    wanted = [() if isinstance(s, Drawn) else variables_of(s) for s in scalars]
    drawn = [{v.index for v in variables if v.index >= arity} for variables in wanted]
    tied = {v.index for c in alternative.where for v in _compared(c)}
    tied.update(*(own for i, own in enumerate(drawn) if i not in alone or len(own) > 1))
    domains = {i: alternative.draws[i - arity][1].values for own in drawn for i in sorted(own)}
    # Domains drawn from in place come behind the variables.
    last = arity + len(alternative.draws)
    places = {last + i: s.domain.values for i, s in enumerate(scalars) if isinstance(s, Drawn)}
    tied.update(last + i for i in range(len(scalars)) if i not in alone)
    choices = {**dict(sorted(domains.items())), **places}
    joint = {i: values for i, values in choices.items() if i in tied}
    free = {i: values for i, values in choices.items() if i not in tied}
    rounds = range(max(map(len, free.values()), default=1))
    rows = [[values[n % len(values)] for values in free.values()] for n in rounds]
    inner = [
        c
        for c in alternative.where
        if {v.index for v in _compared(c) if v.index >= arity} <= joint.keys()
    ]
    scope = [*arguments, *(draw[1].values[0] for draw in alternative.draws), *[0] * len(scalars)]
    readers = [Variable(last + i, "") if isinstance(s, Drawn) else s for i, s in enumerate(scalars)]
    for chosen in product(*joint.values()):
        for index, value in zip(joint, chosen, strict=True):
            scope[index] = value
        if not all(comparison.holds(scope) for comparison in inner):
            continue
        for row in rows:
            for index, value in zip(free, row, strict=True):
                scope[index] = value
            yield (
                tuple([evaluate(reader, scope) for reader in readers]),
                {index: scope[index] for index in domains},
            )


def _kept(alternative: Alternative, arguments: Sequence[Value], fixed: Fixed) -> bool:
    """Whether the constraints can be kept with some variables fixed."""
    arity = len(arguments)
    drawn = tuple(
        (name, Domain(name, (fixed[arity + i],)) if arity + i in fixed else domain)
        for i, (name, domain) in enumerate(alternative.draws)
    )
    return draws.count(replace(alternative, draws=drawn), arguments) > 0


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
