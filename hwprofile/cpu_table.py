"""Measured calls of this machine's CPU: one Parquet file a machine, torch version and thread count.

A row is one operation as torch dispatched it, or as compiled code calls it, or a whole network of
`hwprofile.profiled_networks`, with its time. The metadata are those of `hwprofile.profile_table`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from hwprofile.clock import Timing
from hwprofile.machine import Machine
from hwprofile.profile_table import (
    TIMING_FIELDS,
    ProfileError,
    read_rows,
    timing_of,
    write_rows,
)
from hwprofile.replay import OneCall, as_json, from_json

_NETWORK = "network."
_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    *((name, pa.string()) for name in ("runtime", "scheme", "call")),
    *TIMING_FIELDS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call in one precision, run as one runtime runs it."""

    runtime: str
    """Name of the runtime."""
    scheme: str
    """Precision: `fp32` or `bf16`."""
    call: OneCall
    """What was run; of a whole network, its name behind `network.`."""
    timing: Timing
    """How long it took."""

    @property
    def network(self) -> str | None:
        """Name of the network, if it is one."""
        name = self.call.name
        return name.removeprefix(_NETWORK) if name.startswith(_NETWORK) else None


def network_call(name: str) -> OneCall:
    """What stands for a whole network in a row."""
    return OneCall(_NETWORK + name, (), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuProfile:
    """What was measured on a CPU."""

    machine: Machine
    """Where."""
    rows: tuple[CallRow, ...]
    """In the order of measurement."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Date, clocks and whatever else is known, for people."""


def call_row_values(row: CallRow) -> dict[str, Any]:
    """A row as its columns."""
    call = json.dumps(as_json(row.call), separators=(",", ":"))
    texts = {"runtime": row.runtime, "scheme": row.scheme, "call": call}
    return {**texts, **asdict(row.timing)}


def call_row_of(values: Mapping[str, Any]) -> CallRow:
    """The row that columns say.

    Raises:
        ProfileError: a time is not above 0, or the call is none.
    """
    try:
        call = from_json(json.loads(values["call"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ProfileError(f"call must be an operation with its arguments: {error}") from None
    return CallRow(
        runtime=str(values["runtime"]),
        scheme=str(values["scheme"]),
        call=call,
        timing=timing_of(values),
    )


def write_cpu_profile(profile: CpuProfile, path: Path) -> None:
    """Write a profile; the file appears whole, by renaming, or not at all."""
    rows = [call_row_values(row) for row in profile.rows]
    write_rows(rows, _FIELDS, profile.machine, profile.facts, path)


def read_cpu_profile(path: Path, machine: Machine | None = None) -> CpuProfile:
    """Read a profile.

    Args:
        path: a file of `write_cpu_profile`.
        machine: the machine that it must be of; None takes one of any.

    Raises:
        ProfileError: there is no such file, it is no profile of a CPU, of another schema or
            machine, or a row is wrong, such as one with a NaN or negative time.
    """
    its, rows, facts = read_rows(path, _FIELDS, call_row_of, machine)
    return CpuProfile(machine=its, rows=tuple(rows), facts=facts)
