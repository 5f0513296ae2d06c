"""What parts of a picture say, and how wide the words are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.quantities import format_count
from searchspace.graph import Group
from searchspace.tree import FLOAT, Value

_NARROW, _WIDE = frozenset("iljtfrI.,:;|'()[] "), frozenset("mwMW@%—")
_LINE = 44
"""Longest line of arguments, in letters."""
_SIGNS = {"add": "+", "multiply": "×"}


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is, in the unit of `size`; seldom too little in any common font."""
    ems = sum(0.38 if c in _NARROW else 0.95 if c in _WIDE else 0.64 for c in text)
    return ems * size * (1.06 if bold else 1.0)


def values_text(values: Mapping[str, Value]) -> str:
    """Scalar arguments by name."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def value_lines(values: Mapping[str, Value]) -> list[str]:
    """The same in lines of about the same length."""
    lines: list[str] = []
    for name, value in values.items():
        word = f"{name} {value}"
        if lines and len(lines[-1]) + len(word) + 2 <= _LINE:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return lines


def times(name: str, count: int) -> str:
    """A name, and how often it stands in a row."""
    return f"{name} × {count}".lstrip() if count > 1 else name


def count_text(parameters: int) -> str:
    """A number of parameters; nothing for none."""
    return format_count(parameters) if parameters else ""


def group_title(group: Group) -> str:
    """Name, arguments, number of copies and precision of a group."""
    values = values_text(group.values)
    # Parts of the whole network have names of their own: stage1, stage2.
    whole = group.count == 1 and group.path and "." not in group.path
    name = group.path if whole else group.name
    title = times(f"{name} {values}".strip(), group.count)
    return f"{title} @{group.scheme}" if group.scheme not in ("", FLOAT) else title


def node_title(node: Mapping[str, Any]) -> str:
    """What stands in a node's box, first line."""
    kind = node["kind"]
    if kind in ("split", "join"):
        return _SIGNS.get(node["name"], str(node["name"]))
    return times(str(node["name"]), node["count"]) if kind == "primitive" else str(kind)


def changes_shape(node: Mapping[str, Any]) -> bool:
    """Whether what leaves a node must be told."""
    return bool(node["kind"] == "input" or node["after"] != node["before"])
