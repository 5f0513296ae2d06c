"""Puts back what the forward of a traced module kept in it: tensors without values, which no later
forward could use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import is_not
from typing import Any

from torch import nn


@contextmanager
def left_as_found(modules: Sequence[nn.Module]) -> Iterator[Callable[[], bool]]:
    """Attributes, and dictionaries among them, are afterwards what they were.

    Args:
        modules: Those that a forward may change.

    Yields:
        What tells whether any differ by now.
    """
    found = [(x, x.copy()) for module in modules for x in _tables(module.__dict__)]
    try:
        yield lambda: any(_differ(table, entries) for table, entries in found)
    finally:
        for table, entries in found:
            if _differ(table, entries):
                table.clear()
                table.update(entries)


def _tables(attributes: dict[str, Any]) -> list[dict[Any, Any]]:
    return [attributes, *[x for x in attributes.values() if type(x) is dict]]


def _differ(table: dict[Any, Any], entries: dict[Any, Any]) -> bool:
    return len(table) != len(entries) or any(map(is_not, table.values(), entries.values()))
