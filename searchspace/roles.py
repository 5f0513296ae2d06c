"""What the numbers of a grammar stand for: widths, widths of groups, depths.

A variable is a width if it reaches, through whatever rules and arithmetic, a parameter of a
primitive that says how many features there are; a depth if it only says how often something stands
in a row. Kernels, strides, ratios and words are none of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from searchspace.grammar import Alternative, Arithmetic, Drawn, Expression, Grammar, Item
from searchspace.scope import variables_of

Role = Literal["width", "group", "depth"]
WIDTHS = frozenset({"out", "hidden", "filters", "left", "following"})
"""Names of primitives' parameters that are numbers of features."""
GROUPS = frozenset({"width_per_group"})
"""Names of those that are numbers of features in one group."""


class Roles:
    """The roles in one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._primitives = {
            name: [_role_of(p.name) for p in primitive.parameters]
            for name, primitive in grammar.primitives.items()
        }
        self._rules: dict[str, dict[int, set[Role]]] = {name: {} for name in grammar.rules}
        self._alternatives: Mapping[Alternative, dict[int, set[Role]]] = {
            a: {} for rule in grammar.rules.values() for a in rule.alternatives
        }
        before = -1
        while before != (before := sum(len(r) for rs in self._rules.values() for r in rs.values())):
            for name, rule in grammar.rules.items():
                for alternative in rule.alternatives:
                    found = self._alternatives[alternative]
                    for index, role in self._reached(alternative.items):
                        found.setdefault(index, set()).add(role)
                        if index < len(rule.parameters):
                            self._rules[name].setdefault(index, set()).add(role)

    def variable(self, alternative: Alternative, index: int) -> Role | None:
        """The role of a variable of an alternative, by its place in the scope."""
        return _first(self._alternatives[alternative].get(index, set()))

    def argument(self, item: Item, index: int) -> Role | None:
        """The role of an item's argument."""
        return _first(self._arguments(item, index))

    def _arguments(self, item: Item, index: int) -> set[Role]:
        if not item.is_primitive:
            return self._rules[item.symbol].get(index, set())
        role = self._primitives[item.symbol][index]
        return {role} if role else set()

    def _reached(self, items: Sequence[Item]) -> Iterator[tuple[int, Role]]:
        """Variables, each with a role that an item gives it."""
        for item in items:
            if item.repeat is not None and not isinstance(item.repeat.count, Drawn):
                yield from ((v.index, "depth") for v in variables_of(item.repeat.count))
            for place, scalar in enumerate(item.scalars):
                if not isinstance(scalar, Drawn):
                    for index in _scaling(scalar):
                        yield from ((index, role) for role in tuple(self._arguments(item, place)))
            for group in item.groups:
                yield from self._reached(group)


def _scaling(expression: Expression) -> set[int]:
    """Variables of an expression, without those of products of variables: `h * r` has a ratio."""
    if not isinstance(expression, Arithmetic):
        return {variable.index for variable in variables_of(expression)}
    left, right = _scaling(expression.left), _scaling(expression.right)
    product = expression.operator == "*"
    return set() if product and left and right else left | right


def _role_of(name: str) -> Role | None:
    if name in WIDTHS:
        return "width"
    return "group" if name in GROUPS else None


def _first(roles: set[Role]) -> Role | None:
    """The role that counts where there are several: a width may also be a number of heads."""
    order: tuple[Role, ...] = ("width", "group", "depth")
    return next((role for role in order if role in roles), None)
