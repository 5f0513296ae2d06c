"""Prices a table of single kernels: CSV or Parquet in, the same rows with three columns more out.

The table MUST have a column `op` (one of `OPS`), a column `scheme` (one of `SCHEMES`) and the sizes
that the operator needs (`SIZES`). It MAY have others; they are kept. `groups` is one unless given.
`predicted_ms`, `low_ms` and `high_ms` are added, or replaced where they exist.

A kernel is priced as rows of its kind were timed. Products are priced as in a CUDA graph. fp32
element-wise, norm, soft-max and convolution rows were published for eager launches on A100 PCIe
boards: on `a100` they include the host's launch path, and a column `device` may name the board. On
other targets, and in other schemes, they are priced as in a CUDA graph.

A column `backend` may say `triton`: norms are then priced as one Triton launch that `do_bench`
times, as `rope`, `swiglu`, `geglu` (the whole gated MLP) and `cross_entropy` always are. Those rows
take `b` tokens of `h` features (of `h` classes for `cross_entropy`, whose published rows are fp32),
and a column `mode` may say `forward` (so without it), `backward` or `full`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hwprofile.alone import AloneModel
from hwprofile.cuda_target import CudaTarget
from hwprofile.estimate import Estimate
from hwprofile.kernel import FLOAT_BYTES, SCHEMES, Kernel
from hwprofile.kernel_rows import (
    CONVS,
    OPS,
    ROWWISE,
    SIZES,
    TORCH_OPS,
    KernelTableError,
    conv_shape,
    kernel_of,
)
from hwprofile.target import Target
from hwprofile.triton_alone import FORWARD_ALONE, MODES, TritonModel
from hwprofile.triton_alone import OPS as TRITON_OPS

ADDED = ("predicted_ms", "low_ms", "high_ms")
"""Columns that pricing adds."""


def price_table(source: Path, out: Path, target: Target) -> int:
    """Prices every row of a table.

    Args:
        source: `.csv` or `.parquet` file; read as UTF-8 text in the former case.
        out: `.csv` or `.parquet` file to write; replaced if it exists.
        target: device to price on.

    Returns:
        The number of rows.

    Raises:
        KernelTableError: the file is missing or of another kind, a column is missing, or a row has
            an unknown operator or scheme or a size that is no positive whole number.
    """
    for path in (source, out):
        if path.suffix.lower() not in (".csv", ".parquet"):
            raise KernelTableError(
                f"a kernel table must end in .csv or .parquet; got {str(path)!r}: convert it"
            )
    if not source.is_file():
        raise KernelTableError(f"a kernel table must exist; there is no file {str(source)!r}")
    table = _read(source)
    for name in ("op", "scheme"):
        if name not in table.column_names:
            raise KernelTableError(
                f"{source}: a kernel table needs the column {name!r}; got "
                f"{', '.join(table.column_names) or 'none'}: add it"
            )
    pricer = _Pricer(target)
    found = []
    # Counted as people count in the file: the first row after the header is row 1.
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for index in range(table.num_rows):
        row = {name: values[index] for name, values in columns.items()}
        try:
            found.append(pricer.price(row))
        except KernelTableError as error:
            raise KernelTableError(f"{source}, row {index + 1}: {error}") from None
    estimates = _priced(found, target)
    kept = [name for name in table.column_names if name not in ADDED]
    result = table.select(kept)
    for name, part in zip(ADDED, ("value", "low", "high"), strict=True):
        values = pa.array([getattr(estimate, part) for estimate in estimates], pa.float64())
        result = result.append_column(name, values)
    try:
        _write(result, out)
    except OSError as error:
        raise KernelTableError(
            f"the priced table must be writable at {str(out)!r}: {error}"
        ) from error
    return int(table.num_rows)


def _priced(found: Sequence[Estimate | Kernel], target: Target) -> list[Estimate]:
    """Estimates, those of kernels all at once."""
    kernels = list(dict.fromkeys(x for x in found if isinstance(x, Kernel)))
    try:
        prices = dict(zip(kernels, target.alone_all(kernels), strict=True))
    except ValueError as error:
        raise KernelTableError(str(error)) from error
    return [prices[x] if isinstance(x, Kernel) else x for x in found]


class _Pricer:
    """Prices rows, equal ones once; a kernel without its price where the target has the price."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._alone = None
        self._triton = None
        if isinstance(target, CudaTarget):
            self._triton = TritonModel(target)
            if AloneModel.serves(target):
                self._alone = AloneModel(target)
        self._known: dict[tuple[object, ...], Estimate | Kernel] = {}

    def price(self, row: Mapping[str, Any]) -> Estimate | Kernel:
        op, scheme = str(row["op"]).strip().lower(), str(row["scheme"]).strip().lower()
        if op not in SIZES:
            raise KernelTableError(f"op must be one of {', '.join(OPS)}; got {row['op']!r}")
        if scheme not in SCHEMES:
            raise KernelTableError(
                f"scheme must be one of {', '.join(SCHEMES)}; got {row['scheme']!r}"
            )
        sizes = {name: _size(row, name, op) for name in SIZES[op]}
        sizes["groups"] = _size(row, "groups", op) if _given(row, "groups") else 1
        if op == "bmm":
            sizes["groups"] *= sizes.pop("b")
        board = str(row["device"]) if _given(row, "device") else None
        mode = _triton_mode(row, op)
        key = (op, scheme, board, mode, *sizes.values())
        estimate = self._known.get(key)
        if estimate is None:
            if mode is None:
                estimate = self._price(op, scheme, sizes, board)
            else:
                estimate = self._triton_price(op, scheme, mode, sizes)
            self._known[key] = estimate
        return estimate

    def _triton_price(self, op: str, scheme: str, mode: str, sizes: dict[str, int]) -> Estimate:
        if self._triton is None:
            raise KernelTableError(f"{op} is a Triton kernel: price it on a CUDA device")
        if scheme not in FLOAT_BYTES:
            raise KernelTableError(
                f"a Triton {op} has a float scheme, one of {', '.join(FLOAT_BYTES)}; got {scheme!r}"
            )
        if mode != "forward" and op in FORWARD_ALONE:
            raise KernelTableError(f"of {op} the mode forward alone is priced; got {mode!r}")
        return self._triton.estimate(op, scheme, mode, sizes)

    def _price(
        self, op: str, scheme: str, sizes: dict[str, int], board: str | None
    ) -> Estimate | Kernel:
        alone = self._alone if scheme == "fp32" else None
        if alone is not None and op in CONVS[:2]:
            return alone.conv(conv_shape(op, sizes))
        if alone is not None and alone.knows(ROWWISE.get(op, op)):
            return alone.stream(ROWWISE.get(op, op), sizes["b"], sizes["h"], board)
        return kernel_of(op, scheme, sizes)


