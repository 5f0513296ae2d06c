"""Reads the published rows and says which family, prior, features and group each has.

The tables are not part of this repository: `docs/latency.md` names them and their licences.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hwprofile.alone import (
    STREAM_FEATURES,
    AloneConstants,
    stream_features,
    stream_us,
)
from hwprofile.conv_fp32 import ALGORITHMS, ConvShape, conv_us
from hwprofile.conv_fp32 import FEATURES as CONV_FEATURES
from hwprofile.device import load_device
from hwprofile.gemm import Array, GemmConstants, plan_gemms
from hwprofile.gemm_features import FEATURES, gemm_features
from hwprofile.wave import limits

SCHEMES = {"w8a8": "sq", "w8": "int8_wo", "w4": "int4_wo"}
FOLDERS = {
    "h100": "h100_sxm",
    "h200": "h200_sxm",
    "b200": "b200_sxm",
    "l40s": "l40s",
}
"""Folders of devices that have rows beside the A100's."""
SHORTEST_MS = 0.0012
MOST_ROWS = 12_000
"""Rows of a device other than the A100 that a correction is fitted to and judged on."""
BOARDS = {"NVIDIA A100-PCIE-40GB": "a100-pcie-40gb", "NVIDIA A100 80GB PCIe": "a100-pcie-80gb"}


@dataclass(frozen=True)
class Family:
    """Rows that are fitted and judged together."""

    name: str
    device: str
    prior_us: np.ndarray
    """Analytical time `[rows]`."""
    features: np.ndarray
    """`[rows, features]`."""
    feature_names: tuple[str, ...]
    time_us: np.ndarray
    """Measured time `[rows]`."""
    group: np.ndarray
    """Fold 0 to 4 by group of near-duplicate shapes `[rows]`."""
    alone: np.ndarray
    """Fold 0 to 4 by row, for the easier split `[rows]`."""
    roofline_us: np.ndarray
    """Ideal roofline `[rows]`."""


def fold(*key: object) -> int:
    """The fold of a key: the same in every process."""
    return zlib.crc32(",".join(map(str, key)).encode()) % 5


