"""Stored measurements of layers: one Parquet file a machine.

The columns `op`, `scheme` and those of sizes are those of `hwprofile.kernel_table`, so that
`nas predict --kernels` prices a profile too. What was measured where and when is in the file's
metadata, under `nas-profile`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from hwprofile.clock import Timing
from hwprofile.layer import LAYER_SIZES, SIZE_COLUMNS, Layer
from hwprofile.machine import Machine

SCHEMA_VERSION = 1
"""Raised when columns or their meaning change. Files of another are refused."""
BACKENDS = ("torch", "triton")
"""Who ran a layer: torch in eager mode, or this project's kernels."""

_KEY = b"nas-profile"
_TEXTS = ("op", "scheme", "dtype", "backend")
_TIMES = ("min_ms", "q20_ms", "q50_ms", "q80_ms")
TIMING_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("repeats", pa.int64()),
    *((name, pa.float64()) for name in (*_TIMES, "cpu_ms")),
)
"""Columns of a `Timing`."""
_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    *((name, pa.string()) for name in _TEXTS),
    *((name, pa.int64()) for name in SIZE_COLUMNS),
    *TIMING_FIELDS,
)
R = TypeVar("R")


class ProfileError(ValueError):
    """A profile that cannot be read, or must not be used here."""


class NoProfileError(ProfileError):
    """This machine was not measured yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer in one precision, run by one backend."""

    layer: Layer
    """What was run."""
    scheme: str
    """Precision, as tables of kernels name it: `fp32`."""
    dtype: str
    """Precision, as torch names it: `float32`."""
    backend: str
    """One of `BACKENDS`."""
    timing: Timing
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was measured on a machine."""

    machine: Machine
    """Where."""
    rows: tuple[Row, ...]
    """In the order of measurement."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Date, clocks and whatever else is known, for people."""


def row_values(row: Row) -> dict[str, Any]:
    """A row as its columns, those of sizes that it does not have left out."""
    texts = {"op": row.layer.op, **{name: getattr(row, name) for name in _TEXTS[1:]}}
    return {**texts, **row.layer.named, **asdict(row.timing)}


def row_of(values: Mapping[str, Any]) -> Row:
    """The row that columns say.

    Raises:
        ProfileError: an operator or backend is unknown, a size is missing or not above 0, or a time
            is not.
    """
    op, backend = values["op"], values["backend"]
    if op not in LAYER_SIZES or backend not in BACKENDS:
        raise ProfileError(
            f"op must be one of {', '.join(LAYER_SIZES)} and backend one of {', '.join(BACKENDS)}; "
            f"got {op!r} and {backend!r}"
        )
    sizes = tuple(values.get(name) for name in LAYER_SIZES[op])
    for name, size in zip(LAYER_SIZES[op], sizes, strict=True):
        if not isinstance(size, int) or size < (name != "padding"):
            raise ProfileError(f"{op} needs {name} as a whole number above 0; got {size!r}")
    return Row(
        layer=Layer(op, sizes),  # type: ignore[arg-type]
        scheme=str(values["scheme"]),
        dtype=str(values["dtype"]),
        backend=backend,
        timing=timing_of(values),
    )


