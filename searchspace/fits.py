"""Whether any architecture of a space fits its input, and the first place that none gets past."""

from __future__ import annotations

from dataclasses import dataclass

from searchspace import draws
from searchspace.grammar import Alternative, Grammar, Item
from searchspace.rest import End, Row
from searchspace.scope import Scope, arguments, assignments, live, needs
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.table import Table


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why no architecture fits."""

    item: Item | None
    """The item that takes nothing that reaches it; None: the limit on nodes is too low."""
    message: str
    """What reaches it, and the cure."""


def first_misfit(grammar: Grammar) -> Misfit | None:
    """The first item of the start that takes nothing that can reach it; None if trees fit.

    Raises:
        EndlessError: recursion that counts does not end.
    """
    table = Table(grammar)
    smallest: int | None = None
    for alternative in grammar.rules[grammar.start].alternatives:
        row = Row.whole(table, alternative.items, (), End(), table.level, 1, alternative)
        size = row.size(grammar.input) if draws.count(alternative, ()) else None
        if size is not None:
            smallest = size + 1 if smallest is None else min(smallest, size + 1)
    if smallest is None:
        return _stop(table, grammar.rules[grammar.start].alternatives[0])
    most = grammar.limits.nodes
    if most and smallest > most:
        cure = f"the smallest tree found has {smallest} nodes: raise the limit"
        return Misfit(None, f"no tree of {grammar.name} has {most} nodes or fewer; {cure}")
    return None


def _stop(table: Table, alternative: Alternative) -> Misfit:
    states: set[tuple[TensorSpec, Scope]] = {(table.grammar.input, ())}
    for index, item in enumerate(alternative.items):
        following: set[tuple[TensorSpec, Scope]] = set()
        for spec, scope in states:
            for extended in assignments(alternative, 0, scope, needs(alternative, 0)[index]):
                kept = live(alternative, 0, index + 1, extended)
                outs = table.item(item, extended, spec, table.level)
                following.update((out, kept) for out in outs)
        if not following:
            return Misfit(item, _message(table, item, alternative, states))
        states = following
    raise AssertionError("a row whose items all pass something on can be completed")


def _message(
    table: Table, item: Item, alternative: Alternative, states: set[tuple[TensorSpec, Scope]]
) -> str:
    specs = sorted({str(spec) for spec, _ in states})
    shown = ", ".join(specs[:3]) + (", …" if len(specs) > 3 else "")
    reason = ""
    if item.is_primitive and not item.groups:
        spec, scope = min(states, key=str)
        primitive = table.grammar.primitives[item.symbol]
        known = needs(alternative, 0)[alternative.items.index(item)]
        extended = next(assignments(alternative, 0, scope, known))
        try:
            left = primitive.result(
                spec, primitive.named(next(iter(arguments(item, extended)))), ()
            )
            reason = f" ({left} has more elements than the limit allows)"
        except ShapeError as fault:
            reason = f" ({fault})"
    return (
        f"no architecture of {table.grammar.name} fits its input {table.grammar.input}: "
        f"'{item.symbol}' takes nothing that reaches it here, {shown}{reason}; "
        "change what comes before it, or the input"
    )