@cache
def gemm_rows(data: Path, scheme: str, device: str = "a100") -> tuple[Array, Array, Array, Array]:
    """Sizes `m`, `n`, `k` and times in us of one device's products, all `[rows]`.

    A time is the median over the software stacks that have the row. The A100's are those of
    `a100_gemm.parquet` and no others; the other devices' are in `gemm/` beside it, see
    docs/latency.md.
    """
    name = SCHEMES.get(scheme, "bfloat16")
    if device == "a100":
        table = pq.read_table(data / "a100_gemm.parquet")
        stacks = [column for column in table.column_names if column.endswith(f"_{name}_ms")]
        times = np.stack([_floats(table[stack]) for stack in stacks], axis=1)
        known = np.isfinite(times).any(axis=1)
        m, n, k = (_floats(table[size])[known] for size in ("m", "n", "k"))
        return m, n, k, np.nanmedian(times[known], axis=1) * 1e3
    parts = []
    for path in sorted((data / "gemm" / FOLDERS[device]).glob("*/*/gemm_perf.parquet")):
        table = pq.read_table(path, filters=[("gemm_dtype", "=", name)])
        parts.append(np.stack([_floats(table[key]) for key in ("m", "n", "k", "latency")]))
    every = np.concatenate(parts, axis=1)
    # A few rows are shorter than any launch: what was timed is not known.
    every = every[:, np.isfinite(every[3]) & (every[3] > SHORTEST_MS)]
    shapes, place = np.unique(every[:3], axis=1, return_inverse=True)
    order = np.lexsort((every[3], place.ravel()))
    ends = np.cumsum(np.bincount(place.ravel()))
    starts = np.concatenate([[0], ends[:-1]])
    time = every[3][order]
    median = (time[(starts + ends - 1) // 2] + time[(starts + ends) // 2]) / 2
    return shapes[0], shapes[1], shapes[2], median * 1e3


def _floats(column: pa.ChunkedArray) -> Array:
    """A column as floats, NaN where nothing is."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def gemm_family(data: Path, scheme: str, constants: GemmConstants, device: str = "a100") -> Family:
    """The products of one scheme on one device, for a correction of `constants`."""
    lim = limits(load_device(device), scheme)
    rows = np.stack(gemm_rows(data, scheme, device))
    if device != "a100":
        rows = rows[:, np.random.default_rng(0).permutation(rows.shape[1])[:MOST_ROWS]]
    m, n, k, time = rows
    plans = plan_gemms(m, n, k, np.ones_like(m), lim, constants)
    sizes = [tuple(map(int, row)) for row in zip(m, n, k, strict=True)]
    moved = m * k * lim.act_bytes + n * k * lim.weight_bytes + m * n * lim.out_bytes
    return Family(
        name=f"gemm.{scheme}",
        device=device,
        prior_us=plans.time_us,
        features=gemm_features(m, n, k, plans, lim),
        feature_names=FEATURES,
        time_us=time,
        group=np.array([fold(n, k) for _, n, k in sizes]),
        alone=np.array([fold(m, n, k) for m, n, k in sizes]),
        roofline_us=np.maximum(m * n * k / lim.macs_per_us, moved / lim.dram_bytes_per_us),
    )


def stream_rows(data: Path) -> dict[str, list[tuple[int, int, str, float]]]:
    """`(rows, columns, board, time in us)` by operator of the element-wise table."""
    table = pq.read_table(data / "a100_elementwise_fp32.parquet").to_pydict()
    found: dict[str, list[tuple[int, int, str, float]]] = {}
    keys = ("op", "b", "h", "device", "latency_ms")
    for op, b, h, device, time in zip(*(table[key] for key in keys), strict=True):
        name = "layer_norm" if op == "ln" else op
        found.setdefault(name, []).append((b, int(h), BOARDS[device], time * 1e3))
    return found


def stream_family(
    op: str, rows: list[tuple[int, int, str, float]], constants: AloneConstants
) -> Family:
    boards = {name: load_device(name) for name in BOARDS.values()}
    prior, features, times, group, alone, roof = [], [], [], [], [], []
    for b, h, name, time in rows:
        board = boards[name]
        prior.append(stream_us(op, b, h, board, constants))
        features.append(stream_features(b, h, prior[-1], board))
        times.append(time)
        # All rows of one length, on both boards, in one fold.
        group.append(fold(h))
        alone.append(fold(b, h, name))
        reads = 3 if op in ("add", "mul", "div", "pow") else 2
        roof.append(4.0 * reads * b * h / (board.dram_gbps * 1e3))
    return _family(f"alone.{op}", prior, features, STREAM_FEATURES, times, group, alone, roof)


def conv_rows(data: Path) -> list[tuple[ConvShape, str, float]]:
    """`(shape, algorithm, time in us)` of the fp32 convolutions."""
    table = pq.read_table(data / "a100_conv_fp32.parquet").to_pydict()
    names = ("b", "input_size", "input_channel", "output_channel", "kernel_size", "stride")
    keys = (*names, "padding", "kernel_name", "latency_ms")
    rows = []
    for *sizes, kernel, time in zip(*(table[key] for key in keys), strict=True):
        b, size, c_in, c_out, taps, stride, padding = map(int, sizes)
        shape = ConvShape(
            batch=b,
            size=size,
            c_in=c_in,
            c_out=c_out,
            kernel=taps,
            stride=stride,
            padding=padding,
        )
        algorithm = next(name for name, mark in ALGORITHMS.items() if mark in kernel)
        rows.append((shape, algorithm, time * 1e3))
    return rows


def conv_family(
    rows: list[tuple[ConvShape, str, float]], coefficients: dict[str, list[float]]
) -> Family:
    board = load_device("a100-pcie-80gb")
    prior, features, times, group, alone, roof = [], [], [], [], [], []
    for shape, _, time in rows:
        best, seen = conv_us(shape, board.sms, coefficients)
        prior.append(best)
        features.append(seen)
        times.append(time)
        group.append(fold(shape.c_in, shape.c_out))
        alone.append(fold(shape.batch, shape.size, shape.c_in, shape.c_out))
        pixels, weights = shape.batch * shape.out_size**2, shape.c_in * shape.c_out * 9
        moved = shape.batch * shape.size**2 * shape.c_in + pixels * shape.c_out + weights
        roof.append(max(pixels * weights / 9.75e6, 4.0 * moved / (board.dram_gbps * 1e3)))
    return _family("alone.conv2d", prior, features, CONV_FEATURES, times, group, alone, roof)


def _family(
    name: str,
    prior: list[float],
    features: list[tuple[float, ...]],
    feature_names: tuple[str, ...],
    times: list[float],
    group: list[int],
    alone: list[int],
    roof: list[float],
) -> Family:
    return Family(
        name=name,
        device="a100",
        prior_us=np.array(prior),
        features=np.array(features),
        feature_names=feature_names,
        time_us=np.array(times),
        group=np.array(group),
        alone=np.array(alone),
        roofline_us=np.array(roof),
    )