def _triton_mode(row: Mapping[str, Any], op: str) -> str | None:
    """The pass that a row of a Triton kernel times; None for other rows."""
    backend = str(row["backend"]).strip().lower() if _given(row, "backend") else ""
    if op in TORCH_OPS and backend in ("", "torch"):
        return None
    if op not in TRITON_OPS or backend not in ("", "triton"):
        raise KernelTableError(
            f"backend must be torch, or triton for {', '.join(TRITON_OPS)}; got {backend!r} "
            f"for {op}"
        )
    mode = str(row["mode"]).strip().lower() if _given(row, "mode") else "forward"
    if mode not in MODES:
        raise KernelTableError(f"mode must be one of {', '.join(MODES)}; got {row['mode']!r}")
    return mode


def _given(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return value is not None and value != "" and value == value  # NaN is not itself


def _size(row: Mapping[str, Any], name: str, op: str) -> int:
    if name not in row:
        raise KernelTableError(
            f"{op} needs the columns {', '.join(SIZES[op])}; {name!r} is missing: add it"
        )
    least = 0 if name == "padding" else 1
    try:
        number = float(row[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number != int(number) or number < least:
        raise KernelTableError(
            f"{name} must be a whole number of at least {least}; got {row[name]!r}"
        )
    return int(number)


def _read(path: Path) -> pa.Table:
    if path.suffix.lower() == ".parquet":
        try:
            return pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise KernelTableError(f"{path}: not a Parquet file: {error}") from error
    # All columns stay text, so that what is not priced comes out as it went in.
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except UnicodeDecodeError as error:
        raise KernelTableError(f"{path}: a CSV table must be UTF-8 text: {error}") from error
    if not rows:
        raise KernelTableError(f"{path}: a CSV table needs a header line; the file is empty")
    header, *body = rows
    body = [row for row in body if row]
    for index, row in enumerate(body, start=1):
        if len(row) != len(header):
            raise KernelTableError(
                f"{path}, row {index}: a row has as many fields as the header, {len(header)}; "
                f"got {len(row)}"
            )
    if len(set(header)) != len(header):
        raise KernelTableError(f"{path}: column names must differ; got {', '.join(header)}")
    columns = zip(*body, strict=True) if body else [() for _ in header]
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.Table.from_arrays(arrays, names=header)


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".parquet":
        pq.write_table(table, path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