def timing_of(values: Mapping[str, Any]) -> Timing:
    """The times that a row's columns say.

    Raises:
        ProfileError: one is not a number above 0.
    """
    times = {name: values.get(name) for name in _TIMES}
    if values.get("cpu_ms") is not None:
        times["cpu_ms"] = values["cpu_ms"]
    for name, time in times.items():
        zero_is_fine = name == "cpu_ms"  # coarse clocks of the process may not move at all
        if not isinstance(time, float) or not math.isfinite(time) or time < 0:
            raise ProfileError(f"{name} must be a time above 0 ms; got {time!r}")
        if time == 0 and not zero_is_fine:
            raise ProfileError(f"{name} must be a time above 0 ms; got {time!r}")
    return Timing(repeats=int(values["repeats"]), **times)  # type: ignore[arg-type]


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile; the file appears whole, by renaming, or not at all."""
    rows = [row_values(row) for row in profile.rows]
    write_rows(rows, _FIELDS, profile.machine, profile.facts, path)


def write_rows(
    rows: Sequence[Mapping[str, Any]],
    fields: Sequence[tuple[str, pa.DataType]],
    machine: Machine,
    facts: Mapping[str, Any],
    path: Path,
) -> None:
    """Write rows with their machine; the file appears whole, by renaming, or not at all."""
    told = {"schema": SCHEMA_VERSION, "machine": asdict(machine), **facts}
    schema = pa.schema(fields, metadata={_KEY: json.dumps(told).encode()})
    table = pa.Table.from_pylist(rows, schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary)
    os.replace(temporary, path)


def read_profile(path: Path, machine: Machine | None = None) -> Profile:
    """Read a profile.

    Args:
        path: a file of `write_profile`.
        machine: the machine that it must be of; None takes one of any.

    Raises:
        ProfileError: there is no such file, it is no profile, of another schema or machine, or a
            row is wrong, such as one with a NaN or negative time.
    """
    its, rows, told = read_rows(path, _FIELDS, row_of, machine)
    return Profile(machine=its, rows=tuple(rows), facts=told)


def read_rows(
    path: Path,
    fields: Sequence[tuple[str, pa.DataType]],
    row_of: Callable[[Mapping[str, Any]], R],
    machine: Machine | None,
) -> tuple[Machine, list[R], dict[str, Any]]:
    """Read a file of `write_rows`: its machine, rows and facts.

    Raises:
        ProfileError: as `read_profile`.
    """
    if not path.is_file():
        raise ProfileError(f"a profile must exist; there is no file {str(path)!r}: nas profile")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:  # a damaged file may raise either
        raise ProfileError(f"{path}: not a sound Parquet file: {error}") from error
    told = _metadata(path, table.schema.metadata or {})
    its = Machine(**told.pop("machine"))
    if machine is not None and (differences := machine_differences(its, machine)):
        raise ProfileError(
            f"{path}: a profile must be of this machine; it is of {', '.join(differences)}: "
            "measure again by nas profile"
        )
    missing = [name for name, _ in fields if name not in table.column_names]
    if missing:
        raise ProfileError(f"{path}: a profile needs the columns {', '.join(missing)}")
    rows = []
    for index, values in enumerate(table.to_pylist(), start=1):
        try:
            rows.append(row_of(values))
        except ProfileError as error:
            raise ProfileError(f"{path}, row {index}: {error}") from None
    return its, rows, told


def machine_differences(its: Machine, wanted: Machine) -> list[str]:
    """What keeps rows of one machine from being used on another; the driver alone does not."""
    return [said for said in its.differs(wanted) if not said.startswith("driver ")]


def _metadata(path: Path, metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        told = json.loads(metadata[_KEY])
        version = told.pop("schema")
    except (KeyError, ValueError, AttributeError):
        raise ProfileError(
            f"{path}: a profile has its machine in its metadata; this table is none of nas profile"
        ) from None
    if version != SCHEMA_VERSION:
        raise ProfileError(
            f"{path}: a profile must have schema {SCHEMA_VERSION}; got {version!r}: measure again "
            "by nas profile"
        )
    fields = set(Machine.__dataclass_fields__)
    if not isinstance(told.get("machine"), dict) or set(told["machine"]) != fields:
        raise ProfileError(f"{path}: a profile's machine has the fields {', '.join(fields)}")
    return dict(told)


def summary(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[float]]:
    """Medians in ms by operator, scheme and backend, in the order of `LAYER_SIZES`."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in sorted(rows, key=lambda row: (list(LAYER_SIZES).index(row.layer.op), row.scheme)):
        found.setdefault((row.layer.op, row.scheme, row.backend), []).append(row.timing.q50_ms)
    return found
