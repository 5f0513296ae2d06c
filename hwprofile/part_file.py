"""What a profile has measured so far: a text file that an interruption cannot spoil.

One JSON object a line. The first says what is measured, where; every other what one item took. A
line that was cut off is dropped, and its item measured again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from hwprofile.machine import Machine
from hwprofile.profile_table import SCHEMA_VERSION, ProfileError, machine_differences

Item = TypeVar("Item")
Measured = TypeVar("Measured")


@dataclass(kw_only=True)
class Codec(Generic[Item, Measured]):
    """How items and rows are written as plain values of JSON, and read back."""

    item: Callable[[Item], Any]
    item_of: Callable[[Any], Item]
    row: Callable[[Measured], Any]
    row_of: Callable[[Any], Measured]


@dataclass(kw_only=True)
class Part(Generic[Item, Measured]):
    """A profile that is being measured."""

    path: Path
    """Where it lies."""
    machine: Machine
    """Where it is measured."""
    asked: Mapping[str, Sequence[str]]
    """What was asked for, such as precisions and operators."""
    items: tuple[Item, ...]
    """What is to be measured, in order."""
    facts: Mapping[str, Any]
    """Date and clocks at the beginning."""
    codec: Codec[Item, Measured]
    """How they are written."""
    rows: list[Measured] = field(default_factory=list)
    """What was measured."""
    faults: list[str] = field(default_factory=list)
    """What could not be run, and why."""
    done: int = 0
    """Items of `items` that are behind it."""
    seconds: float = 0.0
    """Time that they took."""

    def begin(self) -> None:
        """Write the first line."""
        head = {
            "schema": SCHEMA_VERSION,
            "machine": asdict(self.machine),
            "asked": {name: list(values) for name, values in self.asked.items()},
            "facts": self.facts,
            "items": [self.codec.item(item) for item in self.items],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(head) + "\n", encoding="utf-8")

    def add(self, rows: Sequence[Measured], faults: Sequence[str], seconds: float) -> None:
        """Append what the items taken since the last time took."""
        line = {
            "done": self.done,
            "rows": [self.codec.row(row) for row in rows],
            "faults": list(faults),
            "seconds": seconds,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._take(rows, faults, seconds)

    def take(self, count: int = 1) -> None:
        """Take the next items; they count as done from the next `add` on."""
        self.done += count

    def _take(self, rows: Sequence[Measured], faults: Sequence[str], seconds: float) -> None:
        self.rows += rows
        self.faults += faults
        self.seconds += seconds


def read_part(
    path: Path,
    machine: Machine,
    asked: Mapping[str, Sequence[str]],
    codec: Codec[Item, Measured],
) -> Part[Item, Measured] | None:
    """Take up a file that was begun.

    Args:
        path: where it would lie.
        machine: this one.
        asked: what is asked for.
        codec: how items and rows are written.

    Returns:
        The part, its file cut behind the last whole line; None if there is nothing to take up.

    Raises:
        ProfileError: it was begun on another machine, or for something else.
    """
    if not path.is_file():
        return None
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", errors="replace").splitlines()
    if not lines:
        return None  # cut off before there was anything
    try:
        head = json.loads(lines[0])
        part = Part(
            path=path,
            machine=Machine(**head["machine"]),
            asked={name: tuple(values) for name, values in head["asked"].items()},
            items=tuple(codec.item_of(item) for item in head["items"]),
            facts=head["facts"],
            codec=codec,
        )
        known = head["schema"] == SCHEMA_VERSION
        for line in lines[1:]:
            values = json.loads(line)
            rows = [codec.row_of(row) for row in values["rows"]]
            part.done = values["done"]
            part._take(rows, values["faults"], values["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{path} must be a profile that was begun; remove it: {error}") from None
    wrong = machine_differences(part.machine, machine)
    if not known or wrong or part.asked != {name: tuple(x) for name, x in asked.items()}:
        said = ", ".join(wrong) or "other operators, or by another version"
        raise ProfileError(
            f"{path} was begun with {said}: finish it there, remove it, or give another --out"
        )
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return part
