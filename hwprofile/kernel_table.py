"""Prices a table of single kernels: CSV or Parquet in, the same rows with three columns more out.

The table MUST have a column `op` (one of `OPS`), a column `scheme` (one of `SCHEMES`) and the sizes
that the operator needs (`SIZES`). It MAY have others; they are kept. `groups` is one unless given.
`predicted_ms`, `low_ms` and `high_ms` are added, or replaced where they exist.

A kernel is priced as rows of its kind were timed. Products are priced as in a CUDA graph. fp32
element-wise, norm, soft-max and convolution rows were published for eager launches on A100 PCIe
boards: on `a100` they include the host's launch path, and a column `device` may name the board. On
other targets, and in other schemes, they are priced as in a CUDA graph.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hwprofile.alone import READS, AloneModel
from hwprofile.conv_fp32 import ConvShape
from hwprofile.cuda_target import CudaTarget
from hwprofile.estimate import Estimate
from hwprofile.kernel import SCHEMES, SOFTMAX_FLOPS, Kernel
from hwprofile.target import Target

ADDED = ("predicted_ms", "low_ms", "high_ms")
"""Columns that pricing adds."""

_PRODUCTS = ("gemm", "linear", "matmul", "bmm")
_CONVS = ("conv2d", "conv", "depthwise_conv2d")
_ROWWISE = {
    "layer_norm": "layer_norm",
    "ln": "layer_norm",
    "rms_norm": "rms_norm",
    "softmax": "softmax",
}
_POOLS = ("max_pool2d", "avg_pool2d")
_WHOLE = ("attention", "global_avg_pool2d")
_BINARY = ("add", "sub", "mul", "div", "pow")
_UNARY = (
    *("addu", "subu", "mulu", "divu", "powu"),
    *("relu", "leaky_relu", "gelu", "tanh", "silu", "sigmoid", "exp", "sqrt", "hardswish"),
)
OPS: tuple[str, ...] = (*_PRODUCTS, *_CONVS, *_BINARY, *_UNARY, *_ROWWISE, *_POOLS, *_WHOLE)
"""Operators that a table may name. `add` takes two tensors, `addu` a tensor and a number."""

SIZES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_PRODUCTS, ("m", "n", "k")),
    "bmm": ("b", "m", "n", "k"),
    **dict.fromkeys(
        ("conv2d", "conv"),
        ("b", "input_channel", "output_channel", "kernel_size", "input_size", "stride", "padding"),
    ),
    **dict.fromkeys(
        ("depthwise_conv2d", *_POOLS),
        ("b", "input_channel", "kernel_size", "input_size", "stride", "padding"),
    ),
    **dict.fromkeys((*_BINARY, *_UNARY, *_ROWWISE), ("b", "h")),
    "attention": ("b", "m", "n", "k"),
    "global_avg_pool2d": ("b", "input_channel", "input_size"),
}
"""Columns of sizes by operator: `[b, h]` elements, or `b` rows of `h`; square images; attention of
`m` queries of `n` features over `k` keys in each of `b` heads."""

_ELEMENT_BYTES = {"fp32": 4, "tf32": 4}
# Operations an element, where arithmetic may bind: the measured rates of `pow` and `powu` on A100
# at a quarter of the fp32 peak. Others stream bytes first.
_FLOPS = {"pow": 35, "powu": 26}


class KernelTableError(ValueError):
    """A table that cannot be read or priced."""


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
    estimates = []
    # Counted as people count in the file: the first row after the header is row 1.
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for index in range(table.num_rows):
        row = {name: values[index] for name, values in columns.items()}
        try:
            estimates.append(pricer.price(row))
        except KernelTableError as error:
            raise KernelTableError(f"{source}, row {index + 1}: {error}") from None
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


class _Pricer:
    """Prices rows; equal rows once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._alone = None
        if isinstance(target, CudaTarget) and AloneModel.serves(target):
            self._alone = AloneModel(target)
        self._known: dict[tuple[object, ...], Estimate] = {}

    def price(self, row: Mapping[str, Any]) -> Estimate:
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
        key = (op, scheme, board, *sizes.values())
        estimate = self._known.get(key)
        if estimate is None:
            estimate = self._known[key] = self._price(op, scheme, sizes, board)
        return estimate

    def _price(self, op: str, scheme: str, sizes: dict[str, int], board: str | None) -> Estimate:
        alone = self._alone if scheme == "fp32" else None
        if alone is not None and op in ("conv", "conv2d"):
            return alone.conv(_conv_shape(op, sizes))
        if alone is not None and alone.knows(_ROWWISE.get(op, op)):
            return alone.stream(_ROWWISE.get(op, op), sizes["b"], sizes["h"], board)
        return self._target.alone(kernel_of(op, scheme, sizes))


