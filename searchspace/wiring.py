"""What leads to what inside of a composite: from where each body gets its input, and what joins.

Composites without an entry in `WIRINGS`, those of other packages among them, are read as most are
built: every body gets what enters, and one join makes one tensor of what they give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from types import MappingProxyType
from typing import Literal

from searchspace.tree import Value

Port = tuple[Literal["split", "body", "joint"], int]
"""Where a tensor comes from: the split, or the output of a body or joint."""
SPLIT: Port = ("split", 0)


@dataclass(frozen=True, slots=True)
class Joint:
    """Tensors that become one."""

    name: str
    """How."""
    inputs: tuple[Port, ...]
    """What is joined."""
    skip: bool = False
    """Whether the last input passes the bodies by."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The inside of a composite."""

    entries: tuple[Port, ...]
    """What enters each body."""
    joints: tuple[Joint, ...]
    """The last one gives the output."""
    split: str = ""
    """What is done to the input before it enters a body; empty if nothing."""

    @property
    def is_parallel(self) -> bool:
        """Whether all bodies stand side by side, so that equal ones may be counted."""
        inputs = {*self.joints[0].inputs}
        alone = len(self.joints) == 1 and SPLIT not in inputs
        return alone and all(entry == SPLIT for entry in self.entries)


def wiring(symbol: str, values: Mapping[str, Value], bodies: int) -> Wiring:
    """The inside of a composite.

    Args:
        symbol: the composite.
        values: its scalar arguments by name.
        bodies: how many it has, copies counted.
    """
    return WIRINGS.get(symbol, _parallel)(symbol, values, bodies)


def _bodies(count: int) -> tuple[Port, ...]:
    return tuple(("body", i) for i in range(count))


def _parallel(symbol: str, values: Mapping[str, Value], bodies: int) -> Wiring:
    joint = Joint(str(values.get("join", symbol)), _bodies(bodies))
    split = str(values.get("split", ""))
    return Wiring((SPLIT,) * bodies, (joint,), "" if split == "clone" else split)


def _residual(symbol: str, values: Mapping[str, Value], bodies: int) -> Wiring:
    return Wiring((SPLIT,), (Joint("add", (("body", 0), SPLIT), skip=True),))


def _there_and_back(there: str, back: str) -> Callable[[str, Mapping[str, Value], int], Wiring]:
    """One body that works on another form of the input."""
    return lambda symbol, values, bodies: Wiring((SPLIT,), (Joint(back, (("body", 0),)),), there)


def _dag(symbol: str, values: Mapping[str, Value], bodies: int) -> Wiring:
    """Bodies by their end, then by their start; as many as all edges of the nodes."""
    nodes: list[Port] = [SPLIT]
    entries: list[Port] = []
    joints: list[Joint] = []
    for _ in range((isqrt(8 * bodies + 1) - 1) // 2):
        first = len(entries)
        entries += nodes
        ports = _bodies(len(entries))[first:]
        nodes.append(("joint", len(joints)))
        joints.append(Joint("add", ports))
    return Wiring(tuple(entries), tuple(joints))


def _columns(symbol: str, values: Mapping[str, Value], bodies: int) -> Wiring:
    """Levels F(level below + level above of the column before) + γ · level of the column before."""
    levels = bodies // int(values["columns"])
    entries: list[Port] = []
    joints: list[Joint] = []
    before: list[Port] = []
    for column in range(int(values["columns"])):
        made: list[Port] = []
        for level in range(levels):
            entry = made[-1] if made else SPLIT
            if column and level + 1 < levels:
                joints.append(Joint("add", (entry, before[level + 1])))
                entry = ("joint", len(joints) - 1)
            entries.append(entry)
            out: Port = ("body", len(entries) - 1)
            if column:
                joints.append(Joint("add", (out, before[level])))
                out = ("joint", len(joints) - 1)
            made.append(out)
        before = made
    return Wiring(tuple(entries), tuple(joints))


WIRINGS: Mapping[str, Callable[[str, Mapping[str, Value], int], Wiring]] = MappingProxyType(
    {
        "residual": _residual,
        "dag": _dag,
        "reversible_columns": _columns,
        "windows": _there_and_back("im2col", "col2im"),
        "soft_slots": _there_and_back("to slots", "to pixels"),
    }
)
"""The insides of composites that are not one split, bodies side by side and one join."""
