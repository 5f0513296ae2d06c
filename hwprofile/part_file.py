"""What a profile has measured so far: a text file that an interruption cannot spoil.

One JSON object a line. The first says what is measured, where; every other what one layer took. A
line that was cut off is dropped, and its layer measured again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hwprofile.layer import Layer
from hwprofile.machine import Machine
from hwprofile.profile_table import (
    SCHEMA_VERSION,
    ProfileError,
    Row,
    machine_differences,
    row_of,
    row_values,
)


@dataclass(kw_only=True)
class Part:
    """A profile that is being measured."""

    path: Path
    """Where it lies."""
    machine: Machine
    """Where it is measured."""
    schemes: tuple[str, ...]
    """Precisions of every layer."""
    only: tuple[str, ...]
    """Operators; none means all."""
    layers: tuple[Layer, ...]
    """What is to be measured, in order."""
    facts: Mapping[str, Any]
    """Date and clocks at the beginning."""
    rows: list[Row] = field(default_factory=list)
    """What was measured."""
    faults: list[str] = field(default_factory=list)
    """What could not be run, and why."""
    done: int = 0
    """Layers of `layers` that are behind it."""
    seconds: float = 0.0
    """Time that they took."""

    def begin(self) -> None:
        """Write the first line."""
        head = {
            "schema": SCHEMA_VERSION,
            "machine": asdict(self.machine),
            "schemes": self.schemes,
            "only": self.only,
            "facts": self.facts,
            "layers": [[layer.op, *layer.sizes] for layer in self.layers],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(head) + "\n", encoding="utf-8")

    def add(self, rows: Sequence[Row], faults: Sequence[str], seconds: float) -> None:
        """Append what the next layer took."""
        line = {
            "rows": [row_values(row) for row in rows],
            "faults": list(faults),
            "seconds": seconds,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._take(rows, faults, seconds)

    def _take(self, rows: Sequence[Row], faults: Sequence[str], seconds: float) -> None:
        self.rows += rows
        self.faults += faults
        self.done += 1
        self.seconds += seconds


def read_part(
    path: Path, machine: Machine, schemes: tuple[str, ...], only: tuple[str, ...]
) -> Part | None:
    """Take up a file that was begun.

    Args:
        path: where it would lie.
        machine: this one.
        schemes: what is asked for.
        only: what is asked for.

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
            schemes=tuple(head["schemes"]),
            only=tuple(head["only"]),
            layers=tuple(Layer(op, tuple(sizes)) for op, *sizes in head["layers"]),
            facts=head["facts"],
        )
        known = head["schema"] == SCHEMA_VERSION
        for line in lines[1:]:
            values = json.loads(line)
            part._take([row_of(row) for row in values["rows"]], values["faults"], values["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{path} must be a profile that was begun; remove it: {error}") from None
    wrong = machine_differences(part.machine, machine)
    if not known or wrong or (part.schemes, part.only) != (schemes, only):
        said = ", ".join(wrong) or "other operators, or by another version"
        raise ProfileError(
            f"{path} was begun with {said}: finish it there, remove it, or give another --out"
        )
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return part