def kernel_of(op: str, scheme: str, sizes: Mapping[str, int]) -> Kernel:
    """The launch that a row stands for.

    Args:
        op: one of `OPS`.
        scheme: one of `SCHEMES`.
        sizes: those of `SIZES[op]`, and `groups`: of a `bmm` with `b` multiplied in.

    Raises:
        KernelTableError: the sizes of a convolution or pool do not go together.
    """
    if op in _PRODUCTS:
        return _product(op, scheme, sizes)
    if op == "attention":
        return _attention(scheme, sizes)
    if op == "global_avg_pool2d":
        return _reduction(scheme, sizes)
    if op in _POOLS:
        return _pool(scheme, _conv_shape(op, sizes))
    if op in _CONVS:
        return _convolution(scheme, _conv_shape(op, sizes))
    return _stream(_ROWWISE.get(op, op), scheme, sizes["b"], sizes["h"])


def _product(op: str, scheme: str, sizes: Mapping[str, int]) -> Kernel:
    m, n, k, groups = (sizes[name] for name in ("m", "n", "k", "groups"))
    flops = 2 * m * n * k * groups
    # No bytes given: the model counts those of a plain product itself.
    return Kernel(op="gemm", scheme=scheme, m=m, n=n, k=k, groups=groups, flops=flops, detail=op)


def _conv_shape(op: str, sizes: Mapping[str, int]) -> ConvShape:
    c_in = sizes["input_channel"]
    c_out = sizes.get("output_channel", c_in)
    groups = c_in if op == "depthwise_conv2d" else sizes["groups"]
    if c_in % groups or c_out % groups:
        raise KernelTableError(
            f"groups must divide input_channel and output_channel; got {groups}, {c_in}, {c_out}"
        )
    shape = ConvShape(
        batch=sizes["b"],
        size=sizes["input_size"],
        c_in=c_in,
        c_out=c_out,
        kernel=sizes["kernel_size"],
        stride=sizes["stride"],
        padding=sizes["padding"],
        groups=groups,
    )
    if shape.size + 2 * shape.padding < shape.kernel:
        raise KernelTableError(
            "kernel_size must fit into input_size + 2 * padding; got "
            f"{shape.kernel}, {shape.size} and {shape.padding}"
        )
    return shape


def _convolution(scheme: str, shape: ConvShape) -> Kernel:
    width = _ELEMENT_BYTES.get(scheme, 2)
    out = shape.batch * shape.out_size**2
    k = shape.c_in // shape.groups * shape.kernel**2
    weight_bits = {"fp32": 32, "tf32": 32, "w8a8": 8, "w8": 8, "w4": 4}.get(scheme, 16)
    act = 1 if scheme == "w8a8" else width
    return Kernel(
        op="depthwise_conv2d" if shape.groups == shape.c_in > 1 else "conv2d",
        scheme=scheme,
        m=out,
        n=shape.c_out // shape.groups,
        k=k,
        groups=shape.groups,
        taps=shape.kernel**2,
        stride=shape.stride,
        flops=2 * out * shape.c_out * k,
        read_bytes=shape.batch * shape.size**2 * shape.c_in * act,
        weight_bytes=shape.c_out * k * weight_bits // 8,
        write_bytes=out * shape.c_out * width,
    )


def _pool(scheme: str, shape: ConvShape) -> Kernel:
    width = _ELEMENT_BYTES.get(scheme, 2)
    out = shape.batch * shape.out_size**2 * shape.c_in
    return Kernel(
        op="pool",
        scheme=scheme,
        m=out,
        taps=shape.kernel**2,
        stride=shape.stride,
        flops=out * shape.kernel**2,
        read_bytes=shape.batch * shape.size**2 * shape.c_in * width,
        write_bytes=out * width,
    )


def _attention(scheme: str, sizes: Mapping[str, int]) -> Kernel:
    heads, m, n, k = (sizes[name] for name in ("b", "m", "n", "k"))
    width = _ELEMENT_BYTES.get(scheme, 2)
    return Kernel(
        op="other",
        scheme=scheme,
        m=m,
        n=n,
        k=k,
        groups=heads,
        flops=heads * m * k * (4 * n + SOFTMAX_FLOPS),
        read_bytes=heads * (m + 2 * k) * n * width,
        write_bytes=heads * m * n * width,
        detail="attention",
    )


def _reduction(scheme: str, sizes: Mapping[str, int]) -> Kernel:
    rows, columns = sizes["b"] * sizes["input_channel"], sizes["input_size"] ** 2
    width = _ELEMENT_BYTES.get(scheme, 2)
    return Kernel(
        op="reduce",
        scheme=scheme,
        m=rows,
        n=columns,
        flops=rows * columns,
        read_bytes=rows * columns * width,
        write_bytes=rows * width,
        detail="global_avg_pool2d",
    )


def _stream(op: str, scheme: str, b: int, h: int) -> Kernel:
    moved = b * h * _ELEMENT_BYTES.get(scheme, 2)
    rowwise = op in _ROWWISE.values()
    return Kernel(
        op=("softmax" if op == "softmax" else "layer_norm") if rowwise else "elementwise",
        scheme=scheme,
        m=b if rowwise else b * h,
        n=h if rowwise else 1,
        flops=b * h * _FLOPS.get(op, 8 if rowwise else 1),
        read_bytes=moved * READS.get(op, 1),
        write_bytes=moved,
        detail=op,
    )


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
