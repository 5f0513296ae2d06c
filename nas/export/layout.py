"""Nested constructor calls as lines of source, in the style of black."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH = 100
"""Longest line."""
STEP = 4
"""Spaces of one level of indentation."""


@dataclass(frozen=True, slots=True)
class Nest:
    """Items between an opening and a closing bracket."""

    opening: str
    """Text before the items, such as `nn.Sequential(`."""
    items: tuple[Expression, ...]
    closing: str = ")"
    """Text after the items."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Items that one expression makes several times over: `*(item for _ in range(count))`."""

    item: Expression
    count: int


Expression = str | Nest | Repeat


def runs(items: Sequence[Expression]) -> tuple[Expression, ...]:
    """The items, with equal ones in a row written once."""
    made: list[Expression] = []
    for item, run in groupby(items):
        count = len(list(run))
        made.append(Repeat(item, count) if count > 1 else item)
    return tuple(made)


def flat(expression: Expression) -> str:
    """The expression in one line, however long."""
    if isinstance(expression, str):
        return expression
    if isinstance(expression, Repeat):
        return f"*({flat(expression.item)} for _ in range({expression.count}))"
    return f"{expression.opening}{', '.join(map(flat, expression.items))}{expression.closing}"


def lines(expression: Expression, indent: int, lead: str = "", trail: str = "") -> Iterator[str]:
    """The expression in as few lines as fit, else an item a line.

    Args:
        expression: what to write.
        indent: spaces before it.
        lead: text on its first line, such as `self.stem = `.
        trail: text after its end, such as a comma.
    """
    space = " " * indent
    line = f"{space}{lead}{flat(expression)}{trail}"
    if len(line) <= WIDTH or isinstance(expression, str):
        yield line
    elif isinstance(expression, Repeat):
        yield f"{space}{lead}*("
        yield from lines(expression.item, indent + STEP)
        yield f"{space}{' ' * STEP}for _ in range({expression.count})"
        yield f"{space}){trail}"
    else:
        yield f"{space}{lead}{expression.opening}"
        comma = "," if len(expression.items) > 1 else ""
        for item in expression.items:
            yield from lines(item, indent + STEP, trail=comma)
        yield f"{space}{expression.closing}{trail}"
