"""Grammars: parameterised, probabilistic, context-free, with constraints.

`searchspace.read` makes a `Grammar` from text once; from then on there are only the typed values
below. A rule expands into the items of one of its alternatives. An argument is a literal, a
variable of the rule's scope, arithmetic of these, or a draw from a domain where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searchspace.primitives.base import Primitive
from searchspace.shapes import TensorSpec
from searchspace.tree import Value


class GrammarError(ValueError):
    """A fault in a grammar's text, with the place it was found."""

    def __init__(self, message: str, *, source: str, line: int, column: int, text: str) -> None:
        self.line, self.column = line, column
        lines = text.split("\n")
        quoted = lines[line - 1].rstrip() if 0 < line <= len(lines) else ""
        # Of a long line only the part around the place.
        first = max(0, column - 60) if len(quoted) > 100 else 0
        quoted = quoted[first : first + 100]
        # Tabs stay tabs, so that the caret stands below its place however wide they are shown.
        before = "".join("\t" if c == "\t" else " " for c in quoted[: column - 1 - first])
        place = f"{source}, line {line}, column {column}"
        super().__init__(f"{place}: {message}\n  {quoted}\n  {before.ljust(column - 1 - first)}^")


class LimitError(ValueError):
    """A limit or size that a caller asked for and the space does not have."""


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """A named, finite, ordered set of values."""

    name: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        if len(self.values) > 4 and all(isinstance(value, int) for value in self.values):
            first, second, last = (int(self.values[i]) for i in (0, 1, -1))
            if self.values == tuple(range(first, last + 1, second - first)):
                step = f" step {second - first}" if second - first > 1 else ""
                return f"{first} .. {last}{step}"
        return " | ".join(map(str, self.values))


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the file."""

    value: Value


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the rule's scope: a parameter of its head, or drawn by `with`."""

    index: int
    """Position in the node's `values`."""
    name: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A value drawn from a domain where it stands."""

    domain: Domain


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Sum, difference or product of two integer expressions."""

    operator: str
    """`+`, `-` or `*`."""
    left: Expression
    right: Expression


Expression = Literal | Variable | Arithmetic
Scalar = Literal | Variable | Arithmetic | Drawn


def evaluate(expression: Expression, scope: Sequence[Value]) -> Value:
    """The value of an expression without draws, given the values of the rule's variables."""
    if isinstance(expression, Variable):
        return scope[expression.index]
    if isinstance(expression, Literal):
        return expression.value
    left: Any = evaluate(expression.left, scope)
    right: Any = evaluate(expression.right, scope)
    if expression.operator == "+":
        return int(left + right)
    return int(left - right) if expression.operator == "-" else int(left * right)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`, one of the constraints of a `where`."""

    left: Expression
    operator: str
    right: Expression

    def holds(self, scope: Sequence[Value]) -> bool:
        """Whether it holds for the values of the rule's variables."""
        a: Any = evaluate(self.left, scope)
        b: Any = evaluate(self.right, scope)
        return bool(COMPARE[self.operator](a, b))


COMPARE: Mapping[str, Any] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
"""What each operator of a constraint states of its two sides."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """How often an item stands in a row."""

    count: Scalar
    same: bool
    """`^^`: one draw, repeated; `^`: every copy drawn anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A rule or primitive with its arguments, perhaps repeated."""

    symbol: str
    is_primitive: bool
    scalars: tuple[Scalar, ...]
    """Rule: one for each parameter. Primitive: one for each scalar parameter."""
    groups: tuple[tuple[Item, ...], ...] = ()
    """Sequence arguments of a primitive."""
    repeat: Repeat | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One right-hand side of a rule."""

    weight: float
    """Relative probability, above 0."""
    items: tuple[Item, ...]
    draws: tuple[tuple[str, Domain], ...]
    """Variables that `with` draws, in order; they follow the head's parameters in the scope."""
    where: tuple[Comparison, ...]
    """Constraints among the variables."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A nonterminal and its alternatives."""

    name: str
    parameters: tuple[str, ...]
    is_block: bool
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimits:
    """How large the trees of a space may be; 0 where nothing is said."""

    nodes: int = 0
    """Nodes of a tree at most, rules and primitives, every copy that is built counted."""
    elements: int = 0
    """Elements of any tensor between primitives at most, without the batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grammar:
    """A search space, read from text."""

    name: str
    """Name of the space."""
    input: TensorSpec
    """Input of its networks, without the batch."""
    classes: int
    """Size of the output vector."""
    domains: Mapping[str, Domain]
    """Domains by name, narrowed where limits were given."""
    rules: Mapping[str, Rule]
    """Rules by name; the first is the start."""
    start: str
    """Name of the rule that every tree expands."""
    limits: SizeLimits
    """How large trees and tensors may be."""
    schemes: tuple[str, ...]
    """Precision schemes that a block may take; `float` alone unless quantization is searched."""
    primitives: Mapping[str, Primitive]
    """What its terminals may be, by name."""
    text: str
    """The text that it was read from."""
