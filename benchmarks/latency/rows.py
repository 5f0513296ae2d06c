"""Reads the published A100 rows and says which family, prior, features and group each has.

The tables are not part of this repository: `docs/latency.md` names them and their licences.
"""

from __future__ import annotations

import math
import statistics
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from hwprofile.gemm import FEATURES, GemmConstants, gemm_features, plan_gemm
from hwprofile.wave import limits

SCHEMES = {"w8a8": "sq", "w8": "int8_wo", "w4": "int4_wo"}
BOARDS = {"NVIDIA A100-PCIE-40GB": "a100-pcie-40gb", "NVIDIA A100 80GB PCIe": "a100-pcie-80gb"}


@dataclass(frozen=True)
class Family:
    """Rows that are fitted and judged together."""

    name: str
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


def gemm_rows(data: Path, scheme: str) -> list[tuple[int, int, int, float]]:
    """`(m, n, k, time in us)`; for bf16 the median over the stacks that have the row."""
    table = pq.read_table(data / "a100_gemm.parquet").to_pydict()
    suffix = f"_{SCHEMES.get(scheme, 'bfloat16')}_ms"
    columns = [table[name] for name in table if name.endswith(suffix)]
    rows = []
    for m, n, k, *times in zip(table["m"], table["n"], table["k"], *columns, strict=True):
        known = [time for time in times if time is not None and not math.isnan(time)]
        if known:
            rows.append((m, n, k, statistics.median(known) * 1e3))
    return rows


def gemm_family(data: Path, scheme: str, constants: GemmConstants) -> Family:
    device = load_device("a100")
    lim = limits(device, scheme)
    prior, features, times, group, alone, roof = [], [], [], [], [], []
    for m, n, k, time in gemm_rows(data, scheme):
        plan = plan_gemm(m, n, k, 1, lim, constants)
        prior.append(plan.time_us)
        features.append(gemm_features(m, n, k, plan, device.sms))
        times.append(time)
        group.append(fold(n, k))
        alone.append(fold(m, n, k))
        moved = m * k * lim.act_bytes + n * k * lim.weight_bytes + m * n * lim.out_bytes
        roof.append(max(m * n * k / lim.macs_per_us, moved / lim.dram_bytes_per_us))
    return _family(f"gemm.{scheme}", prior, features, FEATURES, times, group, alone, roof)


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
        prior_us=np.array(prior),
        features=np.array(features),
        feature_names=feature_names,
        time_us=np.array(times),
        group=np.array(group),
        alone=np.array(alone),
        roofline_us=np.array(roof),
    )
