"""Trees as text and as JSON, and back.

The text of a node is ``symbol:alternative@scheme(values)[group; group]``. What is empty is left
out, a group is nodes separated by spaces, and ``node*3`` stands for three equal nodes in a row.
Reading back checks the form only; `searchspace.check` checks a tree against a grammar.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from searchspace.tree import PRIMITIVE, Node, Value

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# An integer of 18 digits at most: longer ones are no values, and Python refuses very long ones.
_TOKEN = re.compile(
    rf"\s*(?:(?P<name>{_NAME.pattern})|(?P<int>-?[0-9]{{1,18}}(?![0-9]))|(?P<mark>[:@()\[\];,*]))"
)
_DEEPEST = 200


class TreeTextError(ValueError):
    """A text or JSON value that is not the form of a tree."""


def to_text(node: Node) -> str:
    """The text of a tree, in one line."""
    parts = [node.symbol]
    if not node.is_primitive:
        parts.append(f":{node.alternative}")
    if node.scheme:
        parts.append(f"@{node.scheme}")
    if node.values:
        parts.append(f"({','.join(map(str, node.values))})")
    if node.children:
        parts.append(f"[{'; '.join(map(_group_text, node.children))}]")
    return "".join(parts)


def _group_text(group: Sequence[Node]) -> str:
    words = []
    for node, run in groupby(group):
        count = len(list(run))
        words.append(to_text(node) + (f"*{count}" if count > 1 else ""))
    return " ".join(words)


def from_text(text: str) -> Node:
    """The tree that `to_text` wrote.

    Raises:
        TreeTextError: the text is not of the form; the message shows where.
    """
    reader = _Reader(text)
    node = reader.node(0)
    reader.end()
    return node


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> tuple[str, str]:
        match = _TOKEN.match(self.text, self.position)
        if match is None or match.lastgroup is None:
            return "end", ""
        return match.lastgroup, match.group(match.lastgroup)

    def take(self, kind: str, word: str | None = None) -> str:
        found_kind, found = self.peek()
        if found_kind != kind or (word is not None and found != word):
            raise self.fault(word or kind)
        match = _TOKEN.match(self.text, self.position)
        assert match is not None
        self.position = match.end()
        return found

    def accept(self, mark: str) -> bool:
        if self.peek() != ("mark", mark):
            return False
        self.take("mark", mark)
        return True

    def fault(self, expected: str) -> TreeTextError:
        names = {"name": "a name", "int": "an integer", "end": "the end"}
        rest = self.text[self.position : self.position + 24].strip() or "the end of the text"
        return TreeTextError(
            f"an architecture's text must have {names.get(expected, repr(expected))} at character "
            f"{self.position + 1}; found {rest!r}"
        )

    def end(self) -> None:
        if self.text[self.position :].strip():
            raise self.fault("end")

    def node(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise TreeTextError(f"an architecture may nest {_DEEPEST} deep at most")
        symbol = self.take("name")
        alternative = int(self.take("int")) if self.accept(":") else PRIMITIVE
        scheme = self.take("name") if self.accept("@") else ""
        values: tuple[Value, ...] = ()
        if self.accept("("):
            values = self.values()
        children: list[tuple[Node, ...]] = []
        if self.accept("["):
            children.append(self.group(depth))
            while self.accept(";"):
                children.append(self.group(depth))
            self.take("mark", "]")
        return Node(symbol, alternative, values, tuple(children), scheme)

    def values(self) -> tuple[Value, ...]:
        values: list[Value] = [self.value()]
        while self.accept(","):
            values.append(self.value())
        self.take("mark", ")")
        return tuple(values)

    def value(self) -> Value:
        kind, word = self.peek()
        if kind == "int":
            return int(self.take("int"))
        if kind == "name":
            return self.take("name")
        raise self.fault("int" if word else "name")

    def group(self, depth: int) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while self.peek()[0] == "name":
            node = self.node(depth + 1)
            count = int(self.take("int")) if self.accept("*") else 1
            if not 1 <= count <= 10_000:
                raise TreeTextError(f"a node repeats 1 to 10000 times; got {count}")
            nodes.extend([node] * count)
        return tuple(nodes)


def to_json(node: Node) -> dict[str, Any]:
    """The tree as nested JSON objects; empty fields are left out."""
    record: dict[str, Any] = {"symbol": node.symbol}
    if not node.is_primitive:
        record["alternative"] = node.alternative
    if node.scheme:
        record["scheme"] = node.scheme
    if node.values:
        record["values"] = list(node.values)
    if node.children:
        record["children"] = [[to_json(child) for child in group] for group in node.children]
    return record


def from_json(record: object, depth: int = 0) -> Node:
    """The tree that `to_json` wrote.

    Raises:
        TreeTextError: the value is not of the form.
    """
    if depth > _DEEPEST:
        raise TreeTextError(f"an architecture may nest {_DEEPEST} deep at most")
    if not isinstance(record, dict) or not isinstance(record.get("symbol"), str):
        raise TreeTextError(f"a node must be an object with a 'symbol'; got {reprlib.repr(record)}")
    unknown = set(record) - {"symbol", "alternative", "scheme", "values", "children"}
    if unknown:
        raise TreeTextError(f"a node has no field {min(map(str, unknown))!r}")
    alternative = record.get("alternative", PRIMITIVE)
    values = record.get("values", [])
    children = record.get("children", [])
    scheme = record.get("scheme", "")
    if not (
        _is_integer(alternative)
        and _is_name(record["symbol"])
        and (scheme == "" or _is_name(scheme))
        and isinstance(values, list)
        and all(_is_integer(value) or _is_name(value) for value in values)
        and isinstance(children, list)
        and all(isinstance(group, list) for group in children)
    ):
        raise TreeTextError(f"node {record['symbol']!r} has a field of the wrong type")
    groups = tuple(tuple(from_json(child, depth + 1) for child in group) for group in children)
    return Node(record["symbol"], alternative, tuple(values), groups, scheme)


def _is_integer(value: object) -> bool:
    return type(value) is int and abs(value) < 10**18


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
